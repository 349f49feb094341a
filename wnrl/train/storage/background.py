"""One piece of work in a thread, whose error is raised where it is asked for."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable

_NICENESS = 10  # takes a tenth of a core from the training where all cores are busy, not half


class Background:
    """Work that has begun."""

    def __init__(self, work: Callable[[], None], *, gently: bool = False) -> None:
        """Start the thread. A process that ends does not wait for it: call `join`.

        Args:
            work: what to do.
            gently: let other threads go first where there are not enough cores (Linux only).
        """
        self._work = work
        self._gently = gently
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="wnrl checkpoint", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread left: do it now
            self._gently = False
            self._run()

    @property
    def ended(self) -> bool:
        """Whether the work has ended, well or not."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait for its end. An interrupt ends the waiting, not the work."""
        if self._thread.ident is not None:
            self._thread.join()

    def require_success(self) -> None:
        """Raise the error of work that has ended, if it has one."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        if self._gently and sys.platform == "linux":  # where a thread has a niceness of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        try:
            self._work()
        except BaseException as error:
            self._error = error
