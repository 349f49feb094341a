"""Commands in processes of their own, which start quickly: a server has loaded torch for them.

Signals, descriptors and exit codes are real. A forked process only skips the imports.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import wnrl

LIMIT_S = 60.0  # for whatever a test waits for; a hang, not a speed
_SERVER = multiprocessing.get_context("forkserver")
_LAZY = [  # of the first optimizer, and of a run that is done
    "wnrl.kernels.optimizer_numba",
    "wnrl.train.log.recorder",
    "wnrl.report.plot.figure",
]
_SERVER.set_forkserver_preload(["wnrl.train.command", "wnrl.evaluate.command", *_LAZY])


def nothing() -> None:
    """Change nothing before the command."""


class CommandProcess:
    """A command that runs now; what it prints goes to files."""

    def __init__(
        self,
        command: str,
        *arguments: object,
        folder: Path,
        before: Callable[[], None] = nothing,
        **environment: str,
    ) -> None:
        """Start it.

        Args:
            command: `train`, `evaluate`, `compare` or `doctor`.
            arguments: its command line.
            folder: gets `out.txt` and `err.txt`.
            before: called in the process before the command; a function of a helper module.
            environment: variables to add.
        """
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        line = [str(argument) for argument in arguments]
        self._process = _SERVER.Process(
            target=_run, args=(command, line, self._out, self._err, before, environment)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def out(self) -> str:
        return self._out.read_text() if self._out.exists() else ""

    @property
    def err(self) -> str:
        return self._err.read_text() if self._err.exists() else ""

    @property
    def ended(self) -> bool:
        return not self._process.is_alive()

    def send(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is so, while the command runs."""
        deadline = time.monotonic() + LIMIT_S
        while not reached():
            assert not self.ended, f"it ended: {self.out}{self.err}"
            assert time.monotonic() < deadline, f"too late: {self.out}{self.err}"
            time.sleep(0.01)

    def wait(self) -> int:
        """Return the exit code; kill the process and fail if it does not end."""
        self._process.join(LIMIT_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise AssertionError(f"it did not end: {self.out}{self.err}")
        return self._process.exitcode


def _run(
    command: str,
    arguments: list[str],
    out: Path,
    err: Path,
    before: Callable[[], None],
    environment: Mapping[str, str],
) -> None:
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.update(environment)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    before()
    sys.exit(wnrl.run_command(command, arguments))


def ignore_hangup() -> None:
    """Ignore SIGHUP, as `nohup` does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def take_terminal() -> None:
    """Make the terminal in TERMINAL the one of this process, as a shell's."""
    os.setsid()
    terminal = os.open(os.environ["TERMINAL"], os.O_RDWR)  # a session leader's first is its own
    for descriptor in range(3):
        os.dup2(terminal, descriptor)


def save_slowly() -> None:
    """Wait within each `torch.save` until the file in SAVE_MAY_GO_ON exists."""
    import torch

    save, go_on = torch.save, Path(os.environ["SAVE_MAY_GO_ON"])

    def slow(*arguments: object) -> None:
        go_on.with_name("saving").touch()
        while not go_on.exists():
            time.sleep(0.01)
        save(*arguments)

    torch.save = slow


def draw_endlessly() -> None:
    """Make the file in DRAWING in place of a picture, and wait."""
    from wnrl.report.plot import figure

    def endless(*arguments: object) -> None:
        Path(os.environ["DRAWING"]).touch()
        time.sleep(LIMIT_S)

    figure.draw = endless


def nobody_reads() -> None:
    """Print to pipes that nobody reads."""
    for descriptor in (1, 2):
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, descriptor)


def close_output() -> None:
    """Close stdin, stdout and stderr, as `<&- >&- 2>&-`."""
    sys.stdout = sys.stderr = None  # type: ignore[assignment]  # as Python has it then
    for descriptor in range(3):
        os.close(descriptor)


def fill_output() -> None:
    """Print to a disk that is full."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def show_ascii_only() -> None:
    """Print to a terminal that knows only ASCII."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="ascii")  # type: ignore[union-attr]


def limit_memory() -> None:
    """Let this process take MORE_BYTES more than it has."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit_bytes = pages * resource.getpagesize() + int(os.environ["MORE_BYTES"])
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))


def few_files() -> None:
    """Let this process open 64 files, as `ulimit -n 64`."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def no_home() -> None:
    """Remove HOME."""
    os.environ.pop("HOME", None)
