"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal): the first asks for an end, the second ends.

A thread receives the signals. A Python signal handler would wait until the main thread returns to
Python, which it never does while an emulator hangs, and an exception raised by a handler within C++
code, such as `torch.save`, ends in a traceback or an abort.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_ALWAYS = (signal.SIGINT, signal.SIGTERM)
SIGNALS = (*_ALWAYS, signal.SIGHUP) if hasattr(signal, "SIGHUP") else _ALWAYS


class StopSignals:
    """The signals that ask this process to stop.

    A signal ends the process at once, unless signals are deferred: then the first is acknowledged
    and recorded, so that the command can end in order, and the second ends the process at once.
    The exit code is 128 plus the number of the first signal.

    Attributes:
        received: the deferred signal, if one has arrived.
        last_line: printed on stderr when a signal ends the process at once.
        before_leaving: called then, from another thread; it must not wait for the main thread.
    """

    def __init__(self, last_line: str) -> None:
        """Nothing is received before `installed`."""
        self.received: list[int] = []
        self.last_line = last_line
        self.before_leaving: Callable[[], object] = lambda: None
        self._promise = ""  # acknowledges a deferred signal; empty: signals are not deferred
        self._lock = threading.Lock()  # never released by a thread that ends the process

    def defer(self, promise: str) -> None:
        """Defer the first signal from now on; the promise that acknowledges it may not be empty."""
        with self._lock:
            self._promise = promise

    def undefer(self) -> None:
        """Let the next signal end the process at once."""
        with self._lock:
            self._promise = ""

    @property
    def requested(self) -> bool:
        """Return whether a deferred signal has arrived."""
        return bool(self.received)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Receive the signals inside the context. Call it in the main thread.

        A SIGHUP that is ignored already, as under `nohup`, stays ignored.
        """
        signums = [s for s in SIGNALS if s in _ALWAYS or signal.getsignal(s) != signal.SIG_IGN]
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        thread = threading.Thread(target=self._listen, args=(reader, signums), daemon=True)
        thread.start()
        earlier_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        earlier = {signum: signal.signal(signum, _leave_to_thread) for signum in signums}
        try:
            yield
        finally:
            with self._lock:  # unless the thread is about to end the process
                for signum, handler in earlier.items():
                    signal.signal(signum, handler)
                signal.set_wakeup_fd(earlier_fd, warn_on_full_buffer=False)
            writer.close()
            thread.join()
            reader.close()

    def _listen(self, reader: socket.socket, signums: list[int]) -> None:
        while numbers := reader.recv(64):
            for signum in numbers:
                if signum in signums:
                    self._receive(signum)

    def _receive(self, signum: int) -> None:
        with self._lock:
            if not self._promise or self.received:
                write_line(self.last_line)
                with contextlib.suppress(Exception):
                    self.before_leaving()
                os._exit(128 + (self.received or [signum])[0])
            write_line(self._promise)
            self.received.append(signum)


def _leave_to_thread(signum: int, frame: FrameType | None) -> None:
    """Do nothing: the number of the signal reaches the thread through the wakeup socket."""


def write_line(line: str) -> None:
    """Write a line to stderr past Python's buffers; a terminal that is gone is no error."""
    # On a terminal the cursor is behind a progress bar or the echo of Ctrl-C.
    start = "\n" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{start}{line}\n".encode(errors="backslashreplace"))
