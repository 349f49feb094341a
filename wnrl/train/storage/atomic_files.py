"""Files that survive a kill and a power cut: hashed while they are written, then synced.

What the files mean belongs to `wnrl.train.storage.checkpoint`.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

_CHUNK_BYTES = 1 << 20
# Of a disk that is full or away, or a system without free descriptors: it may be better later.
_MAY_PASS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EIO", "ESTALE")
    if hasattr(errno, name)
}


class StorageError(RuntimeError):
    """Files of a run could not be written; the message says which, why and what to do."""


def may_pass(error: OSError) -> bool:
    """Return whether an error may be gone at the next attempt, after making room for example."""
    return error.errno in _MAY_PASS


@contextlib.contextmanager
def storage_errors(
    folder: Path, elsewhere: str = "choose another folder with --run-dir, then start again"
) -> Iterator[None]:
    """Turn an OSError inside into a StorageError of one line.

    Args:
        folder: the files are written in it.
        elsewhere: what to do if there is no room to make; ends the line.
    """
    try:
        yield
    except OSError as error:
        path = os.fsdecode(error.filename or folder)
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; make room or {elsewhere}"
        ) from error


class Fingerprint(NamedTuple):
    """The size and hash by which a whole file is recognized."""

    size_bytes: int
    sha256: str  # 64 hexadecimal digits


class _HashingFile:
    """A binary file that hashes what is written to it and remembers why a write failed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self.error: OSError | None = None

    def write(self, data: bytes | bytearray | memoryview) -> int:
        size_bytes = memoryview(data).nbytes
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self._hash.update(data)
        self._size_bytes += size_bytes
        return size_bytes

    def flush(self) -> None:
        self._file.flush()

    def fingerprint(self) -> Fingerprint:
        return Fingerprint(self._size_bytes, self._hash.hexdigest())


def write_file(path: Path, fill: Callable[[BinaryIO], None]) -> Fingerprint:
    """Write a file, hash it on the way, and wait until the disk has it.

    Args:
        path: the file to write. This is not atomic: write under a temporary name and rename.
        fill: writes the content to the open file that it gets (`write` and `flush` only).

    Returns:
        Size and sha256 of what was written.

    Raises:
        OSError: it cannot be written, for example to a full disk; a part of it may be left.
    """
    with path.open("wb") as file:
        sink = _HashingFile(file)
        try:
            fill(cast(BinaryIO, sink))
        except Exception:
            # torch.save turns a failed write into a RuntimeError about positions in an archive.
            if sink.error is not None:
                raise sink.error from None
            raise
        file.flush()
        os.fsync(file.fileno())
    return sink.fingerprint()


def fingerprint(path: Path) -> Fingerprint:
    """Return size and sha256 of a file, read in pieces. OSError if it cannot be read."""
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return Fingerprint(size_bytes, digest.hexdigest())


def sync_directory(path: Path) -> None:
    """Wait until the disk has a folder's entries: files created in it, renamed or removed."""
    if os.name == "nt":  # Windows opens no folders; needs POSIX
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a folder, and those above it, so that a power cut does not lose the entry."""
    if path.is_dir():
        return
    if not path.parent.exists():
        make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def remove_directory(path: Path) -> None:
    """Remove a folder so that readers see it whole, as `<name>.tmp`, or not at all."""
    doomed = path if path.suffix == ".tmp" else path.with_name(f"{path.name}.tmp")
    if doomed != path:
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        sync_directory(path.parent)
    shutil.rmtree(doomed)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success rename it over `path` atomically.

    On failure the old file stays and the temporary one is removed.
    """
    # Other processes may write the same file at the same time, on other machines too.
    temporary = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file atomically: readers see the old content or the new.

    Args:
        path: the file.
        text: its new content.
        sync: wait until the disk has the file and its entry in the folder; False for what is
            written again every few seconds.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    if sync:
        sync_directory(path.parent)
