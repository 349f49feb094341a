"""Run the jobs of a grid: a limited number at a time, retried after a failure, never orphaned.

Each run's process owns its folder and writes its checkpoints; the runner starts it, waits for it
and reads its files. Where a job runs is `wnrl.compare.jobs.process` or `ray_cluster`; what the user
sees is `wnrl.compare.jobs.table`.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wnrl.compare.grid import PlannedRun, train_arguments
from wnrl.compare.jobs.process import ExitStatus, Job, Launch, launch_locally
from wnrl.train.exit_codes import ExitCode
from wnrl.train.storage.run_folder import CONFIG, in_use
from wnrl.train.storage.run_status import saved_steps
from wnrl.train.storage.train_log import TRAIN_LOG, last_line

MAX_RETRIES = 3  # in a row without a new checkpoint


class State(enum.Enum):
    """The state of a run of the grid."""

    WAITING = "waiting"
    IN_USE = "in use"  # another process owns its folder; the runner waits for it
    QUEUED = "queued"  # handed over to a cluster that has no room for it yet
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    DIVERGED = "diverged"  # NaN or infinity; a retry would meet it again


NOT_DONE = (State.FAILED, State.DIVERGED)
ENDED = (State.DONE, *NOT_DONE)


@dataclass
class Run:
    """A run of the grid and its state."""

    planned: PlannedRun
    state: State = State.WAITING
    retries: int = 0  # in total
    error: str = ""  # why it ended early last time
    log_from_byte: int = 0  # where the output of its newest start begins in train.log
    job: Job | None = None
    steps_at_start: int = 0  # agent steps saved when it was last started
    failures_in_a_row: int = 0  # ends without a new checkpoint since the last one with one

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.planned.folder


def is_done(planned: PlannedRun) -> bool:
    """Return whether a run's newest checkpoint is at its last step."""
    return saved_steps(planned.folder) >= planned.config.run.steps


def train_command(planned: PlannedRun) -> list[str]:
    """Return the interpreter's arguments for a run; it resumes if its folder holds a run."""
    resume = (planned.folder / CONFIG).exists()
    return ["-m", "wnrl.train", "--no-curve", *train_arguments(planned, resume=resume)]


class Runner:
    """Starts, watches and retries the runs of a grid. Call it from the main thread."""

    def __init__(
        self,
        grid: Sequence[PlannedRun],
        at_a_time: int,
        *,
        command: Callable[[PlannedRun], list[str]] = train_command,
        launch: Launch = launch_locally,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Prepare the runs without starting any; finished runs are marked as done.

        Args:
            grid: the runs, in the order in which they start.
            at_a_time: maximum number of jobs at a time.
            command: maps a run to the interpreter's arguments.
            launch: starts a job.
            report: takes one line for each change of state.
        """
        self.runs = [Run(planned) for planned in grid]
        self._at_a_time = at_a_time
        self._command = command
        self._launch = launch
        self._report = report
        for run in self.runs:
            if is_done(run.planned):
                run.state = State.DONE

    @property
    def finished(self) -> bool:
        """Return whether every run is done, has diverged or has failed for good."""
        return all(run.state in ENDED for run in self.runs)

    def poll(self) -> None:
        """Handle the jobs that have ended, and start as many runs as there is room for."""
        for run in self.runs:
            if run.job is not None:
                self._check(run, run.job)
        free = self._at_a_time - sum(run.job is not None for run in self.runs)
        for run in self.runs:
            if free > 0 and run.state in (State.WAITING, State.IN_USE):
                free -= self._start(run)

    def _check(self, run: Run, job: Job) -> None:
        status = job.poll()
        if status is None:
            run.state = State.RUNNING if job.has_started() else State.QUEUED
        elif status.exit_code is not None or not in_use(run.folder):
            self._handle_exit(run, status)
        # Otherwise the job was lost, but its process still writes a checkpoint.

    def _start(self, run: Run) -> bool:
        """Start a run; return False if its folder is in use or cannot be written."""
        if in_use(run.folder):
            if run.state is not State.IN_USE:
                self._report(f"{run.folder} is in use by another process; waiting for it")
            run.state = State.IN_USE
            return False
        if is_done(run.planned):  # finished by the other process
            self._finish(run, State.DONE)
            return False
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            log = run.folder / TRAIN_LOG
            run.log_from_byte = log.stat().st_size if log.exists() else 0
            run.steps_at_start = saved_steps(run.folder)
            run.job = self._launch(self._command(run.planned), log)
        except OSError as error:
            run.error = f"{error.filename or run.folder}: {error.strerror}"
            self._finish(run, State.FAILED)
            return False
        run.state = State.RUNNING if run.job.has_started() else State.QUEUED
        self._report_start(run)
        return True

    def _report_start(self, run: Run) -> None:
        verb = "queued" if run.state is State.QUEUED else "started"
        retry = f" again (retry {run.retries})" if run.retries else ""
        origin = f" from agent step {run.steps_at_start:,}" if run.steps_at_start else ""
        self._report(f"{run.folder} {verb}{retry}{origin}")

    def _handle_exit(self, run: Run, status: ExitStatus) -> None:
        run.job = None
        if is_done(run.planned):
            self._finish(run, State.DONE)
            return
        last_output = last_line(run.folder / TRAIN_LOG, run.log_from_byte)
        run.error = status.reason or last_output or f"exit code {status.exit_code}"
        if status.exit_code == ExitCode.IN_USE:  # another process claimed it in the meantime
            run.state = State.WAITING  # it starts when its folder is free, perhaps now
            return
        if status.exit_code == ExitCode.NOT_FINITE:
            self._finish(run, State.DIVERGED)
            return
        progress = saved_steps(run.folder) > run.steps_at_start
        run.failures_in_a_row = 0 if progress else run.failures_in_a_row + 1
        if run.failures_in_a_row > MAX_RETRIES or status.exit_code == ExitCode.UNUSABLE:
            self._finish(run, State.FAILED)
        else:
            run.retries += 1
            run.state = State.WAITING
            self._report(f"{run.folder} ended early: {run.error}")

    def _finish(self, run: Run, state: State) -> None:
        run.state = state
        error = f": {run.error}" if state in NOT_DONE else ""
        self._report(f"{run.folder} {state.value}{error}")

    def stop(self) -> None:
        """Ask every job to write a checkpoint and end, and wait; kill them on KeyboardInterrupt."""
        jobs = [run.job for run in self.runs if run.job is not None]
        try:
            for job in jobs:
                job.request_stop()
            for job in jobs:
                job.wait()
        except KeyboardInterrupt:
            self.kill()
            raise
        finally:
            for run in self.runs:
                if run.job is not None and run.job.poll() is not None:
                    run.job = None
                    run.state = State.DONE if is_done(run.planned) else State.WAITING

    def kill(self) -> None:
        """End every job without a checkpoint. It may be called from another thread."""
        jobs = [job for run in self.runs if (job := run.job) is not None]
        for job in jobs:
            job.kill()
        for job in jobs:
            job.wait()
