"""Open files that a stranger may have written: no links, no waiting, limited sizes.

A run folder may come from somebody else. Its own path may be a link that the user gives; nothing
inside it is. What the files mean belongs to their readers. Standard library only, so
that a process which becomes another command stays small.
"""

import errno
import os
import stat
from pathlib import Path

MEBIBYTE = 1 << 20
TABLE_BYTES = 1 << 30  # far above the table of the longest run
# Opening a FIFO without a writer would wait for ever. Windows has neither flag.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = (
    (stat.S_ISLNK, "a symbolic link, which is not followed"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special(path: Path) -> str:
    """Return what a path is if neither file nor folder, as `a symbolic link`; else empty."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    return next((kind for test, kind in _KINDS if test(mode)), "")


def refuse_special(path: Path) -> None:
    """Raise OSError if a path is neither file nor folder."""
    if kind := special(path):
        raise OSError(errno.EINVAL, f"it is {kind}", str(path))


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder, not a link to one.

    Raises:
        OSError: it is a link or another special file.
    """
    refuse_special(path)
    return path.is_dir()


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file and return its descriptor.

    Args:
        path: the file.
        flags: as for `os.open`.

    Raises:
        OSError: it cannot be opened, or is something else; `strerror` says what.
    """
    refuse_special(path)
    descriptor = os.open(path, flags | _SAFELY, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return descriptor


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """Return a file's content.

    Args:
        path: a regular file.
        limit_bytes: size of the largest file to read.

    Raises:
        OSError: it cannot be read, is something else, or is larger.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > limit_bytes:
            too_large = f"it has {size_bytes:,} bytes, and at most {limit_bytes:,} are read"
            raise OSError(errno.EFBIG, too_large, str(path))
        return file.read(limit_bytes)


def read_text(path: Path, limit_bytes: int) -> str:
    """Return a UTF-8 file's content, which may begin with a byte order mark.

    Raises:
        OSError: as for `read_bytes`.
        ValueError: it is not UTF-8.
    """
    return read_bytes(path, limit_bytes).decode("utf-8-sig")
