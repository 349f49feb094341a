"""Runs of a grid as processes of their own: so many at a time, retried, never orphaned.

A run's process owns its folder and writes its checkpoints; the runner starts it, waits for it and
reads its files. Not for what is shown of it: that is `wnrl.run_table`.
"""

import enum
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wnrl.grid import Planned, train_arguments
from wnrl.run_status import TRAIN_LOG, last_line, saved_steps
from wnrl.rundir import CONFIG, in_use
from wnrl.tether import tethered

MAX_RETRIES = 3  # in a row without a new checkpoint
_UNUSABLE = 2  # exit code of a run that says that it cannot be; to repeat it changes nothing


class State(enum.Enum):
    """Where a run of the grid stands."""

    WAITING = "waiting"
    IN_USE = "in use"  # of another process: waited for
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass
class Run:
    """A run of the grid and what became of it."""

    planned: Planned
    state: State = State.WAITING
    retries: int = 0  # in all
    error: str = ""  # why it failed last
    log_from_byte: int = 0  # where its newest part begins in train.log
    _process: subprocess.Popen[bytes] | None = None
    _saved_steps: int = 0  # when it was started last
    _in_vain: int = 0  # retries in a row without a new checkpoint

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.planned.folder


def train_command(planned: Planned) -> list[str]:
    """The command that does a run, from its newest checkpoint if there is one."""
    go_on = (planned.folder / CONFIG).exists()
    return [sys.executable, "-m", "wnrl.train", *train_arguments(planned, go_on=go_on)]


class Runner:
    """Starts, watches and retries the runs of a grid. Call it from the main thread."""

    def __init__(
        self,
        grid: Sequence[Planned],
        jobs: int,
        *,
        command: Callable[[Planned], list[str]] = train_command,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Nothing is started yet; runs that have done all of their steps are done.

        Args:
            grid: the runs, in the order in which they start.
            jobs: how many at a time.
            command: what does a run.
            say: takes a line for each change.
        """
        self.runs = [Run(planned) for planned in grid]
        self._jobs = jobs
        self._command = command
        self._say = say
        for run in self.runs:
            if is_done(run.planned):
                run.state = State.DONE

    @property
    def over(self) -> bool:
        """Whether every run is done or has failed for good."""
        return all(run.state in (State.DONE, State.FAILED) for run in self.runs)

    def poll(self) -> None:
        """Take in what has ended and start what may start."""
        for run in self.runs:
            if run._process is not None and run._process.poll() is not None:
                self._take_in(run, run._process.returncode)
        free = self._jobs - sum(run.state is State.RUNNING for run in self.runs)
        for run in self.runs:
            if free > 0 and run.state in (State.WAITING, State.IN_USE):
                free -= self._start(run)

    def _start(self, run: Run) -> bool:
        """Start a run; False if its folder is another process's, or cannot be written."""
        if in_use(run.folder):
            if run.state is not State.IN_USE:
                self._say(f"{run.folder} is in use by another process: waiting for it to end")
            run.state = State.IN_USE
            return False
        if is_done(run.planned):  # by the process that it was waited for
            self._change(run, State.DONE)
            return False
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            with (run.folder / TRAIN_LOG).open("ab") as log:
                run.log_from_byte = log.tell()
                run._process = subprocess.Popen(
                    tethered(self._command(run.planned)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,  # Ctrl-C is the parent's, who asks each once
                )
        except OSError as error:
            run.error = f"{error.filename or run.folder}: {error.strerror}"
            self._change(run, State.FAILED)
            return False
        run._saved_steps = saved_steps(run.folder)
        from_steps = f" from {run._saved_steps:,}" if run._saved_steps else ""
        again = f" again (retry {run.retries})" if run.retries else ""
        run.state = State.RUNNING
        self._say(f"{run.folder} started{again}{from_steps}")
        return True

    def _take_in(self, run: Run, exit_code: int) -> None:
        run._process = None
        if is_done(run.planned):
            self._change(run, State.DONE)
            return
        said = last_line(run.folder / TRAIN_LOG, run.log_from_byte)
        run.error = said or f"exit code {exit_code}"
        if exit_code < 0:
            run.error = f"killed by {signal.Signals(-exit_code).name}"
        if exit_code == _UNUSABLE and in_use(run.folder):  # claimed by another in the meantime
            run.state = State.WAITING
            return
        run._in_vain = 0 if saved_steps(run.folder) > run._saved_steps else run._in_vain + 1
        if run._in_vain > MAX_RETRIES or exit_code == _UNUSABLE:
            self._change(run, State.FAILED)
        else:
            run.retries += 1
            run.state = State.WAITING
            self._say(f"{run.folder} ended early: {run.error}")

    def _change(self, run: Run, state: State) -> None:
        run.state = state
        self._say(f"{run.folder} {state.value}{f': {run.error}' if state is State.FAILED else ''}")

    def stop(self) -> None:
        """Ask every process to end with a checkpoint, and wait for it; interrupted, kill them."""
        processes = [run._process for run in self.runs if run._process is not None]
        try:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
        except KeyboardInterrupt:
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()
            raise
        finally:
            for run in self.runs:
                if run._process is not None and run._process.poll() is not None:
                    run._process = None
                    run.state = State.DONE if is_done(run.planned) else State.WAITING


def is_done(planned: Planned) -> bool:
    """Whether a run's newest checkpoint is at its end, and nobody works on it."""
    return saved_steps(planned.folder) >= planned.config.run.steps
