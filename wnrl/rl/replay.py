"""A replay of n-step transitions with stacked observations, drawn uniformly from a ring of frames.

Storage is in `wnrl.rl.row_store`, stacking in `wnrl.rl.frame_stacks`. Termination, truncation and
lost lives have become discounts before they arrive here. Not for prioritized sampling.

Dimension key: B batch, N environments, S frames of a stack, n steps.

`add` and `sample` must not run at the same time in two threads.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wnrl._settings import UsageError
from wnrl.rl.frame_stacks import frames_for, gather_stacks, put, whole_stacks
from wnrl.rl.returns import n_step_return
from wnrl.rl.row_store import Indices, RowRing


class Batch(NamedTuple):
    """Transitions as tensors that the caller owns, on the replay's device.

    Observations are (B, S, *frame), oldest frame first, or (B, *frame) where nothing is stacked.
    """

    s_tm1: Tensor  # the observation acted on, uint8 or float32
    a_tm1: Tensor  # (B,) int64
    r_t: Tensor  # (B,) float32, the discounted sum of up to n rewards
    discount_t: Tensor  # (B,) float32, of the value at s_t
    s_t: Tensor  # the observation up to n steps later


class Replay(RowRing):
    """The newest `capacity // num_envs` rows of N environments, drawn as transitions.

    A pair (row, environment) is eligible for sampling if the row is valid, n newer rows are stored
    and the ring still holds every frame of its stack.

    A return sums rewards from row k over n steps, or up to a row that is not valid, whose frame is
    then s_t. So a truncated episode bootstraps from its final observation, and a discount of 0
    removes all later rewards.

    Args:
        capacity: (row, environment) pairs to hold, rounded down to whole rows.
        num_envs: N.
        frame_shape: shape of what is new at each step, for example (84, 84).
        frame_dtype: "uint8" or "float32".
        stack: S, frames of one observation; 1 if nothing is stacked.
        n_step: n, the most steps of a return.
        generator: the only source of randomness, owned by this replay from now on.
        device: device of the batches. A GPU gets a copy of the frames if it has room for them.

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
        device: torch.device | str = "cpu",
    ) -> None:
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
        super().__init__(capacity // num_envs, num_envs, frame_shape, frame_dtype)
        self.stack = stack
        self.n_step = n_step
        self._generator = generator
        self._device = torch.empty(0, device=device).device  # "cuda" with its number
        self._frames = frames_for(self._ring, stack, self._device)
        self._checked: Batch | None = None  # the batch that `gather` last wrote into
        observation = (
            torch.uint8 if frame_dtype == "uint8" else torch.float32,
            (stack, *frame_shape) if stack > 1 else frame_shape,
        )
        scalars = [(dtype, ()) for dtype in (torch.int64, torch.float32, torch.float32)]
        # The dtype and the shape after B of each field of Batch.
        self._batch_types: list[tuple[torch.dtype, tuple[int, ...]]]
        self._batch_types = [observation, *scalars, observation]

    def __len__(self) -> int:
        """Number of (row, environment) pairs that sampling draws from before it rejects any.

        That is N for each row with n newer ones. It includes the few that are not eligible: one
        final observation per episode, and stacks cut by the ring's end.
        """
        return max(0, self.total_rows - self.n_step - self.oldest_row) * self.num_envs

    def sample(self, batch_size: int, out: Batch | None = None) -> Batch:
        """Draw transitions uniformly, with replacement, from all eligible pairs.

        Args:
            batch_size: B, at least 1.
            out: tensors to write into and return, from `empty_batch`; fresh tensors if None.

        Raises:
            ValueError: if no pair is eligible yet or `out` is no batch of this size.
        """
        return self.gather(*self.draw(batch_size), out)

    def empty_batch(self, batch_size: int) -> Batch:
        """Allocate tensors for `sample` to reuse: new memory costs more than copying."""
        return Batch(
            *(
                torch.empty((batch_size, *shape), dtype=dtype, device=self._device)
                for dtype, shape in self._batch_types
            )
        )

    def draw(self, batch_size: int) -> tuple[Indices, Indices]:
        """Draw row numbers (B,) and environments (B,) of eligible pairs, with replacement.

        Raises:
            ValueError: if no pair is eligible yet.
        """
        self.require_restored()
        rows, envs = self._drawn(batch_size)
        while (missing := batch_size - len(rows)) > 0:
            more_rows, more_envs = self._drawn(missing)
            rows, envs = np.concatenate([rows, more_rows]), np.concatenate([envs, more_envs])
        return rows, envs

    def eligible(self) -> Indices:
        """Return all eligible pairs (row number, environment) as (M, 2), in order; a full scan."""
        return np.stack(self._all_eligible(), axis=1)

    def gather(self, rows: Indices, envs: Indices, out: Batch | None = None) -> Batch:
        """Return the transitions that begin at eligible pairs.

        Args:
            rows: (B,) row numbers.
            envs: (B,) environments.
            out: tensors to write into and return, from `empty_batch`; fresh tensors if None.

        Raises:
            ValueError: if `out` is no batch of this size.
        """
        if out is None:
            out = self.empty_batch(len(rows))
        elif out is not self._checked or len(rows) != len(out.r_t):
            self._check_batch(out, len(rows))
            self._checked = out
        steps = (rows[:, None] + np.arange(self.n_step)) % self.capacity_rows  # (B,) -> (B, n)
        env = envs[:, None]
        # A step counts while every row up to its own is valid; an eligible pair's own row is.
        counts = np.logical_and.accumulate(self._ring.valid[steps, env], axis=1)
        reward = np.where(counts, self._ring.reward[steps, env], np.float32(0))
        discount = np.where(counts, self._ring.discount[steps, env], np.float32(1))
        # Mnih et al. 2016 (1602.01783), section 4: r_1 + gamma r_2 + ... + gamma^(n-1) r_n.
        r_t, discount_t = n_step_return(torch.from_numpy(reward), torch.from_numpy(discount))
        put(r_t.numpy(), out.r_t)
        put(discount_t.numpy(), out.discount_t)
        put(self._ring.action[steps[:, 0], envs], out.a_tm1)
        self._frames.stacks(rows, envs, out.s_tm1)
        self._frames.stacks(rows + counts.sum(axis=1), envs, out.s_t)
        return out

    def observations(self, rows: Indices, envs: Indices) -> Tensor:
        """Return the observations (M, ...) of pairs (M,) whose stacks are held, on the CPU."""
        dtype, shape = self._batch_types[0]
        out = torch.empty((len(rows), *shape), dtype=dtype)
        gather_stacks(self._ring, rows, envs, self.stack, out)
        return out

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the generator; the rows themselves go through `hold_rows`."""
        return {**super().state_dict(), "generator": self._generator.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state; `read_rows` must then restore [oldest_row, total_rows).

        Raises:
            ValueError: if the state is of a replay of another size.
        """
        super().load_state_dict(state)
        self._generator.bit_generator.state = state["generator"]

    def _wrote(self, slot: int, rows: int) -> None:
        self._frames.wrote(slot, rows)

    def _drawn(self, most: int) -> tuple[Indices, Indices]:
        """Draw that many pairs and return those that are eligible, (M,) and (M,), at least one."""
        if len(self) > 0:
            rows, envs = self._eligible_among(self._generator.integers(len(self), size=most))
            if len(rows) > 0:
                return rows, envs
        rows, envs = self._all_eligible()  # rare
        if len(rows) == 0:
            raise ValueError(
                f"nothing to sample: of {self.total_rows} rows added, none that is held is valid "
                f"with its whole stack and {self.n_step} newer rows"
            )
        chosen = self._generator.integers(len(rows), size=most)
        return rows[chosen], envs[chosen]

    def _all_eligible(self) -> tuple[Indices, Indices]:
        return self._eligible_among(np.arange(len(self), dtype=np.int64))

    def _eligible_among(self, candidates: Indices) -> tuple[Indices, Indices]:
        """Return rows and environments, (M,) each, of the eligible numbers (K,) below len(self)."""
        ages, envs = np.divmod(candidates, self.num_envs)
        rows = self.oldest_row + ages
        keep = whole_stacks(self._ring, rows, envs, self.stack, self.oldest_row)
        keep &= self._ring.valid[rows % self.capacity_rows, envs]
        return rows[keep], envs[keep]

    def _check_batch(self, out: Batch, batch_size: int) -> None:
        """Raise ValueError unless `out` can be written into as a batch of this size."""
        if not all(
            (field.shape, field.dtype) == ((batch_size, *shape), dtype)
            and field.is_contiguous()
            and field.device == self._device
            for field, (dtype, shape) in zip(out, self._batch_types, strict=True)
        ):
            raise ValueError(
                f"out must be like empty_batch({batch_size}) on {self._device}, not of shapes "
                f"{[tuple(field.shape) for field in out]} on {out.s_tm1.device}"
            )
