"""Acting: epsilon-greedy on action values, or drawing from a stochastic policy.

Dimension key: N environments, A actions.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.base import Predictions
from wnrl.agents.recurrence import MakeMemory, Memory
from wnrl.envs.vector import Actions, Flags, Observations


def explore(
    greedy: Actions, epsilon: float, num_actions: int, generator: np.random.Generator
) -> Actions:
    """Return actions (N,): random with probability epsilon, otherwise those of `greedy` (N,)."""
    exploring = generator.random(len(greedy)) < epsilon
    random = generator.integers(num_actions, size=len(greedy))
    actions: Actions = np.where(exploring, random, greedy)
    return actions


@torch.no_grad()
def epsilon_greedy(
    values: Callable[[Tensor], Tensor],
    obs: Tensor,
    epsilon: float,
    num_actions: int,
    generator: np.random.Generator,
) -> Actions:
    """Return actions (N,) for observations (N, ...): random with probability epsilon, else greedy.

    `values`, obs (N, ...) -> values (N, A), is not called where every action is random.
    """
    exploring = generator.random(len(obs)) < epsilon
    actions: Actions = generator.integers(num_actions, size=len(obs))
    if not exploring.all():
        q = values(obs)  # (N, ...) -> (N, A)
        actions = np.where(exploring, actions, q.argmax(1).cpu().numpy())
    return actions


def sample(logits: Tensor, generator: np.random.Generator) -> Tensor:
    """Draw actions (N,) int64 from softmax(logits (N, A)), on the logits' device.

    The Gumbel-max trick (Gumbel 1954): argmax_a (logits_a + G_a) has that distribution. The noise
    is NumPy's, so that a seed gives the same draws on every device.
    """
    noise = torch.from_numpy(generator.gumbel(size=tuple(logits.shape)).astype(np.float32))
    return (logits + noise.to(logits.device)).argmax(dim=1)  # (N, A) -> (N,)


class GreedyPolicy:
    """Epsilon-greedy policy on a network that no longer changes, and its memory."""

    def __init__(
        self,
        network: nn.Module,
        make_memory: MakeMemory,
        epsilon: float,
        num_actions: int,
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._network = network.eval()
        self._make_memory = make_memory
        self._memory: Memory | None = None  # made at the first `act`, which shows N
        self._epsilon = epsilon
        self._num_actions = num_actions
        self._generator = generator
        self._device = device
        self._q = np.zeros((0, num_actions), np.float32)  # (N, A) at the newest observations

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return actions (N,) for observations (N, ...)."""
        if self._memory is None:
            self._memory = self._make_memory(self._network, len(obs))
        inputs = (torch.from_numpy(x).to(self._device) for x in (obs, first))
        self._q = self._memory.step(self._network, *inputs).cpu().numpy()
        return explore(self._q.argmax(1), self._epsilon, self._num_actions, self._generator)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Return the values (N,) of actions (N,) at the newest observations acted on."""
        assert len(self._q) == len(obs), "values belong to the newest observations"
        predicted: Predictions = self._q[np.arange(len(actions)), actions]
        return predicted


class SampledPolicy:
    """Stochastic policy of an actor-critic that no longer changes, mixed with random actions."""

    def __init__(
        self,
        network: nn.Module,
        make_memory: MakeMemory,
        epsilon: float,
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._network = network.eval()
        self._make_memory = make_memory
        self._memory: Memory | None = None  # made at the first `act`, which shows N
        self._epsilon = epsilon
        self._generator = generator
        self._device = device
        self._value = torch.zeros(0)  # (N,) at the newest observations

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return actions (N,) for observations (N, ...)."""
        if self._memory is None:
            self._memory = self._make_memory(self._network, len(obs))
        inputs = (torch.from_numpy(x).to(self._device) for x in (obs, first))
        output = self._memory.step(self._network, *inputs)
        self._value = output.value
        drawn = sample(output.logits, self._generator).cpu().numpy()
        return explore(drawn, self._epsilon, output.logits.shape[1], self._generator)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Return the predicted values (N,) of the newest observations acted on."""
        assert len(self._value) == len(obs), "values belong to the newest observations"
        predicted: Predictions = self._value.cpu().numpy()
        return predicted
