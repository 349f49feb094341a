"""Epsilon-greedy action on values: what every agent that learns values acts by.

Dimension key: N environments, A actions.
"""

import numpy as np
import torch
from torch import nn

from wnrl.agents.base import Predictions
from wnrl.agents.recurrence import Memory, Remember
from wnrl.envs.vector import Actions, Flags, Observations


class GreedyPolicy:
    """Epsilon-greedy on a network that no longer changes, with a memory of its own."""

    def __init__(
        self,
        network: nn.Module,
        remember: Remember,
        epsilon: float,
        num_actions: int,
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._network = network.eval()
        self._remember = remember
        self._memory: Memory | None = None  # of as many environments as come to its first `act`
        self._epsilon = epsilon
        self._num_actions = num_actions
        self._generator = generator
        self._device = device
        self._q = np.zeros((0, num_actions), np.float32)  # (N, A) of what was acted on

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) for observations (N, ...), the next of N environments each."""
        if self._memory is None:
            self._memory = self._remember(self._network, len(obs))
        inputs = (torch.from_numpy(x).to(self._device) for x in (obs, first))
        self._q = self._memory.step(self._network, *inputs).cpu().numpy()
        return mixed(self._q.argmax(1), self._epsilon, self._num_actions, self._generator)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Predicted values (N,) of actions (N,) on the observations (N, ...) just acted on."""
        assert len(self._q) == len(obs), "values are of what was acted on"
        predicted: Predictions = self._q[np.arange(len(actions)), actions]
        return predicted


def mixed(
    greedy: Actions, epsilon: float, num_actions: int, generator: np.random.Generator
) -> Actions:
    """Actions (N,): random with probability epsilon, else those of `greedy` (N,)."""
    explore = generator.random(len(greedy)) < epsilon
    random = generator.integers(num_actions, size=len(greedy))
    actions: Actions = np.where(explore, random, greedy)
    return actions


@torch.no_grad()
def epsilon_greedy(
    network: nn.Module,
    obs: Observations,
    epsilon: float,
    num_actions: int,
    generator: np.random.Generator,
    device: torch.device,
) -> Actions:
    """Actions (N,) for observations (N, ...): random with probability epsilon, else greedy.

    Acting is in evaluation mode: with frozen statistics, and it changes none.
    """
    explore = generator.random(len(obs)) < epsilon
    actions: Actions = generator.integers(num_actions, size=len(obs))
    if not explore.all():
        network.eval()
        q = network(torch.from_numpy(obs).to(device))  # (N, ...) -> (N, A)
        actions = np.where(explore, actions, q.argmax(1).cpu().numpy())
    return actions
