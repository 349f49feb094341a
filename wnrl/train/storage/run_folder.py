"""A run's folder: who owns it, and the configuration in it.

A run is a process that owns its folder. A folder that holds a run is never overwritten unless
asked, and two processes never write to the same one (an advisory lock that ends with its process,
however it ends).
"""

import contextlib
import fcntl
import json
import os
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from wnrl._settings import UsageError
from wnrl.config import Config, config_from_json
from wnrl.doctor.software import git_commit, versions

CONFIG = "config.json"
_LOCK = ".lock"
# What a run writes, and so all that --overwrite removes.
_CONTENTS = (CONFIG, "episodes.csv", "checkpoints", "events.out.tfevents.*")


class RunDirectory:
    """A claimed run folder; a context manager that gives the claim back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BinaryIO | None = None

    def __enter__(self) -> "RunDirectory":
        """Claim the folder, making it if need be.

        Raises:
            UsageError: it cannot be made or written, or another process owns it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / _LOCK).open("ab")
        except OSError as error:
            raise UsageError(
                f"run folder {self.path}: {error.strerror}; choose another with --run-dir"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise UsageError(
                f"run folder {self.path} is in use by another process; wait for it or choose "
                "another with --run-dir"
            ) from None
        self._lock = lock
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the claim back; a folder made for a run that could not begin goes with it."""
        if self._lock is None:
            return
        if not self.holds_run:
            (self.path / _LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something else is in it
                self.path.rmdir()
        self._lock.close()
        self._lock = None

    @property
    def holds_run(self) -> bool:
        """Whether anything of a run is here."""
        return any(next(self.path.glob(pattern), None) for pattern in _CONTENTS)

    def clear(self) -> None:
        """Remove what a run writes, and nothing else; config.json stays until it is replaced."""
        for pattern in _CONTENTS[1:]:
            for path in self.path.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def write_config(self, config: Config, facts: dict[str, Any], agent_steps: int) -> None:
        """Write config.json whole or not at all.

        Args:
            config: the run's settings, as they are now.
            facts: what else is known of it.
            agent_steps: done when this part of the run begins. Each part adds its own versions and
                commit to the list of parts.
        """
        path = self.path / CONFIG
        parts = json.loads(path.read_text())["parts"] if agent_steps else []
        part = {"from_agent_step": agent_steps, "commit": git_commit(), "versions": versions()}
        newest = {"versions": part["versions"], "commit": part["commit"]}
        record = {**config.to_json(), **facts, **newest, "parts": [*parts, part]}
        temporary = self.path / f"{CONFIG}.tmp"
        with temporary.open("w") as file:
            json.dump(record, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def in_use(run_dir: Path) -> bool:
    """Whether a process owns the run folder now."""
    try:
        with (run_dir / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, or none that can be read: whoever claims the folder is told
        return False
    return False


def read_config(run_dir: Path) -> Config:
    """The configuration of the run in a folder.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    path = run_dir / CONFIG
    try:
        return config_from_json(json.loads(path.read_text()))
    except OSError as error:
        raise UsageError(f"no run in {run_dir}: {path.name}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read as a run's configuration: {error}") from None


@contextlib.contextmanager
def loading(run_dir: Path, agent_step: int) -> Iterator[None]:
    """Inside, what a checkpoint holds is taken in.

    Args:
        run_dir: the run's folder.
        agent_step: of the checkpoint.

    Raises:
        UsageError: it has another form than this version reads; names the commit that wrote it.
    """
    try:
        yield
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        why = textwrap.shorten(f"{type(error).__name__}: {error}", 240)
        raise UsageError(
            f"the checkpoint of agent step {agent_step:,} in {run_dir}, which "
            f"{_writer(run_dir, agent_step)} wrote, cannot be read by this version ({why}); "
            "go on with the one that wrote it"
        ) from error


def _writer(run_dir: Path, agent_step: int) -> str:
    """The code that did a run's agent step, as config.json says."""
    parts = json.loads((run_dir / CONFIG).read_text()).get("parts", [])
    began = [part for part in parts if part["from_agent_step"] < agent_step]
    commit = began[-1]["commit"] if began else None
    return f"commit {commit}" if commit else "an unknown commit"


def variant_folder(out: Path, config: Config) -> Path:
    """The folder above a run's seeds: `<out>/<Env>/<agent>-<norm>[-<flag>=<value>...]`."""
    return out / config.run.env.replace("/", "-").replace(":", "-") / config.name
