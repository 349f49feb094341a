"""status.json: how far a run is, written by the run and read by everyone else."""

import contextlib
import dataclasses
import enum
import json
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path

from wnrl.train.foreign_text import visible
from wnrl.train.storage import old_runs
from wnrl.train.storage.atomic_files import replace_text
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.train_log import TRAIN_LOG, last_line
from wnrl.train.untrusted.typed_json import read_json

STATUS = "status.json"


class RunState(enum.StrEnum):
    """The state that a run reports. A killed run still says `starting` or `running`."""

    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    DIVERGED = "diverged"  # NaN or infinity


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """A run at a glance."""

    agent_steps: int
    mean_return: float | None  # raw, over the last 100 episodes; None before the first
    steps_per_s: float | None  # agent steps per second; None if not known
    state: RunState = RunState.RUNNING
    total_steps: int = 0  # agent steps at which the run ends
    episodes: int = 0  # finished since the start of the run
    error: str = ""  # why it failed, in one line


class StatusFile:
    """The status.json of a run that this process owns."""

    def __init__(self, run_dir: Path) -> None:
        """Nothing is read or written yet."""
        self._run_dir = run_dir
        self.path = run_dir / STATUS
        self.error: OSError | None = None  # why the newest attempt to write failed

    def write(self, status: RunStatus) -> None:
        """Replace the file. Sets `error` instead of raising OSError: the next write tries again."""
        text = json.dumps(dataclasses.asdict(status), indent=2)
        try:
            replace_text(self.path, f"{text}\n", sync=False)
        except OSError as error:
            self.error = error
        else:
            self.error = None

    def start(self, agent_steps: int, total_steps: int) -> None:
        """Write that a process begins to work on the run.

        Args:
            agent_steps: agent steps done.
            total_steps: agent steps at which the run ends.
        """
        earlier = _read(self._run_dir) or RunStatus(0, None, None)
        self.write(
            dataclasses.replace(
                earlier,
                agent_steps=agent_steps,
                steps_per_s=None,
                state=RunState.STARTING,
                total_steps=total_steps,
                error="",
            )
        )

    @contextlib.contextmanager
    def recording_failure(self, diverged: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Write to the file how the code inside ends early: stopped, failed or diverged.

        Args:
            diverged: errors that mean NaN or infinity.
        """
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            self.ended(RunState.STOPPED)
            raise
        except Exception as error:
            text = str(error) if str(error) else type(error).__name__
            state = RunState.DIVERGED if isinstance(error, diverged) else RunState.FAILED
            self.ended(state, textwrap.shorten(text, 1_000))
            raise

    def ended(self, state: RunState, error: str = "") -> None:
        """Write how the run ended early."""
        status = _read(self._run_dir) or RunStatus(0, None, None)
        self.write(dataclasses.replace(status, state=state, steps_per_s=None, error=error))


def saved_steps(folder: Path) -> int:
    """Return the agent steps of the newest checkpoint; 0 if there is none."""
    return max(Checkpoints(folder).steps(), default=0)


def read_status(folder: Path, *, running: bool = False) -> RunStatus:
    """Return how far a run is.

    Args:
        folder: the run's folder.
        running: whether a process is known to work on it. If none does, the agent steps since the
            newest checkpoint will be done again, and do not count.
    """
    saved = saved_steps(folder)
    status = _read(folder)
    if status is None:
        return RunStatus(saved, old_runs.mean_return(folder), None)
    if running and status.state in (RunState.STARTING, RunState.RUNNING):
        return dataclasses.replace(status, agent_steps=max(status.agent_steps, saved))
    return dataclasses.replace(status, agent_steps=saved, steps_per_s=None)


def failure(folder: Path) -> str:
    """Return why a run last failed, in one line; empty if it did not fail or if unknown."""
    status = _read(folder)
    if status is not None:
        return visible(status.error)
    line = last_line(folder / TRAIN_LOG)  # it never started, or is an old run
    return "" if old_runs.is_progress_line(line) else line


def _read(folder: Path) -> RunStatus | None:
    """Read status.json; None if it is missing or damaged."""
    try:
        status = read_json(folder / STATUS, RunStatus)
    except (OSError, ValueError):
        return None
    known = status.steps_per_s is not None and math.isfinite(status.steps_per_s)
    return status if known else dataclasses.replace(status, steps_per_s=None)
