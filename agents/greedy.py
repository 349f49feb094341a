"""Epsilon-greedy action on values: what every agent that learns values acts by.

Dimension key: N environments, A actions.
"""

import numpy as np
import torch
from torch import nn

from wnrl.agents.base import Predictions
from wnrl.envs.vector import Actions, Flags, Observations


class GreedyPolicy:
    """Epsilon-greedy on a network that no longer changes."""

    def __init__(
        self,
        network: nn.Module,
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

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) for observations (N, ...)."""
        return epsilon_greedy(
            self._network, obs, self._epsilon, self._num_actions, self._generator, self._device
        )

    @torch.no_grad()
    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Predicted values (N,) of actions (N,) for observations (N, ...)."""
        q = self._network.eval()(torch.from_numpy(obs).to(self._device)).cpu().numpy()  # (N, A)
        predicted: Predictions = q[np.arange(len(actions)), actions]
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
