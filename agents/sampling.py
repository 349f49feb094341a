"""Acting by a stochastic policy: what agents with a policy network share.

Dimension key: N environments, A actions.
"""

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.base import Predictions
from wnrl.agents.policies import mixed
from wnrl.agents.recurrence import Memory, Remember
from wnrl.envs.vector import Actions, Flags, Observations


def sample(logits: Tensor, generator: np.random.Generator) -> Tensor:
    """Actions (N,) int64 drawn from softmax(logits (N, A)), on the logits' device.

    The Gumbel-max trick (Gumbel 1954): argmax_a (logits_a + G_a) has that distribution. The noise
    is NumPy's, so that a seed draws the same whatever the device.
    """
    noise = torch.from_numpy(generator.gumbel(size=tuple(logits.shape)).astype(np.float32))
    return (logits + noise.to(logits.device)).argmax(dim=1)  # (N, A) -> (N,)


class SampledPolicy:
    """Draws from an actor-critic network that no longer changes; mixed with random actions."""

    def __init__(
        self,
        network: nn.Module,
        remember: Remember,
        epsilon: float,
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        self._network = network.eval()
        self._remember = remember
        self._memory: Memory | None = None  # as many environments as come
        self._epsilon = epsilon
        self._generator = generator
        self._device = device
        self._value = torch.zeros(0)

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) for observations (N, ...)."""
        if self._memory is None:
            self._memory = self._remember(self._network, len(obs))
        inputs = (torch.from_numpy(x).to(self._device) for x in (obs, first))
        output = self._memory.step(self._network, *inputs)
        self._value = output.value
        drawn = sample(output.logits, self._generator).cpu().numpy()
        return mixed(drawn, self._epsilon, output.logits.shape[1], self._generator)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        """Predicted values (N,) of the observations (N, ...) that were acted on last."""
        assert len(self._value) == len(obs), "values are of what was acted on"
        predicted: Predictions = self._value.cpu().numpy()
        return predicted
