"""A replay of stretches of play for recurrent networks, with the state that began each.

The rows are `wnrl.rl.replay`'s; here they are drawn as sequences in time order, and the state of
the
network that acted is stored beside every few of them. Not here: who makes and uses those states.
Source: Kapturowski et al. 2019 (R2D2, ICLR 2019), section 3: stored states and burn-in.

Dimension key: B batch, N environments, H units of the recurrent layer, L learnt rows of a sequence,
n steps of a return, T = burn-in + L + n rows of a sequence.

A sequence is named by its first learnt row, which is an episode's first or any whose burn-in begins
at a stored state. All its learnt rows are of one episode: those from the next `first` on are masked
out, and a final observation is only a bootstrap. The burn-in does not cross a border either. Where
the episode began within it, its first row stands in every place before that as well, and `first` is
set at the true place alone: the network arrives at what follows as it did when it acted. Behind the
learnt rows nothing needs an empty state. So `first` is set as rarely as can be: wherever it is, a
network has to interrupt the whole batch.
"""

from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl._settings import UsageError
from wnrl.rl.recurrent_states import State, StoredStates
from wnrl.rl.replay import Indices, Replay
from wnrl.rl.returns import n_step_return


class Sequences(NamedTuple):
    """A batch of sequences as CPU tensors that the caller owns, time first."""

    obs: Tensor  # (T, B, ...) uint8 or float32
    first: Tensor  # (T, B) bool, the state is empty before these: one row of a sequence or none
    action: Tensor  # (L, B) int64, this and what follows of the rows after the burn-in
    reward: Tensor  # (L, B) float32, the discounted sum of up to n rewards
    discount: Tensor  # (L, B) float32, of the value at the bootstrap
    bootstrap: Tensor  # (L, B) int64, the row up to n steps later, counted from the burn-in's end
    learnt: Tensor  # (L, B) bool, False where the row is not to be learnt from
    state: State  # before the first row

    def to(self, device: torch.device) -> "Sequences":
        """The same on a device."""
        obs, first, action, reward, discount, bootstrap, learnt = (x.to(device) for x in self[:7])
        h, c = self.state
        state = (h.to(device), c.to(device))
        return Sequences(obs, first, action, reward, discount, bootstrap, learnt, state)


class SequenceReplay:
    """The newest `capacity // num_envs` rows of N environments, drawn as sequences.

    Sequences are drawn uniformly from all that hold at least one learnt row: those whose first
    learnt row is valid, has n newer ones, and has its burn-in in the ring.

    Args:
        capacity: pairs of row and environment to hold, rounded down to whole rows.
        num_envs: N.
        frame_shape: of what is new at each step.
        frame_dtype: "uint8" or "float32".
        stack: frames of one observation; 1 if nothing is stacked.
        n_step: n, the most steps of a return.
        generator: the only source of randomness, owned by this replay from now on.
        burn_in_steps: rows that bring the state up to date and are not learnt from; may be 0.
        sequence_steps: L.
        period_steps: a state is stored before every row whose number is a multiple of this; half of
            `sequence_steps` lets neighbours overlap by half.
        lstm_units: H.

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
        *,
        burn_in_steps: int,
        sequence_steps: int,
        period_steps: int,
        lstm_units: int,
    ) -> None:
        if burn_in_steps < 0 or min(sequence_steps, period_steps, lstm_units) < 1:
            raise ValueError(
                "burn_in_steps must be at least 0, sequence_steps, period_steps and lstm_units at "
                f"least 1, not {burn_in_steps}, {sequence_steps}, {period_steps} and {lstm_units}"
            )
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
        self.sequence_steps = sequence_steps
        self._history_steps = burn_in_steps + stack - 1  # rows that one is seen with, itself apart
        self._states = StoredStates(self._rows.capacity_rows, num_envs, lstm_units, period_steps)

    @staticmethod
    def least_rows(stack: int, n_step: int, burn_in_steps: int, period_steps: int) -> int:
        """Rows that hold a sequence wherever episodes end.

        Of `period_steps` rows in a line one begins at a stored state; if it is a final observation,
        the next one begins an episode.
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
        """Bytes that a replay of this capacity will hold, exactly; arguments as at construction."""
        return Replay.bytes_needed(
            capacity, num_envs, frame_shape, frame_dtype
        ) + StoredStates.bytes_needed(capacity // num_envs, num_envs, lstm_units, period_steps)

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return self._rows.nbytes + self._states.nbytes

    @property
    def total_rows(self) -> int:
        """Rows ever added; the newest row's number is one less."""
        return self._rows.total_rows

    @property
    def oldest_row(self) -> int:
        """Number of the oldest row that the ring holds."""
        return self._rows.oldest_row

    def __len__(self) -> int:
        """Pairs (row, environment) among which a sequence's first learnt row is sought."""
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
        """Store one row as `Replay.add` does, and perhaps the state.

        Args:
            frame: and the next five, as in `Replay.add`.
            action: (N,).
            reward: (N,).
            discount: (N,).
            first: (N,).
            valid: (N,).
            state: h and c, each (1, N, H), with which the network saw this row; from any device,
                which they leave only where they are stored.

        Raises:
            ValueError: as `Replay.add`, or a state of another shape.
            TypeError: as `Replay.add`.
        """
        self._states.check(state)
        self._rows.add(frame, action, reward, discount, first, valid)
        self._states.add(self.total_rows - 1, state)

    def sample(self, batch_size: int) -> Sequences:
        """Sequences drawn uniformly, with replacement.

        Args:
            batch_size: B, at least 1.

        Raises:
            ValueError: if there is none yet.
        """
        return self.gather(*self.draw(batch_size))

    def draw(self, batch_size: int) -> tuple[Indices, Indices]:
        """Row numbers (B,) and environments (B,) of first learnt rows, uniformly.

        Raises:
            ValueError: if there is none yet.
        """
        self._rows.require_restored()
        pairs = np.empty((0, 2), np.int64)
        while (missing := batch_size - len(pairs)) > 0:
            more = pairs[:0]
            if len(self) > 0:  # about one in a period is a sequence's
                tries = 2 * self._states.period_steps * missing
                more = self._eligible_among(self._generator.integers(len(self), size=tries))
            if len(more) == 0:  # list what there is instead of hoping, so that the loop ends
                all_pairs = self.eligible()
                if len(all_pairs) == 0:
                    raise ValueError(f"no sequence to sample in {self.total_rows} rows added")
                more = all_pairs[self._generator.integers(len(all_pairs), size=missing)]
            pairs = np.concatenate([pairs, more[:missing]])
        return pairs[:, 0], pairs[:, 1]

    def eligible(self) -> Indices:
        """All first learnt rows as pairs (row number, environment) (M, 2); a full scan."""
        return self._eligible_among(np.arange(len(self), dtype=np.int64))

    def gather(self, rows: Indices, envs: Indices) -> Sequences:
        """The sequences whose first learnt rows are eligible pairs.

        Args:
            rows: (B,) row numbers.
            envs: (B,) environments.
        """
        burn_in, learnt_rows, n = self.burn_in_steps, self.sequence_steps, self._rows.n_step
        begins = self._episode_begins(rows, envs)
        starts = rows - burn_in  # (B,)
        plain = starts + np.arange(burn_in + learnt_rows + n)[:, None]  # (T, B)
        at = np.maximum(plain, begins)
        held = np.minimum(at, self.total_rows - 1)
        fields = self._rows.scalars(held, np.broadcast_to(envs, at.shape))
        obs = self._rows.observations(held.reshape(-1), np.tile(envs, len(at)))

        steps = burn_in + np.arange(learnt_rows)[:, None] + np.arange(n)  # (L, n), into T
        # A step counts while every row up to its own is valid: a return stops at a final row.
        counts = np.logical_and.accumulate(fields.valid[steps], axis=1)  # (L, n, B)
        rewards = np.where(counts, fields.reward[steps], np.float32(0)).swapaxes(1, 2)
        discounts = np.where(counts, fields.discount[steps], np.float32(1)).swapaxes(1, 2)
        r_t, discount_t = n_step_return(
            torch.from_numpy(rewards.reshape(-1, n)), torch.from_numpy(discounts.reshape(-1, n))
        )  # (L * B, n) -> (L * B,)
        bootstrap = np.arange(learnt_rows)[:, None] + counts.sum(axis=1)  # (L, B)
        after = slice(burn_in, burn_in + learnt_rows)
        learnt = np.logical_and.accumulate(fields.valid[after], axis=0)
        learnt &= at[after] + n < self.total_rows
        return Sequences(
            obs.reshape(*at.shape, *obs.shape[1:]),
            torch.from_numpy(plain == begins),
            torch.from_numpy(fields.action[after].copy()),
            r_t.reshape(learnt.shape),
            discount_t.reshape(learnt.shape),
            torch.from_numpy(bootstrap),
            torch.from_numpy(learnt),
            self._states.before(starts, envs, known=begins < starts),
        )

    def write_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Stream the states of rows [start, stop), then the rows as `Replay.write_rows` does.

        Raises:
            ValueError: if the ring does not hold all of them.
        """
        self._rows.rows(start, stop)  # refuses before anything is written
        self._states.write(file, start, stop)
        self._rows.write_rows(file, start, stop)

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Bring back what `write_rows` wrote, as `Replay.read_rows` does.

        Raises:
            ValueError: as `Replay.read_rows`.
        """
        self._states.read(file, start, stop, self.oldest_row)
        self._rows.read_rows(file, start, stop)

    def state_dict(self) -> dict[str, Any]:
        """The counters and the generator; rows and states go through `write_rows`."""
        return {"period_steps": self._states.period_steps, "rows": self._rows.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; `read_rows` must then bring back [oldest_row, total_rows).

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
        """Pairs (row, environment) (M, 2) of the eligible among numbers (K,) below len(self)."""
        rows = self.oldest_row + candidates // self.num_envs
        envs = candidates % self.num_envs
        fields = self._rows.scalars(rows, envs)
        begins_sequence = fields.first | (
            (rows - self.burn_in_steps) % self._states.period_steps == 0
        )
        keep = fields.valid & begins_sequence
        rows, envs = rows[keep], envs[keep]
        seen_from = np.maximum(rows - self._history_steps, self._episode_begins(rows, envs))
        pairs = np.stack([rows, envs], axis=1)
        whole: Indices = pairs[seen_from >= self.oldest_row]
        return whole

    def _episode_begins(self, rows: Indices, envs: Indices) -> Indices:
        """(K,) Where the episodes of rows (K,) began, as far as that matters to them; else -1."""
        at = rows[:, None] - np.arange(self._history_steps + 1)  # (K, history + 1), newest first
        first = self._rows.scalars(at, np.broadcast_to(envs[:, None], at.shape)).first
        first &= at >= self.oldest_row
        return np.where(first.any(axis=1), rows - first.argmax(axis=1), -1)
