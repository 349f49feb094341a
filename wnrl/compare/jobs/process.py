"""Run one job as a child process that never outlives its parent.

`python -m wnrl.compare.jobs.process PARENT_PID COMMAND ...` becomes the command. However the parent
ends, kill -9 included, the command then gets SIGTERM, writes a checkpoint and ends, so that nothing
is left to fight a new parent over a folder. This needs Linux; elsewhere the command just runs.

Imports the standard library only, so that a child soon becomes its command and a Ray worker stays
small. Retrying a job that ended belongs to `wnrl.compare.jobs.runner`.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

from wnrl.train.storage.train_log import open_log

_PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve


class ExitStatus(NamedTuple):
    """The end of a job: its exit code and the reason."""

    exit_code: int | None  # negative: killed by that signal; None: lost, and perhaps still running
    reason: str = ""  # extra reason, besides the run's last log line

    @classmethod
    def from_code(cls, exit_code: int) -> "ExitStatus":
        """Describe a process that ended with this code."""
        if exit_code < 0:
            return cls(exit_code, f"killed by {signal.Signals(-exit_code).name}")
        return cls(exit_code)


class Job(Protocol):
    """A run that was handed over to a process or a cluster."""

    def has_started(self) -> bool:
        """Return whether it runs or has run, rather than waiting in a queue."""

    def poll(self) -> ExitStatus | None:
        """Return how it ended, or None before that; repeated calls return the same."""

    def request_stop(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it without a checkpoint."""

    def wait(self) -> None:
        """Block until it has ended."""


class Launch(Protocol):
    """Starts a job."""

    def __call__(self, arguments: Sequence[str], log: Path) -> Job:
        """Start a job.

        Args:
            arguments: arguments for the Python interpreter.
            log: file to which the job's output is appended.

        Raises:
            OSError: it cannot be started.
        """


class _ChildProcess:
    """A run in a child process; a `Job`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def has_started(self) -> bool:
        return True

    def poll(self) -> ExitStatus | None:
        exit_code = self._process.poll()
        return None if exit_code is None else ExitStatus.from_code(exit_code)

    def request_stop(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.wait()


def launch_locally(arguments: Sequence[str], log: Path) -> Job:
    """Start a run in a child that never outlives this process. Call it from the main thread."""
    return _ChildProcess(start_process(arguments, log))


def local_launch(gpus: Sequence[str]) -> Launch:
    """Return the function that starts runs on this machine.

    Args:
        gpus: GPUs to spread the runs over, named as in CUDA_VISIBLE_DEVICES; if there are none, a
            run takes the device of its configuration.
    """
    return _GpuLaunch(gpus) if gpus else launch_locally


class _GpuLaunch:
    """Starts each run on the GPU with the fewest runs, the only one that it sees; a `Launch`."""

    def __init__(self, gpus: Sequence[str]) -> None:
        self._jobs: dict[str, list[Job]] = {gpu: [] for gpu in gpus}

    def __call__(self, arguments: Sequence[str], log: Path) -> Job:
        """Start a run. Call it from the main thread."""
        for gpu, jobs in self._jobs.items():
            self._jobs[gpu] = [job for job in jobs if job.poll() is None]
        gpu = min(self._jobs, key=lambda gpu: len(self._jobs[gpu]))
        job = _ChildProcess(start_process(arguments, log, one_gpu(gpu)))
        self._jobs[gpu].append(job)
        return job


def one_gpu(gpu: str) -> dict[str, str]:
    """Return the environment variables of a process that sees one GPU; ROCm reads them too."""
    return {"CUDA_VISIBLE_DEVICES": gpu}


def start_process(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start an interpreter that never outlives this process and prints to a log.

    Args:
        arguments: arguments for the interpreter.
        log: file to which its output is appended.
        environment: variables to add to this process's own.

    Raises:
        OSError: the log cannot be written, or the process cannot be created.
    """
    with open_log(log) as file:
        return subprocess.Popen(
            tethered([sys.executable, *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            process_group=0,  # Ctrl-C reaches the parent alone, which then asks each child once
        )


def tethered(command: Sequence[str]) -> list[str]:
    """Return the command line that runs a command which ends when this process does.

    Start it from a thread that lives as long as the process, such as the main thread.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-m", "wnrl.compare.jobs.process", str(os.getpid()), *command]


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the command, or end if the parent is already gone."""
    parent, *command = arguments
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before prctl could ask for the signal
        sys.exit(128 + signal.SIGTERM)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
