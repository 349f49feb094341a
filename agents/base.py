"""What the loop, the evaluation and the checkpoints ask of an agent. No agent inherits from this.

Dimension key: N environments.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from wnrl.agents.observer import UpdateObserver
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.optim.step import StepOptimizer
from wnrl.rl.row_store import RowStore

Predictions = npt.NDArray[np.float32]


class Policy(Protocol):
    """A frozen view of an agent for evaluation, with a recurrent state of its own if it has one."""

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) for observations (N, ...); `first` (N,) marks episode starts."""
        ...


@runtime_checkable
class ValuePolicy(Policy, Protocol):
    """A policy that predicts what its actions will bring."""

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Predicted discounted returns (N,), in the learner's rewards, of actions (N,)."""
        ...


class Learner(Protocol):
    """What the loop asks of an agent.

    It calls `act`, then `update` and `observe`: in this order, with the emulator at work meanwhile,
    where `update_overlaps`, else the other way round. A state is taken before the next `act`.
    """

    @property
    def update_overlaps(self) -> bool:
        """Whether it may update before the newest actions' outcome is known."""
        ...

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) of the behaviour policy for observations (N, ...)."""
        ...

    def observe(self, step: Step) -> None:
        """Take in what the last actions brought."""
        ...

    def update(self) -> dict[str, Tensor] | None:
        """Do every update that is due. Metrics stay tensors (scalars); None if nothing was due."""
        ...


class Agent(Learner, Protocol):
    """A learner that owns its networks, its optimizer, its data and its generators."""

    observer: UpdateObserver  # watches every update; nobody until one is attached

    @property
    def network(self) -> nn.Module:
        """The network that acts and learns."""
        ...

    @property
    def optimizer(self) -> StepOptimizer:
        """What steps it."""
        ...

    @property
    def rows(self) -> RowStore | None:
        """The bulk of a replay, stored apart from the state; None without one."""
        ...

    def scalars(self) -> dict[str, Tensor | float]:
        """What else is worth logging now and then, by tag."""
        ...

    def policy(self, epsilon: float, generator: np.random.Generator) -> Policy:
        """The current policy for evaluation: random with probability epsilon, else greedy."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything but the bulk of a replay (see `rows`)."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue bit for bit where the state was taken."""
        ...
