"""Epsilon-greedy action on a recurrent network's values, for evaluation.

Dimension key: N environments, A actions.
"""

import numpy as np
import torch

from wnrl.agents.base import Predictions
from wnrl.agents.greedy import mixed
from wnrl.agents.memory import LSTMMemory
from wnrl.envs.vector import Actions, Flags, Observations
from wnrl.nn.recurrent import RecurrentQNetwork


class RecurrentGreedyPolicy:
    """Epsilon-greedy on a recurrent network that no longer changes, with a memory of its own."""

    def __init__(
        self,
        network: RecurrentQNetwork,
        epsilon: float,
        num_actions: int,
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._network = network
        self._epsilon = epsilon
        self._num_actions = num_actions
        self._generator = generator
        self._device = device
        self._memory: LSTMMemory | None = None  # as many states as come to its first `act`
        self._q: Predictions | None = None  # (N, A) of the observations acted on

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) for observations (N, ...), the next of N environments each."""
        if self._memory is None:
            self._memory = LSTMMemory(self._network, len(obs))
        seen, begins = (torch.from_numpy(x).to(self._device) for x in (obs, first))
        q: Predictions = self._memory.step(self._network, seen, begins).cpu().numpy()
        self._q = q
        return mixed(q.argmax(1), self._epsilon, self._num_actions, self._generator)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Predicted values (N,) of actions (N,) on the observations (N, ...) just acted on."""
        assert self._q is not None, "values comes after act"
        predicted: Predictions = self._q[np.arange(len(actions)), actions]
        return predicted
