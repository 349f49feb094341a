"""A run under way as the runner sees it, and the kind that is a process of this machine.

Another kind is a task of a Ray cluster (`wnrl.compare.jobs.ray_cluster`). Not for what is done
about its end: that
is `wnrl.compare.jobs.runner`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from wnrl.compare.jobs.tether import tethered

UNUSABLE = 2  # exit code of a run that says that it cannot be; to repeat it changes nothing


class Ending(NamedTuple):
    """How a run's process ended."""

    exit_code: int | None  # negative: killed by that signal; None: lost from sight, maybe running
    why: str = ""  # what is known beside what the run itself said last

    @classmethod
    def of(cls, exit_code: int) -> "Ending":
        """Of a process that was waited for."""
        if exit_code < 0:
            return cls(exit_code, f"killed by {signal.Signals(-exit_code).name}")
        return cls(exit_code)


class Job(Protocol):
    """A run that was handed over to be done."""

    def has_begun(self) -> bool:
        """Whether it was more than queued yet."""

    def poll(self) -> Ending | None:
        """How it ended; None before that. The same however often it is asked."""

    def ask(self) -> None:
        """Ask it to end with a checkpoint."""

    def kill(self) -> None:
        """End it, without a checkpoint."""

    def wait(self) -> None:
        """Return when it has ended."""


class Launch(Protocol):
    """What starts a run."""

    def __call__(self, arguments: Sequence[str], log: Path) -> Job:
        """Hand a run over.

        Args:
            arguments: of the Python interpreter, wherever it is run.
            log: what it prints is appended there.

        Raises:
            OSError: it cannot be started.
        """


class _Process:
    """A run in a child process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def has_begun(self) -> bool:
        return True

    def poll(self) -> Ending | None:
        exit_code = self._process.poll()
        return None if exit_code is None else Ending.of(exit_code)

    def ask(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.wait()


def launch_here(arguments: Sequence[str], log: Path) -> Job:
    """Start a run in a child of this process, with which it ends. Call it from the main thread."""
    return _Process(start_process(arguments, log))


def start_process(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a tethered interpreter that prints to a log.

    Args:
        arguments: of the interpreter.
        log: appended to.
        environment: variables beside this process's own.

    Raises:
        OSError: the log cannot be written, or there is no room for a process.
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            tethered([sys.executable, *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            process_group=0,  # Ctrl-C is the parent's, who asks each once
        )
