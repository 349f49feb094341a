"""Networks with an LSTM between torso and heads. Its state is reset where an episode begins.

Not here: the weight-normalized LSTM (`wnrl.nn.weight_norm.lstm`), and the state between steps of
acting (`wnrl.agents.recurrence`).

Dimension key: T time, B batch, A actions, F features, H units of the LSTM.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.networks.torso import Torso
from wnrl.nn.weight_norm.lstm import State

LSTM = "lstm"  # the layer's name
Output = TypeVar("Output")


class Recurrent(nn.Module, Generic[Output]):
    """A torso, an LSTM of one layer, and heads that a subclass defines in `read_out`.

    Args:
        torso: (N, *shape) -> (N, F).
        lstm: (T, B, F) and a state -> (T, B, H) and a state.
    """

    def __init__(self, torso: Torso, lstm: nn.LSTM) -> None:
        super().__init__()
        self.torso = torso
        self.lstm = lstm

    @property
    def lstm_units(self) -> int:
        """Return H."""
        return self.lstm.hidden_size

    def initial_state(self, batch: int) -> State:
        """Return h and c (1, B, H), zeros on the network's device, for new sequences."""
        like = next(self.lstm.parameters())
        return like.new_zeros(1, batch, self.lstm_units), like.new_zeros(1, batch, self.lstm_units)

    def read_out(self, hidden: Tensor) -> Output:
        """Return the heads' output of hidden (..., H), with the same leading axes."""
        raise NotImplementedError

    def forward(self, obs: Tensor) -> Output:
        """Return the heads' output of observations (B, *shape), each after a state of zeros."""
        hidden, _ = self.lstm(self.torso(obs).unsqueeze(0))  # (B, F) -> (1, B, H)
        return self.read_out(hidden.squeeze(0))

    def unroll(self, obs: Tensor, first: Tensor, state: State) -> tuple[Output, State]:
        """Run over sequences (T, B, *shape); return outputs (T, B, ...) and the state after them.

        The torso takes all T * B observations at once, so batch statistics are over all of them.
        The LSTM takes each stretch of steps in which no episode begins at once. Reading `first` on
        the CPU waits for the device.

        Args:
            obs: (T, B, *shape).
            first: (T, B) bool, whether step t of sequence b begins an episode. The state before
                such a step is zero, and no gradient crosses it.
            state: state before the first step.

        Raises:
            ValueError: `first` is not (T, B) bool, or does not fit the observations.
        """
        if first.ndim != 2 or first.dtype != torch.bool or obs.shape[:2] != first.shape:
            raise ValueError(
                f"first is {tuple(first.shape)} {first.dtype} for observations "
                f"{tuple(obs.shape)}: expected (T, B) bool and (T, B, ...)"
            )
        features = self.torso(obs.flatten(0, 1)).unflatten(0, first.shape)  # -> (T, B, F)
        outputs = []
        for start, stop in _stretches(first):
            begins = first[start, :, None]  # (B, 1)
            state = (state[0].masked_fill(begins, 0.0), state[1].masked_fill(begins, 0.0))
            hidden, state = self.lstm(features[start:stop], state)
            outputs.append(hidden)
        return self.read_out(torch.cat(outputs)), state


class RecurrentQNetwork(Recurrent[Tensor]):
    """A torso, an LSTM and a head: (B, *shape) -> action values (B, A).

    Source: Hausknecht & Stone 2015, arXiv 1507.06527; with stored states, Kapturowski et al. 2019.
    """

    def __init__(self, torso: Torso, lstm: nn.LSTM, head: nn.Module) -> None:
        super().__init__(torso, lstm)
        self.head = head

    def read_out(self, hidden: Tensor) -> Tensor:
        """Return action values (..., A) of hidden (..., H)."""
        q: Tensor = self.head(hidden)
        return q

    def with_head(self, head: nn.Module) -> "RecurrentQNetwork":
        """Return a network on the same torso and LSTM, which it shares, with another head."""
        return RecurrentQNetwork(self.torso, self.lstm, head)


class RecurrentActorCritic(Recurrent[PolicyValue]):
    """A torso, an LSTM and two heads: (B, *shape) -> `PolicyValue` of (B, A) and (B,)."""

    def __init__(self, torso: Torso, lstm: nn.LSTM, policy: nn.Module, value: nn.Module) -> None:
        super().__init__(torso, lstm)
        self.policy = policy
        self.value = value

    def read_out(self, hidden: Tensor) -> PolicyValue:
        """Return logits (..., A) and value (...) of hidden (..., H)."""
        return PolicyValue(self.policy(hidden), self.value(hidden).squeeze(-1))


def recurrent_layers(lstm_units: int) -> tuple[str, ...]:
    """Return the names of the recurrent layers of a network; 0 units mean none."""
    return (LSTM,) if lstm_units else ()


def _stretches(first: Tensor) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the stretches in first (T, B) within which no episode begins."""
    steps = len(first)
    later = first[1:].any(dim=1).nonzero().flatten().tolist() if steps > 1 else []
    starts = [0, *(step + 1 for step in later)]
    return zip(starts, [*starts[1:], steps], strict=True)
