"""Policies of DQN with a normalization."""

from typing import ClassVar

from stable_baselines3.dqn.policies import CnnPolicy, DQNPolicy, MultiInputPolicy
from torch import nn

from wnrl.nn.norms.placement import Layout
from wnrl.sb3.layer_names import value_layout
from wnrl.sb3.observation_check import empty_observations
from wnrl.sb3.policies.base import Learner, NormalizedPolicy


class NormalizedValues(NormalizedPolicy):
    """Mixin that goes before a policy of action values with a target network."""

    algorithms: ClassVar[tuple[str, ...]] = ("DQN",)
    network_name = "q_net"  # the target network has this name and `_target`

    def _learners(self) -> list[Learner]:
        network, target = self._networks()
        return [Learner(network, [target], self, network)]

    def _networks(self) -> list[nn.Module]:
        return [getattr(self, self.network_name), getattr(self, f"{self.network_name}_target")]

    def _layout(self) -> Layout:
        return value_layout(self._networks()[0])

    def _forward_once(self, network: nn.Module) -> None:
        network(empty_observations(self.observation_space))


class WNMlpPolicy(NormalizedValues, DQNPolicy):
    """DQN's `MlpPolicy` with the arguments of `NormalizedPolicy`."""


class WNCnnPolicy(NormalizedValues, CnnPolicy):
    """DQN's `CnnPolicy` with the arguments of `NormalizedPolicy`."""


class WNMultiInputPolicy(NormalizedValues, MultiInputPolicy):
    """DQN's `MultiInputPolicy` with the arguments of `NormalizedPolicy`."""
