"""The tables of a run: CSV files that grow row by row and are cut back when a run resumes.

A kill may leave rows, or half a row, that were written after the last checkpoint. Each checkpoint
remembers how long the file was, and resuming cuts it back to that. So the file of a resumed run is
byte for byte that of a run that was never stopped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wnrl._settings import UsageError
from wnrl.train.storage.append_file import AppendFile

EPISODES, EVALUATIONS, TIMINGS = "episodes.csv", "evaluations.csv", "timings.csv"
CURVATURE = "curvature.csv"  # only in runs that measure it
WRAPS = "score_wraps"  # column of the episodes that early runs do not have
HEADERS = {
    EPISODES: f"agent_step,env,raw_return,length,wall_time_s,{WRAPS}\n",
    EVALUATIONS: "agent_step,episodes,mean_raw_return,mean_length\n",
    TIMINGS: "agent_step,act_ms,update_ms\n",
    CURVATURE: "agent_step,quantity,where,value\n",
}


class CsvLog:
    """One table of a run. Each row is in the file as soon as it is written.

    While the disk refuses rows, they are kept in memory, in order, for `file.flush`.
    """

    def __init__(self, path: Path, header: str, *, resume: bool = False) -> None:
        """Start the file, or prepare to continue it once `load_state_dict` has been called.

        Args:
            path: the file, in a folder that exists.
            header: the first line, with its newline.
            resume: whether the run resumes.

        Raises:
            UsageError: the file exists already (`resume` False) or is missing (True).
            OSError: it cannot be written.
        """
        self.file = AppendFile(Path(path))
        self._ready = not resume
        if resume:
            if not path.exists():
                raise UsageError(
                    f"{path} is missing, but the checkpoint needs it: restore it from a copy, "
                    "or start a new run in another folder"
                )
            return
        try:
            self.file.create()
        except FileExistsError:
            raise UsageError(
                f"{path} holds an earlier run's {path.stem}: resume that run, "
                "or choose another folder"
            ) from None
        self.file.add(header.encode())
        self.file.flush()
        if self.file.error is not None:
            raise self.file.error

    def write(self, *cells: object) -> None:
        """Append a row; None becomes an empty cell."""
        self._check_ready()
        row = ",".join("" if cell is None else str(cell) for cell in cells)
        self.file.add(f"{row}\n".encode())
        if self.file.error is None:  # otherwise the next interval tries again
            self.file.flush()

    def state_dict(self) -> dict[str, Any]:
        """Return the table's length, with the rows that are not written yet."""
        self._check_ready()
        return {"size_bytes": self.file.size_bytes}

    def sync(self, state: Mapping[str, Any]) -> None:
        """Wait until the disk has the table as it was in a state; OSError if it cannot."""
        self.file.sync(state["size_bytes"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Cut the file back to its length at the checkpoint.

        Raises:
            UsageError: the file is shorter than that.
            OSError: it cannot be written.
        """
        path, size_bytes = self.file.path, self.file.path.stat().st_size
        if size_bytes < state["size_bytes"]:
            raise UsageError(
                f"{path} has {size_bytes} bytes but had {state['size_bytes']} at the "
                "checkpoint: restore it from a copy, or start a new run in another folder"
            )
        self.file.reopen(state["size_bytes"])
        self._ready = True

    def _check_ready(self) -> None:
        if not self._ready:
            raise RuntimeError(f"{self.file.path} was opened to resume: call load_state_dict first")
