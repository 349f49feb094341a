"""A replay of sequences for recurrent networks, each with the recurrent state at its start.

Rows are stored by `wnrl.rl.replay` and drawn here as sequences in time order. Every few rows the
state of the acting network is stored too (`wnrl.rl.recurrent_states`). Not here: how agents make
and use those states. What a sequence is: `wnrl.rl.sequences`.

Source: Kapturowski et al. 2019 (R2D2, ICLR 2019), section 3: stored states and burn-in.

Dimension key: B batch, N environments, H units of the recurrent layer, L learnt rows of a sequence,
n steps of a return, T = burn-in + L + n rows of a sequence.
"""

import io
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl._settings import UsageError
from wnrl.rl.held_rows import HeldRows
from wnrl.rl.recurrent_states import State, StoredStates
from wnrl.rl.replay import Replay
from wnrl.rl.returns import n_step_return
from wnrl.rl.row_store import Indices, Scalars
from wnrl.rl.sequences import Sequences, SequenceShape


class SequenceReplay:
    """The newest `capacity // num_envs` rows of N environments, drawn as sequences.

    Sequences are drawn uniformly from all with at least one learnt row. The first learnt row must
    be valid, have n newer rows, and have its burn-in in the ring.

    Args:
        capacity: (row, environment) pairs to hold, rounded down to whole rows.
        num_envs: N.
        frame_shape: shape of what is new at each step.
        frame_dtype: "uint8" or "float32".
        stack: frames of one observation; 1 if nothing is stacked.
        n_step: n, the most steps of a return.
        generator: the only source of randomness, owned by this replay from now on.
        shape: lengths of a sequence and of its recurrent state.

    Raises:
        UsageError: if the capacity is too small to hold a sequence at all times.
        ValueError: if another number is out of range.
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
        shape: SequenceShape,
    ) -> None:
        burn_in_steps, period_steps = shape.burn_in_steps, shape.period_steps
        least = num_envs * self.least_rows(stack, n_step, burn_in_steps, period_steps)
        if capacity < least:
            raise UsageError(
                f"a replay of {capacity} transitions is too small: {num_envs} environments, a "
                f"burn-in of {burn_in_steps}, {n_step}-step returns and a state stored every "
                f"{period_steps} steps need {least}"
            )
        self._rows = Replay(capacity, num_envs, frame_shape, frame_dtype, stack, n_step, generator)
        self._generator = generator
        self.num_envs = num_envs
        self.stack = stack
        self.burn_in_steps = burn_in_steps
        self.sequence_steps = shape.sequence_steps
        self._history_steps = burn_in_steps + stack - 1  # older rows that a first learnt row needs
        self._states = StoredStates(
            self._rows.capacity_rows, num_envs, shape.lstm_units, period_steps
        )

    @staticmethod
    def least_rows(stack: int, n_step: int, burn_in_steps: int, period_steps: int) -> int:
        """Return the rows that always hold a sequence, wherever episodes end.

        Of `period_steps` consecutive rows one begins at a stored state. If it is a final
        observation, the next row begins an episode.
        """
        return burn_in_steps + stack + period_steps + n_step

    @staticmethod
    def bytes_needed(
        capacity: int,
        num_envs: int,
        frame_shape: tuple[int, ...],
        frame_dtype: str,
        *,
        lstm_units: int,
        period_steps: int,
    ) -> int:
        """Return the exact bytes of a replay; the arguments are the constructor's."""
        return Replay.bytes_needed(
            capacity, num_envs, frame_shape, frame_dtype
        ) + StoredStates.bytes_needed(capacity // num_envs, num_envs, lstm_units, period_steps)

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return self._rows.nbytes + self._states.nbytes

    @property
    def total_rows(self) -> int:
        """Number of rows ever added; the newest row's number is one less."""
        return self._rows.total_rows

    @property
    def oldest_row(self) -> int:
        """Number of the oldest row held."""
        return self._rows.oldest_row

    def __len__(self) -> int:
        """Number of (row, environment) pairs among which first learnt rows are searched."""
        return len(self._rows)

    def add(
        self,
        frame: npt.NDArray[Any],
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        discount: npt.NDArray[Any],
        first: npt.NDArray[Any],
        valid: npt.NDArray[Any],
        state: State,
    ) -> None:
        """Store one row as `Replay.add` does, and its state if one is due.

        Args:
            frame: (N, *frame); this and the next five are `Replay.add`'s.
            action: (N,).
            reward: (N,).
            discount: (N,).
            first: (N,).
            valid: (N,).
            state: h and c, each (1, N, H), before the network saw this row; from any device. They
                are copied to the CPU only if they are stored.

        Raises:
            ValueError: as in `Replay.add`, or if the state has another shape.
            TypeError: as in `Replay.add`.
        """
        self._states.check(state)
        self._rows.add(frame, action, reward, discount, first, valid)
        self._states.add(self.total_rows - 1, state)

    def sample(self, batch_size: int) -> Sequences:
        """Draw sequences uniformly, with replacement.

        Args:
            batch_size: B, at least 1.

        Raises:
            ValueError: if there is no sequence yet.
        """
        return self.gather(*self.draw(batch_size))

    def draw(self, batch_size: int) -> tuple[Indices, Indices]:
        """Draw row numbers (B,) and environments (B,) of first learnt rows, uniformly.

        Raises:
            ValueError: if there is no sequence yet.
        """
        self._rows.require_restored()
        pairs = np.empty((0, 2), np.int64)
        while (missing := batch_size - len(pairs)) > 0:
            more = pairs[:0]
            if len(self) > 0:  # about one row per period begins a sequence
                tries = 2 * self._states.period_steps * missing
                more = self._eligible_among(self._generator.integers(len(self), size=tries))
            if len(more) == 0:  # rare: list all eligible pairs, so that the loop ends
                all_pairs = self.eligible()
                if len(all_pairs) == 0:
                    raise ValueError(f"no sequence to sample in {self.total_rows} rows added")
                more = all_pairs[self._generator.integers(len(all_pairs), size=missing)]
            pairs = np.concatenate([pairs, more[:missing]])
        return pairs[:, 0], pairs[:, 1]

    def eligible(self) -> Indices:
        """Return all first learnt rows as (row number, environment) pairs (M, 2); a full scan."""
        return self._eligible_among(np.arange(len(self), dtype=np.int64))

    def gather(self, rows: Indices, envs: Indices) -> Sequences:
        """Return the sequences whose first learnt rows are these eligible pairs.

        Args:
            rows: (B,) row numbers.
            envs: (B,) environments.
        """
        begins = self._episode_begins(rows, envs)
        starts = rows - self.burn_in_steps  # (B,)
        length = self.burn_in_steps + self.sequence_steps + self._rows.n_step  # T
        wanted = starts + np.arange(length)[:, None]  # (T, B)
        held = np.maximum(wanted, begins)  # before the episode, its first row is repeated
        held = np.minimum(held, self.total_rows - 1)  # rows that do not exist yet are not learnt
        fields = self._rows.scalars(held, np.broadcast_to(envs, held.shape))
        obs = self._rows.observations(held.reshape(-1), np.tile(envs, length))
        r_t, discount_t, bootstrap = self._n_step_returns(fields)
        learnt_rows = slice(self.burn_in_steps, self.burn_in_steps + self.sequence_steps)
        learnt = np.logical_and.accumulate(fields.valid[learnt_rows], axis=0)
        learnt &= wanted[learnt_rows] + self._rows.n_step < self.total_rows
        return Sequences(
            obs.reshape(*held.shape, *obs.shape[1:]),
            torch.from_numpy(wanted == begins),
            torch.from_numpy(fields.action[learnt_rows].copy()),
            r_t,
            discount_t,
            torch.from_numpy(bootstrap),
            torch.from_numpy(learnt),
            self._states.before(starts, envs, known=begins < starts),
        )

    def hold_rows(self, start: int, stop: int) -> HeldRows:
        """Return rows [start, stop) as `Replay.hold_rows` does; their file begins with the states.

        Raises:
            ValueError: if the ring does not hold all of them, or there are none.
        """
        self._rows.rows(start, stop)  # raises before anything is copied
        states = io.BytesIO()
        self._states.write(states, start, stop)
        return self._rows.hold_rows(start, stop, states.getvalue())

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Restore what `HeldRows.write` wrote, as `Replay.read_rows` does.

        Raises:
            ValueError: as in `Replay.read_rows`.
        """
        self._states.read(file, start, stop, self.oldest_row)
        self._rows.read_rows(file, start, stop)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the generator; rows and states go through `hold_rows`."""
        return {"period_steps": self._states.period_steps, "rows": self._rows.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state; `read_rows` must then restore [oldest_row, total_rows).

        Raises:
            ValueError: if the state is of a replay of another size or period.
        """
        if state["period_steps"] != self._states.period_steps:
            raise ValueError(
                f"the state is of a replay with period_steps {state['period_steps']}, "
                f"this one has {self._states.period_steps}"
            )
        self._rows.load_state_dict(state["rows"])

    def _eligible_among(self, candidates: Indices) -> Indices:
        """Return the eligible (row, environment) pairs (M, 2) of numbers (K,) below len(self)."""
        rows = self.oldest_row + candidates // self.num_envs
        envs = candidates % self.num_envs
        fields = self._rows.scalars(rows, envs)
        begins_sequence = fields.first | (
            (rows - self.burn_in_steps) % self._states.period_steps == 0
        )
        keep = fields.valid & begins_sequence
        rows, envs = rows[keep], envs[keep]
        oldest_needed = np.maximum(rows - self._history_steps, self._episode_begins(rows, envs))
        pairs = np.stack([rows, envs], axis=1)
        whole: Indices = pairs[oldest_needed >= self.oldest_row]
        return whole

    def _n_step_returns(self, fields: Scalars) -> tuple[Tensor, Tensor, Indices]:
        """Return rewards and discounts of up to n steps, and the rows that they bootstrap from.

        Args:
            fields: (T, B) of the sequences.

        Returns:
            Rewards, discounts and bootstrap rows, each (L, B), as in `Sequences`.
        """
        n, learnt_rows = self._rows.n_step, np.arange(self.sequence_steps)[:, None]  # (L, 1)
        steps = self.burn_in_steps + learnt_rows + np.arange(n)  # (L, n), into T
        # A step counts while every row up to its own is valid: a return stops at a final row.
        counts = np.logical_and.accumulate(fields.valid[steps], axis=1)  # (L, n, B)
        rewards = np.where(counts, fields.reward[steps], np.float32(0)).swapaxes(1, 2)
        discounts = np.where(counts, fields.discount[steps], np.float32(1)).swapaxes(1, 2)
        # Mnih et al. 2016 (1602.01783), section 4: r_1 + gamma r_2 + ... + gamma^(n-1) r_n.
        r_t, discount_t = n_step_return(
            torch.from_numpy(rewards.reshape(-1, n)), torch.from_numpy(discounts.reshape(-1, n))
        )  # (L * B, n) -> (L * B,)
        bootstrap = learnt_rows + counts.sum(axis=1)  # (L, B)
        shape = bootstrap.shape
        return r_t.reshape(shape), discount_t.reshape(shape), bootstrap

    def _episode_begins(self, rows: Indices, envs: Indices) -> Indices:
        """Return (K,) the first rows of the episodes of rows (K,), or -1 if older than needed."""
        older = rows[:, None] - np.arange(self._history_steps + 1)  # (K, history + 1), newest first
        first = self._rows.scalars(older, np.broadcast_to(envs[:, None], older.shape)).first
        first &= older >= self.oldest_row
        return np.where(first.any(axis=1), rows - first.argmax(axis=1), -1)
