"""A file that grows at its end. What the disk does not take is kept in memory and tried again.

The file is open only while something is appended, so a run holds no descriptor of it, and a folder
that vanished is noticed. A folder is never made again: it may be a mount that is gone, and the
files would fill another disk.
"""

import contextlib
import errno
import os
from pathlib import Path

_FLAGS = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class AppendFile:
    """One file of a run that is only appended to.

    Attributes:
        path: the file.
        error: why the newest attempt to write failed; None if it did not.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet; call `create` or `reopen`."""
        self.path = path
        self.error: OSError | None = None
        self._written_bytes = 0
        self._pending = bytearray()

    @property
    def size_bytes(self) -> int:
        """Length of the file once everything is written."""
        return self._written_bytes + len(self._pending)

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not written yet."""
        return len(self._pending)

    def create(self) -> None:
        """Make the file; FileExistsError if there is one."""
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o666))

    def reopen(self, size_bytes: int) -> None:
        """Continue the file from a length, and cut off what is behind it.

        Raises:
            OSError: it cannot be opened, or is shorter than that.
        """
        self._written_bytes = size_bytes
        self._write(b"")

    def add(self, data: bytes) -> None:
        """Keep data for the next `flush`."""
        self._pending += data

    def flush(self) -> None:
        """Try to append what is kept; sets `error` instead of raising OSError."""
        if not self._pending:
            return
        try:
            self._write(bytes(self._pending))
        except OSError as error:
            self.error = error.with_traceback(None)  # whose frames hold the data
        else:
            self._written_bytes += len(self._pending)
            self._pending.clear()
            self.error = None

    def sync(self, size_bytes: int) -> None:
        """Wait until the disk has the first bytes. Another thread may append at the same time.

        Raises:
            OSError: they are not all written, or cannot be synced.
        """
        if self._written_bytes < size_bytes:
            error = self.error or OSError(errno.EIO, os.strerror(errno.EIO))
            raise OSError(error.errno, error.strerror, str(self.path))
        descriptor = os.open(self.path, os.O_RDWR | _FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _write(self, data: bytes) -> None:
        """Append data to what is written for certain; on a failure nothing more than that stays."""
        descriptor = os.open(self.path, os.O_RDWR | _FLAGS)
        try:
            found_bytes = os.fstat(descriptor).st_size
            if found_bytes < self._written_bytes:
                problem = f"has {found_bytes} bytes, not the {self._written_bytes} written before"
                raise OSError(errno.EIO, problem, str(self.path))
            if found_bytes > self._written_bytes:  # half of an earlier attempt
                os.ftruncate(descriptor, self._written_bytes)
            os.lseek(descriptor, self._written_bytes, os.SEEK_SET)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, self._written_bytes)
                raise
        except OSError:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise
        os.close(descriptor)  # raises if a network disk refuses what it seemed to take
