"""Rows of a replay that another thread writes to a file while new rows are added.

Copying them would take as long as a whole checkpoint may stop the training. So frames are written
straight from the ring, oldest first, and `add` waits if it is about to overwrite one that is not
written yet. It rarely does: a disk takes frames faster than a game makes them.

Dimension key: N environments, R rows.
"""

import math
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy.typing as npt

from wnrl.rl import npy_rows

Array = npt.NDArray[Any]


class HeldRows(Protocol):
    """Rows [start, stop) of a store, as they are until they are written or given up."""

    def write(self, file: BinaryIO) -> None:
        """Write the rows to an open file; from any thread, once."""
        ...

    def __enter__(self) -> "HeldRows":
        """Return the rows; leaving the context lets the store overwrite them."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the store overwrite what is not written."""
        ...


class RingRows:
    """Rows of a ring as `HeldRows`: frames stay in the ring, the other fields are copied."""

    def __init__(
        self, start: int, frames: Sequence[Array], fields: Sequence[Array], prefix: bytes = b""
    ) -> None:
        """Hold the rows.

        Args:
            start: number of the first row.
            frames: (R, N, *frame) views of the ring, one after the other.
            fields: (R, N) each, copies of the other fields in the order of the file.
            prefix: what the file begins with.
        """
        self._start = start
        self._frames = frames
        self._fields = fields
        self._prefix = prefix
        self._written = threading.Condition()
        self._written_until: float = start  # rows before this one may be overwritten

    def write(self, file: BinaryIO) -> None:
        """Write the prefix, then field by field in NumPy's .npy format, frames first."""
        file.write(self._prefix)
        rows = sum(len(piece) for piece in self._frames)
        npy_rows.write_header(file, npy_rows.header_of(self._frames[0], rows))
        row = self._start
        for piece in self._frames:
            at_once = max(1, npy_rows.CHUNK_BYTES // piece[0].nbytes)
            for begin in range(0, len(piece), at_once):
                chunk = piece[begin : begin + at_once]
                npy_rows.write_array(file, chunk)
                row += len(chunk)
                self._release(row)
        for field in self._fields:
            npy_rows.write_header(file, npy_rows.header_of(field, rows))
            npy_rows.write_array(file, field)

    def wait_for(self, row: int) -> None:
        """Wait until a row may be overwritten."""
        if row >= self._written_until:
            with self._written:
                self._written.wait_for(lambda: row < self._written_until)

    def _release(self, until: float) -> None:
        with self._written:
            self._written_until = until
            self._written.notify_all()

    def __enter__(self) -> "RingRows":
        """Return the rows."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the ring overwrite them, and free the copies."""
        self._release(math.inf)
        self._frames, self._fields, self._prefix = (), (), b""
