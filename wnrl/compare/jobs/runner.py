"""Runs of a grid as processes of their own: so many at a time, retried, never orphaned.

A run's process owns its folder and writes its checkpoints; the runner has it started, waits for it
and reads its files. Not for where it runs (`wnrl.compare.jobs.process`) nor what is shown of it
(`wnrl.compare.jobs.table`).
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wnrl.compare.grid import Planned, train_arguments
from wnrl.compare.jobs.process import UNUSABLE, Ending, Job, Launch, launch_here
from wnrl.train.storage.run_folder import CONFIG, in_use
from wnrl.train.storage.run_status import saved_steps
from wnrl.train.storage.train_log import TRAIN_LOG, last_line

MAX_RETRIES = 3  # in a row without a new checkpoint


class State(enum.Enum):
    """Where a run of the grid stands."""

    WAITING = "waiting"
    IN_USE = "in use"  # of another process: waited for
    QUEUED = "queued"  # handed over to a cluster that has no room for it yet
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
    _job: Job | None = None
    _saved_steps: int = 0  # when it was started last
    _in_vain: int = 0  # retries in a row without a new checkpoint

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.planned.folder


def train_command(planned: Planned) -> list[str]:
    """What the interpreter is given to do a run, from its newest checkpoint if there is one."""
    go_on = (planned.folder / CONFIG).exists()
    return ["-m", "wnrl.train", *train_arguments(planned, go_on=go_on)]


class Runner:
    """Starts, watches and retries the runs of a grid. Call it from the main thread."""

    def __init__(
        self,
        grid: Sequence[Planned],
        at_a_time: int,
        *,
        command: Callable[[Planned], list[str]] = train_command,
        launch: Launch = launch_here,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Nothing is started yet; runs that have done all of their steps are done.

        Args:
            grid: the runs, in the order in which they start.
            at_a_time: how many.
            command: what the interpreter is given to do a run.
            launch: starts it.
            say: takes a line for each change.
        """
        self.runs = [Run(planned) for planned in grid]
        self._at_a_time = at_a_time
        self._command = command
        self._launch = launch
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
            if run._job is not None:
                self._look(run, run._job)
        free = self._at_a_time - sum(run._job is not None for run in self.runs)
        for run in self.runs:
            if free > 0 and run.state in (State.WAITING, State.IN_USE):
                free -= self._start(run)

    def _look(self, run: Run, job: Job) -> None:
        ending = job.poll()
        if ending is None:
            run.state = State.RUNNING if job.has_begun() else State.QUEUED
        elif ending.exit_code is not None or not in_use(run.folder):
            self._take_in(run, ending)  # else it still writes its checkpoint

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
            log = run.folder / TRAIN_LOG
            run.log_from_byte = log.stat().st_size if log.exists() else 0
            run._job = self._launch(self._command(run.planned), log)
        except OSError as error:
            run.error = f"{error.filename or run.folder}: {error.strerror}"
            self._change(run, State.FAILED)
            return False
        run._saved_steps = saved_steps(run.folder)
        from_steps = f" from {run._saved_steps:,}" if run._saved_steps else ""
        again = f" again (retry {run.retries})" if run.retries else ""
        begun = run._job.has_begun()
        run.state = State.RUNNING if begun else State.QUEUED
        self._say(f"{run.folder} {'started' if begun else 'queued'}{again}{from_steps}")
        return True

    def _take_in(self, run: Run, ending: Ending) -> None:
        run._job = None
        if is_done(run.planned):
            self._change(run, State.DONE)
            return
        said = last_line(run.folder / TRAIN_LOG, run.log_from_byte)
        run.error = ending.why or said or f"exit code {ending.exit_code}"
        unusable = ending.exit_code == UNUSABLE
        if unusable and in_use(run.folder):  # claimed by another in the meantime
            run.state = State.WAITING
            return
        run._in_vain = 0 if saved_steps(run.folder) > run._saved_steps else run._in_vain + 1
        if run._in_vain > MAX_RETRIES or unusable:
            self._change(run, State.FAILED)
        else:
            run.retries += 1
            run.state = State.WAITING
            self._say(f"{run.folder} ended early: {run.error}")

    def _change(self, run: Run, state: State) -> None:
        run.state = state
        self._say(f"{run.folder} {state.value}{f': {run.error}' if state is State.FAILED else ''}")

    def stop(self) -> None:
        """Ask every run to end with a checkpoint, and wait for it; interrupted, kill them."""
        jobs = [run._job for run in self.runs if run._job is not None]
        try:
            for job in jobs:
                job.ask()
            for job in jobs:
                job.wait()
        except KeyboardInterrupt:
            for job in jobs:
                job.kill()
            for job in jobs:
                job.wait()
            raise
        finally:
            for run in self.runs:
                if run._job is not None and run._job.poll() is not None:
                    run._job = None
                    run.state = State.DONE if is_done(run.planned) else State.WAITING


def is_done(planned: Planned) -> bool:
    """Whether a run's newest checkpoint is at its end, and nobody works on it."""
    return saved_steps(planned.folder) >= planned.config.run.steps
