"""Lock the folder of a comparison, so that two comparisons never work in it at the same time."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from wnrl._settings import SettingError, UsageError

_LOCK = ".compare.lock"


@contextlib.contextmanager
def locked(out: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the folder's lock inside the context; makes the folder if it does not exist.

    Args:
        out: folder of the comparison.
        shared: allow other processes that also ask for a shared lock, as the tasks of a Slurm array
            do. Needs a POSIX system.

    Raises:
        UsageError: another comparison uses the folder, or it cannot be written or locked.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        unlock = _lock_shared(out / _LOCK) if shared else _lock(out / _LOCK)
    except (BlockingIOError, Timeout):
        raise UsageError(
            f"{out} is in use by another comparison; wait for it or choose another folder"
        ) from None
    except OSError as error:
        raise SettingError("out", f"{out}: {error.strerror}; choose another folder") from None
    try:
        yield
    finally:
        unlock()


def _lock(path: Path) -> Callable[[], None]:
    lock = FileLock(path)
    lock.acquire(timeout=0)
    return lock.release


def _lock_shared(path: Path) -> Callable[[], None]:
    """Lock the same file as `_lock`, whose library has no shared locks of this kind."""
    try:
        import fcntl
    except ModuleNotFoundError:
        raise UsageError("runs that share a folder need a POSIX system's file locks") from None
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file.close
