"""Lock the folder of a comparison, so that two comparisons never work in it at the same time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from wnrl._settings import SettingError, UsageError
from wnrl.train.storage.atomic_files import make_directory
from wnrl.train.storage.file_lock import Busy, FileLock

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
    lock = FileLock(out / _LOCK)
    try:
        make_directory(out)
        lock.acquire(shared=shared)
    except Busy as owner:
        raise UsageError(
            f"{out} is in use by another comparison, {owner}; wait for it or choose another folder"
        ) from None
    except ModuleNotFoundError:
        raise UsageError("runs that share a folder need a POSIX system's file locks") from None
    except OSError as error:
        raise SettingError("out", f"{out}: {error.strerror}; choose another folder") from None
    try:
        yield
    finally:
        lock.release()
