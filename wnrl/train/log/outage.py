"""Tell the user when a run's files cannot be written, and when they can again."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from wnrl.train.foreign_text import quoted
from wnrl.train.storage.append_file import AppendFile
from wnrl.train.storage.atomic_files import StorageError


class Written(Protocol):
    """A file whose newest attempt to write may have failed."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def error(self) -> OSError | None:
        """Why the newest attempt failed; None if it did not."""
        ...


class Outage:
    """Watches files, and says one line when the first fails and one when all work again."""

    def __init__(self, run_dir: Path, files: Sequence[Written], say: Callable[[str], None]) -> None:
        """Nothing is said yet.

        Args:
            run_dir: the run's folder.
            files: the files to watch.
            say: takes a line for the user.
        """
        self._run_dir = run_dir
        self._files = files
        self._say = say
        self._failing = False

    def watch(self) -> None:
        """Say it if the files stopped or began to work since the last call."""
        failed = next((file for file in self._files if file.error is not None), None)
        if (failed is not None) == self._failing:
            return
        self._failing = failed is not None
        if failed is not None:
            self._say(
                f"wnrl: cannot write {failed.path}: {reason(failed.error)}; training goes on, "
                "keeps its rows in memory and tries again every few seconds"
            )
        else:
            self._say(f"wnrl: {self._run_dir} can be written again; no row is missing")


def require_written(run_dir: Path, tables: Iterable[AppendFile]) -> None:
    """Raise StorageError if rows of a table are still in memory at the end of a run."""
    missing = [table for table in tables if table.pending_bytes]
    if missing:
        names = " and ".join(table.path.name for table in missing)
        raise StorageError(
            f"the newest rows of {names} in {run_dir} could not be written: "
            f"{reason(missing[0].error)}; make room, then finish with --resume {quoted(run_dir)}"
        )


def reason(error: OSError | None) -> str:
    """Return why a file could not be written, in the system's words."""
    return "unknown" if error is None else error.strerror or str(error)
