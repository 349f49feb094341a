"""One piece of work in a thread, whose error is raised where it is asked for."""

import threading
from collections.abc import Callable


class Background:
    """Work that has begun."""

    def __init__(self, work: Callable[[], None]) -> None:
        """Start the thread. A process that ends does not wait for it: call `join`."""
        self._work = work
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="wnrl checkpoint", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread left: do it now
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
        try:
            self._work()
        except BaseException as error:
            self._error = error
