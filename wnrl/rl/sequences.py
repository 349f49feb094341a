"""Sequences of play for recurrent networks: their shape, and a batch of them.

Source: Kapturowski et al. 2019 (R2D2, ICLR 2019), section 3: stored states and burn-in.

Dimension key: B batch, H units of the recurrent layer, L learnt rows of a sequence, n steps of a
return, T = burn-in + L + n rows of a sequence.

A sequence is named by its first learnt row. That is an episode's first row, or any row whose
burn-in begins at a stored state. All learnt rows of a sequence belong to one episode: rows from the
next `first` on are masked out, and a final observation is only a bootstrap.

The burn-in stays in that episode too. If the episode begins within the burn-in, its first row is
repeated in every earlier place, and `first` is set at the true place alone. So the network reaches
the learnt rows in the same state as when it acted. `first` is set nowhere else, because a network
has to interrupt the whole batch wherever it is set.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wnrl.rl.recurrent_states import State


@dataclass(frozen=True)
class SequenceShape:
    """Lengths of a sequence and of its recurrent state.

    Raises:
        ValueError: if a number is out of range.
    """

    burn_in_steps: int  # rows that update the recurrent state and are not learnt from; may be 0
    sequence_steps: int  # L
    period_steps: int  # rows between stored states; L / 2 makes neighbours overlap by half
    lstm_units: int  # H

    def __post_init__(self) -> None:
        if self.burn_in_steps < 0 or min(self.sequence_steps, self.period_steps) < 1:
            raise ValueError(
                "burn_in_steps must be at least 0, sequence_steps and period_steps at least 1, not "
                f"{self.burn_in_steps}, {self.sequence_steps} and {self.period_steps}"
            )
        if self.lstm_units < 1:
            raise ValueError(f"lstm_units must be at least 1, not {self.lstm_units}")


class Sequences(NamedTuple):
    """A batch of sequences as CPU tensors that the caller owns, time first."""

    obs: Tensor  # (T, B, ...) uint8 or float32
    first: Tensor  # (T, B) bool, the state is reset before these rows: at most one per sequence
    action: Tensor  # (L, B) int64; this and the next four fields are of the rows after the burn-in
    reward: Tensor  # (L, B) float32, the discounted sum of up to n rewards
    discount: Tensor  # (L, B) float32, of the value at the bootstrap
    bootstrap: Tensor  # (L, B) int64, the row up to n steps later, counted from the burn-in's end
    learnt: Tensor  # (L, B) bool, False at rows that must not be learnt from
    state: State  # before the first row

    def to(self, device: torch.device) -> "Sequences":
        """Return the same sequences on a device."""
        obs, first, action, reward, discount, bootstrap, learnt = (x.to(device) for x in self[:7])
        h, c = self.state
        state = (h.to(device), c.to(device))
        return Sequences(obs, first, action, reward, discount, bootstrap, learnt, state)
