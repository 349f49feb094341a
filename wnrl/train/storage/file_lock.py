"""A lock on a file that ends with its process, even if the process is killed, and names its owner.

It is busy only if another process holds it. A file system without locks is an error of its own:
waiting for a lock that nobody holds would never end.
"""

import contextlib
import datetime
import errno
import json
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock as PortableLock
from filelock import Timeout

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_OWNER_BYTES = 512  # more than an owner's own text takes
_RETRY_S = 0.02
_HOST, _TIME = re.compile(r"[\w.-]{1,64}"), re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")


class Busy(Exception):
    """Another process holds the lock; the text names it."""


class FileLock:
    """A lock on one file, which is made if it does not exist and stays after the release."""

    def __init__(self, path: Path) -> None:
        """Nothing is locked yet."""
        self._path = path
        self._unlock: Callable[[], None] | None = None

    def acquire(self, *, timeout_s: float = 0.0, shared: bool = False) -> None:
        """Take the lock.

        Args:
            timeout_s: time to wait for another process to release it.
            shared: let others who also ask for a shared lock have it. Needs a POSIX system.

        Raises:
            Busy: another process holds it.
            OSError: the file cannot be opened, or its file system has no locks.
            ModuleNotFoundError: a shared lock on a system without `fcntl`.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self._try(shared):
            if time.monotonic() >= deadline_s:
                raise Busy(read_owner(self._path))
            time.sleep(_RETRY_S)
        with contextlib.suppress(OSError):  # on a full disk the lock holds without a name too
            self._path.write_text("" if shared else _owner_text(), encoding="utf-8")

    def owner(self) -> str | None:
        """Return who holds the lock now; None if nobody does. Nothing is written."""
        if not self._try(shared=False):
            return read_owner(self._path)
        self.release()
        return None

    def release(self) -> None:
        """Release the lock. Harmless when repeated."""
        if self._unlock is not None:
            self._unlock()
        self._unlock = None

    def _try(self, shared: bool) -> bool:
        """Try once; return whether it is held now."""
        try:
            import fcntl
        except ModuleNotFoundError:
            if shared:
                raise
            return self._try_without_fcntl()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o666)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            held = os.fstat(descriptor).st_nlink > 0  # not a file that its last owner removed
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                return False
            if error.errno in _NO_LOCKS:
                raise OSError(error.errno, "its file system has no locks") from None
            raise
        if not held:
            os.close(descriptor)
            return False
        self._unlock = lambda: os.close(descriptor)
        return True

    def _try_without_fcntl(self) -> bool:
        lock = PortableLock(self._path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._unlock = lock.release
        return True


def read_owner(path: Path) -> str:
    """Return who holds a lock, as `process 7 on host since ...`; `another process` if unknown."""
    try:
        with path.open("rb") as file:
            owner = json.loads(file.read(_OWNER_BYTES))
        pid, host, since = owner["pid"], owner["host"], owner["since"]
        known = type(pid) is int and 0 < pid < 1 << 32
        if known and _HOST.fullmatch(host) and _TIME.fullmatch(since):
            return f"process {pid} on {host} since {since}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return "another process"


def _owner_text() -> str:
    now = datetime.datetime.now(datetime.UTC)
    owner = {
        "pid": os.getpid(),
        "host": socket.gethostname()[:64],
        "since": f"{now:%Y-%m-%d %H:%M:%S} UTC",
    }
    return f"{json.dumps(owner)}\n"
