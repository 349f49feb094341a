"""A ring of single frames from which n-step transitions with stacked observations are drawn.

For what each row means and when a return stops. Not for prioritized sampling, and not for deciding
what a discount is: termination, truncation and lost lives arrive here as discounts.

Dimension key: B batch, N environments, R rows, S frames of a stack, n steps.

Row k of one environment is (frame_k, action_k, reward_{k+1}, discount_{k+1}, first_k, valid_k):
the newest frame of obs_k, what was sent on it and what that brought, whether obs_k is its episode's
first, and whether the emulator used the action. It did not where obs_k is a final observation: the
row after such a row is the next episode's first, and the pair of them is no transition.

`add` and `sample` must not run at the same time in two threads.
"""

import math
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl._settings import UsageError
from wnrl.rl import npy_rows as npy
from wnrl.rl.returns import n_step_return

Indices = npt.NDArray[np.int64]


class Batch(NamedTuple):
    """Transitions as CPU tensors that the caller owns.

    Observations are (B, S, *frame), oldest frame first, or (B, *frame) where nothing is stacked.
    """

    s_tm1: Tensor  # the observation acted on, uint8 or float32
    a_tm1: Tensor  # (B,) int64
    r_t: Tensor  # (B,) float32, the discounted sum of up to n rewards
    discount_t: Tensor  # (B,) float32, of the value at s_t
    s_t: Tensor  # the observation up to n steps later


class Rows(NamedTuple):
    """The fields of consecutive rows."""

    frame: npt.NDArray[Any]  # (R, N, *frame) uint8 or float32
    action: npt.NDArray[Any]  # (R, N) int64
    reward: npt.NDArray[Any]  # (R, N) float32; 0 where not valid
    discount: npt.NDArray[Any]  # (R, N) float32; 0 where not valid
    first: npt.NDArray[Any]  # (R, N) bool
    valid: npt.NDArray[Any]  # (R, N) bool


class Scalars(NamedTuple):
    """The fields of single pairs of row and environment but the frame; all of one shape."""

    action: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float32]
    discount: npt.NDArray[np.float32]
    first: npt.NDArray[np.bool_]
    valid: npt.NDArray[np.bool_]


def _field_types(
    num_envs: int, frame_shape: tuple[int, ...], frame_dtype: str
) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
    """The dtype and the shape within one row of each field of `Rows`."""
    frame = (np.dtype(frame_dtype), (num_envs, *frame_shape))
    return [frame, *((np.dtype(name), (num_envs,)) for name in ("i8", "f4", "f4", "?", "?"))]


class Replay:
    """The newest `capacity // num_envs` rows of N environments.

    A pair (row, environment) is eligible for sampling if the row is valid, n newer rows are stored
    and every frame of its stack that its episode has is still in the ring.

    A return is summed from row k until n steps are over or a row that is not valid is reached: that
    row's frame is then s_t. So a truncated episode bootstraps from its final observation, and
    rewards after a discount of 0 vanish by the product.

    Args:
        capacity: pairs of row and environment to hold, rounded down to whole rows.
        num_envs: N.
        frame_shape: of what is new at each step, for example (84, 84).
        frame_dtype: "uint8" or "float32".
        stack: S, frames of one observation; 1 if nothing is stacked.
        n_step: n, the most steps of a return.
        generator: the only source of randomness, owned by this replay from now on.

    Raises:
        UsageError: if the capacity is too small to hold one transition.
        ValueError: if another number is below 1 or the dtype is neither of the two.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        frame_shape: tuple[int, ...],
        frame_dtype: str,
        stack: int,
        n_step: int,
        generator: np.random.Generator,
    ) -> None:
        if frame_dtype not in ("uint8", "float32"):
            raise ValueError(f"frame_dtype must be 'uint8' or 'float32', not {frame_dtype!r}")
        if min(num_envs, stack, n_step, *frame_shape) < 1:
            raise ValueError(
                "num_envs, stack, n_step and frame_shape must be at least 1, not "
                f"{num_envs}, {stack}, {n_step} and {frame_shape}"
            )
        if capacity < (stack + n_step) * num_envs:
            raise UsageError(
                f"a replay of {capacity} transitions is too small: {num_envs} environments, a "
                f"stack of {stack} and {n_step}-step returns need {(stack + n_step) * num_envs}"
            )
        self.capacity_rows = capacity // num_envs
        self.num_envs = num_envs
        self.stack = stack
        self.n_step = n_step
        self._generator = generator
        fields = []
        for dtype, shape in _field_types(num_envs, frame_shape, frame_dtype):
            field = np.empty((self.capacity_rows, *shape), dtype)
            field.fill(0)  # touches every page: memory that is missing is missed now, not in hours
            fields.append(field)
        self._ring = Rows(*fields)
        self._flat_frames = self._ring.frame.reshape(self.capacity_rows * num_envs, -1)  # a view
        observation = (
            torch.uint8 if frame_dtype == "uint8" else torch.float32,
            (stack, *frame_shape) if stack > 1 else frame_shape,
        )
        scalars = [(dtype, ()) for dtype in (torch.int64, torch.float32, torch.float32)]
        # The dtype and the shape behind B of each field of Batch.
        self._batch_types: list[tuple[torch.dtype, tuple[int, ...]]]
        self._batch_types = [observation, *scalars, observation]
        self._total_rows = 0
        self._restored_rows = 0  # equals _total_rows unless read_rows has yet to bring rows back

    @staticmethod
    def bytes_needed(
        capacity: int, num_envs: int, frame_shape: tuple[int, ...], frame_dtype: str
    ) -> int:
        """Bytes that a replay of this capacity will hold, exactly.

        Args:
            capacity: pairs of row and environment, rounded down to whole rows.
            num_envs: N.
            frame_shape: of one environment's frame.
            frame_dtype: "uint8" or "float32".
        """
        types = _field_types(num_envs, frame_shape, frame_dtype)
        row_bytes = sum(dtype.itemsize * math.prod(shape) for dtype, shape in types)
        return capacity // num_envs * row_bytes

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return sum(field.nbytes for field in self._ring)

    @property
    def total_rows(self) -> int:
        """Rows ever added; the newest row's number is one less."""
        return self._total_rows

    @property
    def oldest_row(self) -> int:
        """Number of the oldest row that the ring holds (0 while nothing was overwritten)."""
        return max(0, self._total_rows - self.capacity_rows)

    def __len__(self) -> int:
        """Pairs (row, environment) that sampling draws from before it rejects any.

        That is N for each row with n newer ones; the few that are not eligible (one final
        observation an episode, stacks cut by the ring's end) are counted too.
        """
        return max(0, self._total_rows - self.n_step - self.oldest_row) * self.num_envs

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
            action: (N,) integers, what was sent on them.
            reward: (N,) what came, as the learner shall see it (clipped where it clips).
            discount: (N,) 0 at termination and lost lives, gamma otherwise, truncation included.
            first: (N,) bool, whether the observation acted on is its episode's first.
            valid: (N,) bool, False where it is a final observation, whose action was not used.

        Raises:
            ValueError: if a shape is not the above, or an episode begins anywhere but right after
                a row that is not valid.
            TypeError: if a dtype does not fit.
        """
        self.require_restored()
        row = Rows(frame, action, reward, discount, first, valid)
        for name, value, field in zip(Rows._fields, row, self._ring, strict=True):
            if value.shape != field.shape[1:]:
                raise ValueError(f"{name} must be {field.shape[1:]}, not {value.shape}")
            if not np.can_cast(value.dtype, field.dtype, "same_kind"):
                raise TypeError(f"{name} must be {field.dtype}, not {value.dtype}")
        if self._total_rows > 0:
            ended = ~self._ring.valid[(self._total_rows - 1) % self.capacity_rows]
            if not np.array_equal(first, ended):
                wrong = np.flatnonzero(first != ended).tolist()
                raise ValueError(
                    "an episode's first row must follow a row that is not valid, and nothing else "
                    f"may: environments {wrong} at row {self._total_rows}"
                )
        slot = self._total_rows % self.capacity_rows
        for value, field in zip(row, self._ring, strict=True):
            field[slot] = value
        self._ring.reward[slot, ~valid] = 0.0
        self._ring.discount[slot, ~valid] = 0.0
        self._total_rows += 1
        self._restored_rows = self._total_rows

    def sample(self, batch_size: int, out: Batch | None = None) -> Batch:
        """Transitions drawn uniformly, with replacement, from all eligible pairs.

        Args:
            batch_size: B, at least 1.
            out: what to write into and return, from `empty_batch`; fresh tensors if None.

        Raises:
            ValueError: if no pair is eligible yet or `out` is no batch of this size.
        """
        return self.gather(*self.draw(batch_size), out)

    def empty_batch(self, batch_size: int, pin_memory: bool = False) -> Batch:
        """Tensors for `sample` to write into, again and again: new memory costs more than copying.

        Args:
            batch_size: B.
            pin_memory: whether a GPU shall be able to copy them while the CPU goes on.
        """
        return Batch(
            *(
                torch.empty((batch_size, *shape), dtype=dtype, pin_memory=pin_memory)
                for dtype, shape in self._batch_types
            )
        )

    def draw(self, batch_size: int) -> tuple[Indices, Indices]:
        """Row numbers (B,) and environments (B,) of eligible pairs, uniformly, with replacement.

        Raises:
            ValueError: if no pair is eligible yet.
        """
        self.require_restored()
        pairs = np.empty((0, 2), np.int64)
        while (missing := batch_size - len(pairs)) > 0:
            more = pairs[:0]
            if len(self) > 0:
                more = self._eligible_among(self._generator.integers(len(self), size=missing))
            if len(more) == 0:  # rare: list what there is instead of hoping, so that the loop ends
                all_pairs = self.eligible()
                if len(all_pairs) == 0:
                    raise ValueError(
                        f"nothing to sample: of {self._total_rows} rows added, none that is held "
                        f"is valid with its whole stack and {self.n_step} newer rows"
                    )
                more = all_pairs[self._generator.integers(len(all_pairs), size=missing)]
            pairs = np.concatenate([pairs, more])
        return pairs[:, 0], pairs[:, 1]

    def eligible(self) -> Indices:
        """All eligible pairs (row number, environment) as (M, 2), in order; a full scan."""
        return self._eligible_among(np.arange(len(self), dtype=np.int64))

    def gather(self, rows: Indices, envs: Indices, out: Batch | None = None) -> Batch:
        """The transitions that begin at eligible pairs.

        Args:
            rows: (B,) row numbers.
            envs: (B,) environments.
            out: what to write into and return, from `empty_batch`; fresh tensors if None.

        Raises:
            ValueError: if `out` is no batch of this size.
        """
        if out is None:
            out = self.empty_batch(len(rows))
        elif not self._is_batch(out, len(rows)):
            raise ValueError(
                f"out must be like empty_batch({len(rows)}), not of shapes "
                f"{[tuple(field.shape) for field in out]}"
            )
        steps = (rows[:, None] + np.arange(self.n_step)) % self.capacity_rows  # (B,) -> (B, n)
        env = envs[:, None]
        # A step counts while every row up to its own is valid; an eligible pair's own row is.
        counts = np.logical_and.accumulate(self._ring.valid[steps, env], axis=1)
        reward = np.where(counts, self._ring.reward[steps, env], np.float32(0))
        discount = np.where(counts, self._ring.discount[steps, env], np.float32(1))
        r_t, discount_t = n_step_return(torch.from_numpy(reward), torch.from_numpy(discount))
        out.r_t.copy_(r_t)
        out.discount_t.copy_(discount_t)
        out.a_tm1.copy_(torch.from_numpy(self._ring.action[steps[:, 0], envs]))
        self._write_observations(rows, envs, out.s_tm1)
        self._write_observations(rows + counts.sum(axis=1), envs, out.s_t)
        return out

    def scalars(self, rows: Indices, envs: Indices) -> Scalars:
        """All but the frames of pairs that are held: row numbers and environments of one shape."""
        self.require_restored()
        slots = rows % self.capacity_rows
        return Scalars(*(field[slots, envs] for field in self._ring[1:]))

    def observations(self, rows: Indices, envs: Indices) -> Tensor:
        """The observations (M, ...) of pairs (M,) whose whole stacks are held."""
        dtype, shape = self._batch_types[0]
        out = torch.empty((len(rows), *shape), dtype=dtype)
        self._write_observations(rows, envs, out)
        return out

    def rows(self, start: int, stop: int) -> list[Rows]:
        """Rows [start, stop) by number, as views of the ring: two pieces where it wraps.

        Raises:
            ValueError: if the ring does not hold all of them.
        """
        self.require_restored()
        return self._views(start, stop)

    def write_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Stream rows [start, stop) to an open file, field by field in NumPy's .npy format.

        Raises:
            ValueError: if the ring does not hold all of them.
        """
        pieces = self.rows(start, stop)
        for index, field in enumerate(self._ring):
            npy.write_header(file, npy.header_of(field, stop - start))
            for piece in pieces:
                npy.write_array(file, piece[index])

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Bring back rows [start, stop) that `write_rows` wrote, after `load_state_dict`.

        Called with one range after the other, in order, until all rows that the ring held are back;
        those older than `oldest_row` are skipped.

        Raises:
            ValueError: if rows before `start` are missing, `stop` is beyond the loaded state, or
                the file does not hold exactly these rows of this replay's shape.
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
            npy.read_header(file, npy.header_of(field, stop - start))
            npy.skip(file, (begin - start) * field[0].nbytes)
            for piece in pieces:
                npy.read_array(file, piece[index])
        self._restored_rows = stop

    def state_dict(self) -> dict[str, Any]:
        """The counters and the generator; the rows themselves go through `write_rows`."""
        return {
            "capacity_rows": self.capacity_rows,
            "num_envs": self.num_envs,
            "total_rows": self._total_rows,
            "generator": self._generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; `read_rows` must then bring back [oldest_row, total_rows).

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
        self._generator.bit_generator.state = state["generator"]

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

    def require_restored(self) -> None:
        """ValueError while `read_rows` has yet to bring rows back."""
        if self._restored_rows < self._total_rows:
            raise ValueError(
                f"rows [{self._restored_rows}, {self._total_rows}) are not restored yet: "
                "call read_rows for them first"
            )

    def _eligible_among(self, candidates: Indices) -> Indices:
        """Pairs (row, environment) as (M, 2) of the eligible among numbers (K,) below len(self)."""
        rows, envs = self.oldest_row + candidates // self.num_envs, candidates % self.num_envs
        whole = rows - (self.stack - 1) >= self.oldest_row
        for age in range(self.stack - 1):
            begins = self._ring.first[(rows - age) % self.capacity_rows, envs]
            whole |= begins & (rows - age >= self.oldest_row)
        keep = whole & self._ring.valid[rows % self.capacity_rows, envs]
        return np.stack([rows[keep], envs[keep]], axis=1)

    def _is_batch(self, out: Batch, batch_size: int) -> bool:
        """Whether `out` can be written into as a batch of this size."""
        return all(
            (field.shape, field.dtype) == ((batch_size, *shape), dtype)
            and field.is_contiguous()
            and field.device.type == "cpu"
            for field, (dtype, shape) in zip(out, self._batch_types, strict=True)
        )

    def _write_observations(self, rows: Indices, envs: Indices, out: Tensor) -> None:
        """Fill `out` (B, S, *frame), or (B, *frame) where S is 1, for pairs (B,)."""
        ages = np.arange(self.stack - 1, -1, -1)
        slots = (rows[:, None] - ages) % self.capacity_rows  # (B,) -> (B, S), oldest frame first
        frames = out.view(slots.size, -1).numpy()  # shares memory with out
        at = (slots * self.num_envs + envs[:, None]).reshape(-1)
        np.take(self._flat_frames, at, axis=0, out=frames, mode="clip")  # "raise" would buffer out
        # A frame is of an earlier episode if one newer than it in the stack is a first.
        newer_first = self._ring.first[slots[:, :0:-1], envs[:, None]]  # (B, S - 1), newest first
        foreign = np.logical_or.accumulate(newer_first, axis=1)[:, ::-1]  # of frames 0 to S - 2
        batch_index, frame_index = np.nonzero(foreign)
        frames[batch_index * self.stack + frame_index] = 0  # as in the emulator's own stack
