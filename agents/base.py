"""Protocols of agents: what the loop, evaluation and checkpoints need from them.

Dimension key: N environments.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from wnrl.agents.learner import Learner
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.rl.row_store import RowStore

Predictions = npt.NDArray[np.float32]


class Policy(Protocol):
    """Frozen copy of an agent's policy for evaluation; a recurrent one has a state."""

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return actions (N,) for observations (N, ...); `first` (N,) marks episode starts."""
        ...


@runtime_checkable
class ValuePolicy(Policy, Protocol):
    """Policy that predicts the returns of its actions."""

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Return predicted discounted returns (N,) of actions (N,), in the learner's rewards."""
        ...


class LoopAgent(Protocol):
    """The part of an agent that the training loop calls.

    The loop calls `act`, then `update` and `observe` in this order while the emulators work if
    `update_overlaps`, otherwise `observe` and `update`. A state is taken before the next `act`.
    """

    @property
    def update_overlaps(self) -> bool:
        """Return whether it may update before the outcome of the newest actions is known."""
        ...

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return actions (N,) of the behaviour policy for observations (N, ...)."""
        ...

    def observe(self, step: Step) -> None:
        """Store the outcome of the last actions."""
        ...

    def update(self) -> dict[str, Tensor] | None:
        """Do every update that is due; return metrics as scalar tensors, or None without one."""
        ...


class Agent(LoopAgent, Protocol):
    """Agent that owns its networks, its optimizer, its data and its generators."""

    @property
    def network(self) -> nn.Module:
        """The network that acts and learns."""
        ...

    @property
    def learner(self) -> Learner:
        """The learner, which updates the network."""
        ...

    @property
    def rows(self) -> RowStore | None:
        """The rows of a replay, which are saved apart from the state; None without a replay."""
        ...

    def scalars(self) -> dict[str, Tensor | float]:
        """Return further values to log at intervals, by tag."""
        ...

    def policy(self, epsilon: float, generator: np.random.Generator) -> Policy:
        """Return the current policy for evaluation; it acts at random with probability epsilon."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that moves except the rows of a replay (see `rows`)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue bit for bit where the state was taken."""
        ...
