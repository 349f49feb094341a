"""A run in a process of its own: what signals, a hang and a lack of memory do to it."""

import contextlib
import os
import textwrap

from wnrl.config import Config
from wnrl.train.exit_codes import ExitCode
from wnrl.train.faults.out_of_memory import what_to_lower
from wnrl.train.foreign_text import visible
from wnrl.train.process.hang_watchdog import HangWatchdog, dump_stacks
from wnrl.train.process.stop_signals import StopSignals, write_line
from wnrl.train.run import kept
from wnrl.train.speed import format_duration
from wnrl.train.storage.run_folder import HANG, RunDirectory
from wnrl.train.storage.run_status import RunState

PROGRAM = "wnrl.train"


class RunProcess:
    """The run of this process, once it has claimed its folder.

    Attributes:
        config: the run's configuration; None before the folder is claimed.
        overwrites: whether the folder may still hold another run; False once the run has begun.
        agent_steps: agent steps done; 0 before the first step of this process.
    """

    def __init__(self, signals: StopSignals) -> None:
        """Watch nothing yet.

        Args:
            signals: installed; they end the process at once until `began`.
        """
        self.config: Config | None = None
        self.agent_steps = 0
        self._signals = signals
        self.overwrites = False
        self._folder: RunDirectory | None = None
        self._watchdog: HangWatchdog | None = None

    def claimed(self, folder: RunDirectory, config: Config) -> None:
        """Watch the run from now on; `train` and `resume` call it."""
        self._folder, self.config = folder, config
        self._signals.before_leaving = folder.release
        if config.run.hang_timeout_s:
            self._watchdog = HangWatchdog(config.run.hang_timeout_s, self._hung)
            self._watchdog.start()

    def began(self) -> None:
        """Let the first signal end the run with a checkpoint; `train` and `resume` call it."""
        assert self._folder is not None, "it is claimed first"
        self.overwrites = False
        self._signals.before_leaving = lambda: self._write_end(RunState.STOPPED)
        self._signals.last_line = (
            f"{PROGRAM}: stopped at once; --resume continues from the last checkpoint"
        )
        self._signals.defer(f"{PROGRAM}: stopping: writing a checkpoint; press again to end now")

    def close(self) -> None:
        """Stop watching; the next signal ends the process at once and changes no file."""
        if self._watchdog is not None:
            self._watchdog.stop()
        self._signals.undefer()
        self._signals.before_leaving = lambda: None
        self._signals.last_line = f"{PROGRAM}: stopped; all that the run wrote stays"

    def out_of_memory(self, error: BaseException) -> str:
        """Say in one line what to lower, and what is kept."""
        said = str(error).partition("\n")[0].rpartition("Allocator: ")[2]  # without torch's file
        said = textwrap.shorten(said, 100, placeholder="...")
        line = f"out of memory ({said})" if said else "out of memory"
        if self._folder is None or self.config is None:
            return f"{line}; close other programs"
        return f"{line}; lower {what_to_lower(self.config)}; {kept(self._folder)}"

    def _hung(self, waited_s: float) -> None:
        """Say where the process hangs, and end it; the main thread cannot be unwound."""
        assert self._folder is not None, "it is claimed first"
        assert self.config is not None, "it is claimed first"
        folder, env = self._folder, self.config.run.env
        after = (
            f"after agent step {self.agent_steps:,}"
            if self.agent_steps
            else "before its first step"
        )
        reason = f"{env} hangs: no step for {format_duration(waited_s)} {after}"
        with contextlib.suppress(OSError):  # a full disk
            dump_stacks(folder.path / HANG)
        self._write_end(RunState.FAILED, reason)
        line = (
            f"{PROGRAM}: {reason}; stacks are in {folder.path / HANG}; {kept(folder)}; if it "
            "is only slow, raise --hang-timeout-s"
        )
        write_line(visible(line))
        os._exit(ExitCode.HUNG)

    def _write_end(self, state: RunState, error: str = "") -> None:
        """Write to status.json how the run ended, if the folder holds this run already."""
        assert self._folder is not None, "it is claimed first"
        if not self.overwrites and self._folder.holds_run:
            self._folder.status.ended(state, error)
