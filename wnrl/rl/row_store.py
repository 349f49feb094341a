"""Storage of environment rows: what checkpoints need of a store, and the ring behind both replays.

The ring only holds rows. Transitions are built from them in `wnrl.rl.replay`, sequences in
`wnrl.rl.sequence_replay`.

Dimension key: N environments, R rows.

Row k of one environment is (frame_k, action_k, reward_{k+1}, discount_{k+1}, first_k, valid_k):
the newest frame of obs_k, the action sent on it, the reward and discount that it brought, whether
obs_k is its episode's first, and whether the emulator used the action. The emulator ignores the
action sent on a final observation. Such a row is not valid, and the next row begins an episode.
"""

import math
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from wnrl.rl import npy_rows
from wnrl.rl.held_rows import HeldRows, RingRows

Indices = npt.NDArray[np.int64]


class RowStore(Protocol):
    """Rows numbered from 0 at the run's start, each written once."""

    @property
    def total_rows(self) -> int:
        """Number of rows ever added."""
        ...

    @property
    def oldest_row(self) -> int:
        """Number of the oldest row still held."""
        ...

    def hold_rows(self, start: int, stop: int) -> HeldRows:
        """Return rows [start, stop), to be written in another thread while rows are added."""
        ...

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Restore what `HeldRows.write` wrote for [start, stop); skip rows before `oldest_row`."""
        ...


class Rows(NamedTuple):
    """The fields of consecutive rows."""

    frame: npt.NDArray[Any]  # (R, N, *frame) uint8 or float32
    action: npt.NDArray[Any]  # (R, N) int64
    reward: npt.NDArray[Any]  # (R, N) float32; 0 where not valid
    discount: npt.NDArray[Any]  # (R, N) float32; 0 where not valid
    first: npt.NDArray[Any]  # (R, N) bool
    valid: npt.NDArray[Any]  # (R, N) bool


class Scalars(NamedTuple):
    """The fields of single (row, environment) pairs except the frame; all have one shape."""

    action: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float32]
    discount: npt.NDArray[np.float32]
    first: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]


class RowRing:
    """The newest `capacity_rows` rows of N environments.

    Args:
        capacity_rows: rows to hold.
        num_envs: N.
        frame_shape: shape of what is new at each step, for example (84, 84).
        frame_dtype: "uint8" or "float32".

    Raises:
        ValueError: if frame_dtype is neither of the two.
    """

    def __init__(
        self, capacity_rows: int, num_envs: int, frame_shape: tuple[int, ...], frame_dtype: str
    ) -> None:
        if frame_dtype not in ("uint8", "float32"):
            raise ValueError(f"frame_dtype must be 'uint8' or 'float32', not {frame_dtype!r}")
        self.capacity_rows = capacity_rows
        self.num_envs = num_envs
        fields = []
        for dtype, shape in _field_types(num_envs, frame_shape, frame_dtype):
            field = np.empty((capacity_rows, *shape), dtype)
            field.fill(0)  # touches every page, so missing memory fails now and not in hours
            fields.append(field)
        self._ring = Rows(*fields)
        self._total_rows = 0
        self._held: RingRows | None = None  # those that another thread may be writing
        self._restored_rows = 0  # equals _total_rows unless read_rows has yet to restore rows

    @staticmethod
    def bytes_needed(
        capacity: int, num_envs: int, frame_shape: tuple[int, ...], frame_dtype: str
    ) -> int:
        """Return the exact bytes of a ring with room for `capacity` (row, environment) pairs."""
        types = _field_types(num_envs, frame_shape, frame_dtype)
        row_bytes = sum(dtype.itemsize * math.prod(shape) for dtype, shape in types)
        return capacity // num_envs * row_bytes

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return sum(field.nbytes for field in self._ring)

    @property
    def total_rows(self) -> int:
        """Number of rows ever added; the newest row's number is one less."""
        return self._total_rows

    @property
    def oldest_row(self) -> int:
        """Number of the oldest row held (0 while nothing has been overwritten)."""
        return max(0, self._total_rows - self.capacity_rows)

    def add(
        self,
        frame: npt.NDArray[Any],
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        discount: npt.NDArray[Any],
        first: npt.NDArray[Any],
        valid: npt.NDArray[Any],
    ) -> None:
        """Store one row; the oldest is overwritten when the ring is full.

        Args:
            frame: (N, *frame) the newest frames of the observations acted on.
            action: (N,) integers, the actions sent on them.
            reward: (N,) the rewards that followed, clipped if the learner clips.
            discount: (N,) 0 at termination and lost lives, gamma otherwise, truncation included.
            first: (N,) bool, whether the observation acted on is its episode's first.
            valid: (N,) bool, False at a final observation, whose action was not used.

        Raises:
            ValueError: if a shape differs from the above, or an episode does not begin exactly
                after a row that is not valid.
            TypeError: if a dtype does not fit.
        """
        self.require_restored()
        row = Rows(frame, action, reward, discount, first, valid)
        self._check(row)
        if self._held is not None:
            self._held.wait_for(self._total_rows - self.capacity_rows)
        slot = self._total_rows % self.capacity_rows
        for value, field in zip(row, self._ring, strict=True):
            field[slot] = value
        self._ring.reward[slot, ~valid] = 0.0
        self._ring.discount[slot, ~valid] = 0.0
        self._total_rows += 1
        self._restored_rows = self._total_rows
        self._wrote(slot, 1)

    def scalars(self, rows: Indices, envs: Indices) -> Scalars:
        """All fields but the frame of pairs that are held.

        Args:
            rows: row numbers, of any shape.
            envs: environments, of the same shape.
        """
        self.require_restored()
        slots = rows % self.capacity_rows
        return Scalars(*(field[slots, envs] for field in self._ring[1:]))

    def rows(self, start: int, stop: int) -> list[Rows]:
        """Rows [start, stop) by number, as views of the ring: two pieces where it wraps.

        Raises:
            ValueError: if the ring does not hold all of them.
        """
        self.require_restored()
        return self._views(start, stop)

    def hold_rows(self, start: int, stop: int, prefix: bytes = b"") -> RingRows:
        """Return rows [start, stop), to be written in another thread while rows are added.

        Only the newest ones are held: hold them again after they were written or given up.

        Args:
            start: number of the first row.
            stop: one past the last; at least one row.
            prefix: what their file begins with.

        Raises:
            ValueError: if the ring does not hold all of them, or there are none.
        """
        pieces = self.rows(start, stop)
        if not pieces:
            raise ValueError(f"no rows to hold in [{start}, {stop})")
        frames, *fields = zip(*pieces, strict=True)
        copies = [np.concatenate(field) for field in fields]
        self._held = RingRows(start, frames, copies, prefix)
        return self._held

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Restore rows [start, stop) that `HeldRows.write` wrote, after `load_state_dict`.

        Call it with consecutive ranges, in order, until all rows that the ring held are back.
        Rows older than `oldest_row` are skipped.

        Raises:
            ValueError: if rows before `start` are missing, `stop` is beyond the loaded state, or
                the file does not hold exactly these rows in this ring's shapes.
        """
        if start > self._restored_rows or not start <= stop <= self._total_rows:
            raise ValueError(
                f"cannot restore rows [{start}, {stop}): expected a range from "
                f"{self._restored_rows} or before, up to {self._total_rows} at most"
            )
        begin = max(self._restored_rows, start)
        if begin >= stop:  # all of these were overwritten before the state was taken
            return
        pieces = self._views(begin, stop)
        for index, field in enumerate(self._ring):
            npy_rows.read_header(file, npy_rows.header_of(field, stop - start))
            npy_rows.skip(file, (begin - start) * field[0].nbytes)
            for piece in pieces:
                npy_rows.read_array(file, piece[index])
        for piece, slot in zip(pieces, (begin % self.capacity_rows, 0), strict=False):
            self._wrote(slot, len(piece.first))
        self._restored_rows = stop

    def require_restored(self) -> None:
        """Raise ValueError while `read_rows` has yet to restore rows."""
        if self._restored_rows < self._total_rows:
            raise ValueError(
                f"rows [{self._restored_rows}, {self._total_rows}) are not restored yet: "
                "call read_rows for them first"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the counters; the rows themselves go through `hold_rows`."""
        return {
            "capacity_rows": self.capacity_rows,
            "num_envs": self.num_envs,
            "total_rows": self._total_rows,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters; `read_rows` must then restore [oldest_row, total_rows).

        Raises:
            ValueError: if the state is of a replay of another size.
        """
        for name in ("capacity_rows", "num_envs"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"the state is of a replay with {name} {state[name]}, "
                    f"this one has {getattr(self, name)}"
                )
        self._total_rows = int(state["total_rows"])
        self._restored_rows = self.oldest_row

    def _check(self, row: Rows) -> None:
        """Raise unless the shapes, dtypes and episode starts of the next row (N, ...) are right."""
        for name, value, field in zip(Rows._fields, row, self._ring, strict=True):
            if value.shape != field.shape[1:]:
                raise ValueError(f"{name} must be {field.shape[1:]}, not {value.shape}")
            if not np.can_cast(value.dtype, field.dtype, "same_kind"):
                raise TypeError(f"{name} must be {field.dtype}, not {value.dtype}")
        if self._total_rows > 0:
            previous = (self._total_rows - 1) % self.capacity_rows
            require_order(row.first, self._ring.valid[previous], self._total_rows)

    def _wrote(self, slot: int, rows: int) -> None:
        """Take note of new rows in slots [slot, slot + rows); here there is nothing to do."""

    def _views(self, start: int, stop: int) -> list[Rows]:
        if not self.oldest_row <= start <= stop <= self._total_rows:
            raise ValueError(
                f"rows [{start}, {stop}) are not all held: the ring has "
                f"[{self.oldest_row}, {self._total_rows})"
            )
        pieces = []
        while start < stop:
            slot = start % self.capacity_rows
            count = min(stop - start, self.capacity_rows - slot)
            pieces.append(Rows(*(field[slot : slot + count] for field in self._ring)))
            start += count
        return pieces


def require_order(
    first: npt.NDArray[np.bool_], previous_valid: npt.NDArray[np.bool_], row: int
) -> None:
    """Raise ValueError unless episodes begin exactly where the previous ones ended.

    Args:
        first: (N,) whether the row holds its episode's first observation.
        previous_valid: (N,) whether the row before it is valid.
        row: number of the row, for the message.
    """
    ended = ~previous_valid
    if not np.array_equal(first, ended):
        raise ValueError(
            "an episode's first row must follow a row that is not valid, and nothing else may: "
            f"environments {np.flatnonzero(first != ended).tolist()} at row {row}"
        )


def _field_types(
    num_envs: int, frame_shape: tuple[int, ...], frame_dtype: str
) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
    """The dtype and the shape within one row of each field of `Rows`."""
    frame = (np.dtype(frame_dtype), (num_envs, *frame_shape))
    return [frame, *((np.dtype(name), (num_envs,)) for name in ("i8", "f4", "f4", "?", "?"))]
