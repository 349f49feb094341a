"""A run's folder: which process owns it, and the configuration in it.

Only `--overwrite` replaces a run in a folder. Two processes never write to the same folder: each
claims it with a lock, which ends with the process, even if the process is killed.
"""

import contextlib
import json
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from wnrl._settings import SettingError, UsageError
from wnrl.config import Config, config_from_json
from wnrl.train.foreign_text import quoted
from wnrl.train.storage.atomic_files import (
    StorageError,
    make_directory,
    may_pass,
    replace_text,
    storage_errors,
)
from wnrl.train.storage.csv_log import CURVATURE, EPISODES, EVALUATIONS, TIMINGS
from wnrl.train.storage.file_lock import Busy, FileLock
from wnrl.train.storage.run_record import software
from wnrl.train.storage.run_status import STATUS, StatusFile
from wnrl.train.storage.train_log import TRAIN_LOG
from wnrl.train.untrusted.files import special
from wnrl.train.untrusted.runs_near import runs_near
from wnrl.train.untrusted.typed_json import read_json

CONFIG = "config.json"
FAULT = "fault.txt"  # traceback of an environment that raised; no part of the run
HANG = "hang.txt"  # where the threads of a run that hung were; no part of the run
CURVE = "curve.png"  # the learning curve, which `wnrl plot` writes too; no part of the run
_LOCK = ".lock"
REGISTERED = ("agent", "network", "norm", "optimizer")  # settings whose values a module may add
# All that a run writes, and so all that --overwrite removes.
_CONTENTS = (
    CONFIG,
    EPISODES,
    EVALUATIONS,
    TIMINGS,
    CURVATURE,
    STATUS,
    "tracker.json",  # wnrl.train.tracking
    "checkpoints",
    "events.out.tfevents.*",
)
_CLAIM_S = 0.5  # longer than `in_use` of another process holds the lock


class FolderInUse(UsageError):
    """Another process owns the run folder."""


class RunDirectory:
    """A claimed run folder; a context manager that releases the claim."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.status = StatusFile(path)
        self._lock = FileLock(path / _LOCK)

    def __enter__(self) -> "RunDirectory":
        """Claim the folder, and make it if it does not exist.

        Raises:
            FolderInUse: another process owns it.
            UsageError: it cannot be made or written.
            StorageError: the same, for a reason that may pass, such as a full disk.
        """
        try:
            make_directory(self.path)
            _refuse_links(self.path)
            self._lock.acquire(timeout_s=_CLAIM_S)
        except Busy as owner:
            raise FolderInUse(
                f"run folder {self.path} is in use by {owner}; wait for it or choose another "
                "folder with --run-dir"
            ) from None
        except OSError as error:
            raise (StorageError if may_pass(error) else UsageError)(
                f"run folder {self.path}: {error.strerror or error}; choose another folder with "
                "--run-dir"
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the claim."""
        self.release()

    def release(self) -> None:
        """Release the claim; remove a folder that was made for a run that could not begin."""
        if not self.holds_run:
            with contextlib.suppress(OSError):  # something else is in it
                (self.path / _LOCK).unlink(missing_ok=True)
                self.path.rmdir()
        self._lock.release()

    @property
    def holds_run(self) -> bool:
        """Return whether the folder holds a run. One killed before its config.json is none yet."""
        patterns = [pattern for pattern in _CONTENTS if pattern != STATUS]
        return any(next(self.path.glob(pattern), None) for pattern in patterns)

    def clear(self) -> None:
        """Remove what a run writes, and nothing else; config.json stays until it is replaced."""
        with storage_errors(self.path):
            for pattern in (*_CONTENTS[1:], FAULT, CURVE):
                for path in self.path.glob(pattern):
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()

    def write_fault(self, fault: Exception) -> None:
        """Write the traceback of an environment's own error to fault.txt, if the disk takes it."""
        text = "".join(traceback.format_exception(fault.__cause__ or fault))
        with contextlib.suppress(OSError):
            replace_text(self.path / FAULT, text)

    def write_config(self, config: Config, facts: dict[str, Any], agent_steps: int) -> None:
        """Replace config.json.

        Args:
            config: the run's settings, as they are now.
            facts: what else is known about the run.
            agent_steps: agent steps done when this part of the run begins. Each part adds its
                date, versions and commit to the list of parts.
        """
        path = self.path / CONFIG
        parts = [asdict(part) for part in read_config_file(self.path).parts] if agent_steps else []
        now = datetime.now(UTC).isoformat(timespec="seconds")
        started = {"started": now} if config.run.wall_time else {}
        part = {"from_agent_step": agent_steps, **started, **software()}
        record = {**config.to_json(), **facts, **software(), "parts": [*parts, part]}
        with storage_errors(self.path):
            replace_text(path, f"{json.dumps(record, indent=2)}\n")


def in_use(run_dir: Path) -> bool:
    """Return whether a process owns the run folder now."""
    path = run_dir / _LOCK
    if special(path) or not path.exists():
        return False
    try:
        return FileLock(path).owner() is not None
    except OSError:  # the process that claims the folder will report it
        return False


def _refuse_links(run_dir: Path) -> None:
    """Refuse a folder in which a run would read, write or delete something outside of it."""
    names = tuple(pattern.removesuffix("*") for pattern in (*_CONTENTS, _LOCK, TRAIN_LOG))
    paths = [path for path in run_dir.iterdir() if path.name.startswith(names)]
    checkpoints = run_dir / "checkpoints"
    if not special(checkpoints):
        paths += checkpoints.rglob("*")  # follows no links
    for path in paths:
        kind = special(path)
        folder = path in (checkpoints, checkpoints / "replay")
        if not kind and (folder or path.parent == run_dir) and path.is_dir() != folder:
            kind = "no folder" if folder else "a folder"
        if kind:
            raise UsageError(f"{path} is {kind}; remove it, or restore it from a copy")


@dataclass(frozen=True)
class Part:
    """A part of a run: from its beginning or a resume on, by one version."""

    from_agent_step: int
    commit: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    started: str = ""  # date and time in UTC; not recorded by early versions and --no-wall-time


@dataclass(frozen=True)
class ConfigFile:
    """The content of config.json, as far as it is read."""

    run: dict[str, Any]  # settings by name, unchecked
    agent: dict[str, Any]
    explicit: list[str]
    norm: dict[str, Any] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)  # named with --import; never imported here
    device: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    rollbacks: list[str] = field(default_factory=list)  # why it went back to a checkpoint


def read_config_file(run_dir: Path) -> ConfigFile:
    """Read the config.json of the run in a folder; the settings are not checked.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    path = run_dir / CONFIG
    try:
        return read_json(path, ConfigFile)
    except OSError as error:
        raise UsageError(
            f"no run in {run_dir}: {path.name}: {error.strerror}; name the folder of a run"
            f"{runs_near(run_dir, CONFIG)}"
        ) from None
    except ValueError as error:
        raise UsageError(_unusable(path, error)) from None


def read_config(run_dir: Path) -> Config:
    """Read the configuration of the run in a folder.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    record = read_config_file(run_dir)
    with naming_modules(run_dir):
        try:
            return config_from_json(vars(record))
        except ValueError as error:
            raise UsageError(_unusable(run_dir / CONFIG, error)) from error


def _unusable(path: Path, error: ValueError) -> str:
    return f"{path} cannot be read as a run's configuration: {error}"


@contextlib.contextmanager
def naming_modules(run_dir: Path) -> Iterator[None]:
    """Add to an error which module of the user's may be missing; none is imported here.

    A SettingError is about a value that was given, and stays.

    Args:
        run_dir: folder of the run whose parts are looked up in the context.
    """
    try:
        yield
    except SettingError:
        raise
    except UsageError as error:
        recorded = read_config_file(run_dir).modules
        missing = [f"--import {quoted(x)}" for x in recorded if x not in sys.modules]
        flags = " ".join(flag for flag in missing if flag not in str(error))
        cause = error.__cause__
        if flags:
            hint = f"; the run was started with {flags}: if you trust that, add it"
        elif isinstance(cause, SettingError) and cause.setting in REGISTERED:
            hint = "; if a module of yours registers it, name it with --import MODULE"
        else:
            raise
        raise UsageError(f"{error}{hint}") from error


@contextlib.contextmanager
def loading(run_dir: Path, agent_step: int) -> Iterator[None]:
    """Report errors while a checkpoint is loaded as one that this version cannot read.

    Args:
        run_dir: the run's folder.
        agent_step: agent steps at the checkpoint.

    Raises:
        UsageError: the checkpoint has another form; the message names the commit that wrote it.
    """
    try:
        yield
    except (UsageError, OSError):
        raise
    except Exception as error:  # a part of a run may fail in any way on a state that is not its own
        why = textwrap.shorten(f"{type(error).__name__}: {error}", 120)
        raise UsageError(
            f"the checkpoint of agent step {agent_step:,}, which "
            f"{_writer(run_dir, agent_step)} wrote, cannot be read by this version ({why}); "
            "resume it with the version that wrote it"
        ) from error


def _writer(run_dir: Path, agent_step: int) -> str:
    """Name the commit that did a run's agent step, from config.json."""
    parts: list[Part] = []
    with contextlib.suppress(UsageError):
        parts = read_config_file(run_dir).parts
    earlier = [part for part in parts if part.from_agent_step < agent_step]
    commit = earlier[-1].commit if earlier else None
    return f"commit {commit[:12]}" if commit else "an unknown commit"
