"""A watchdog that ends a process in which nothing happens: a step that never returns."""

import faulthandler
import threading
from collections.abc import Callable
from pathlib import Path

from wnrl.envs.call_order import HEARTBEAT, Heartbeat

SLOWER = 20  # times the slowest interval seen: what an honest environment may take


class Patience:
    """The time without a beat, and how much of it is a hang.

    Time is counted in looks, which come at equal intervals: while the process is stopped (SIGSTOP)
    or the machine sleeps, nobody looks, and nothing counts.
    """

    def __init__(self, timeout_s: float, interval_s: float, heartbeat: Heartbeat) -> None:
        """Begin to wait.

        Args:
            timeout_s: the least time that counts as a hang.
            interval_s: time between two looks.
            heartbeat: counts the beats.
        """
        self.waited_s = 0.0
        self.limit_s = timeout_s
        self._interval_s = interval_s
        self._heartbeat = heartbeat
        self._count = self._start = heartbeat.count

    def look(self) -> bool:
        """Return whether this is a hang; call it once per interval."""
        count = self._heartbeat.count
        if count != self._count:
            if self._count != self._start:  # else it was the start, which is slower than a step
                self.limit_s = max(self.limit_s, SLOWER * self.waited_s)
            self._count, self.waited_s = count, 0.0
        elif self._heartbeat.expected:
            self.waited_s += self._interval_s
        else:
            self.waited_s = 0.0
        return self.waited_s > self.limit_s


class HangWatchdog:
    """A thread that calls a function if the process hangs."""

    def __init__(
        self, timeout_s: float, hung: Callable[[float], None], heartbeat: Heartbeat = HEARTBEAT
    ) -> None:
        """Nothing is watched before `start`.

        Args:
            timeout_s: least time without a beat that counts as a hang; more if beats are slow.
            hung: called in the thread with the time waited in s. The main thread cannot be
                unwound, so it should end the process.
            heartbeat: counts the beats.
        """
        self._interval_s = min(1.0, timeout_s / 10)
        self._patience = Patience(timeout_s, self._interval_s, heartbeat)
        self._hung = hung
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval_s):
            if self._patience.look():
                self._hung(self._patience.waited_s)
                return


def dump_stacks(path: Path) -> None:
    """Write where every thread of this process is, as Python tracebacks."""
    path.unlink(missing_ok=True)  # a link in the folder is not written through
    with path.open("x") as file:
        faulthandler.dump_traceback(file, all_threads=True)
