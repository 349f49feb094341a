"""Policies of SAC, TD3 and DDPG with a normalization.

They have an actor and critics that take its action, each with its own optimizer, and target
networks that follow by Polyak averages. Those average the weights that a network computes with, so
a target needs no gains of its own. SAC's `log_std` and its entropy coefficient stay plain.
"""

import copy
from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.sac import policies as sac
from stable_baselines3.td3 import policies as td3
from torch import nn

from wnrl.nn.norms.placement import Layout
from wnrl.nn.norms.record import Norm
from wnrl.sb3.clone_policy import without_graph
from wnrl.sb3.layer_names import actor_and_critics_layout
from wnrl.sb3.observation_check import empty_observations
from wnrl.sb3.policies.base import Learner, NormalizedPolicy


class NormalizedActorAndCritics(NormalizedPolicy):
    """Base of the mixins for policies with the networks `actor` and `critic`.

    Unlike the stock policies, they can be copied and pickled after training, and their `save` keeps
    `share_features_extractor`.
    """

    image_net_arch: ClassVar[tuple[int, ...]] = (256, 256)
    # Set by the stock policy:
    actor: Any
    critic: Any
    share_features_extractor: bool

    def _learners(self) -> list[Learner]:
        return [
            Learner(network, self._targets(name), network, self._stepped(network))
            for name, network in (("actor", self.actor), ("critic", self.critic))
        ]

    def _targets(self, name: str) -> list[nn.Module]:
        """Return the target of a network, if the algorithm has one."""
        target = getattr(self, f"{name}_target", None)
        return [] if target is None else [target]

    def _stepped(self, network: BaseModel) -> nn.Module:
        """Return the part of a network that its optimizer steps."""
        return network

    def _layout(self) -> Layout:
        return actor_and_critics_layout(self)

    def _placed(self, norm: Norm) -> frozenset[str]:
        """Return the layers that `norm_where` names, and their counterparts in the targets."""
        placed = frozenset(super()._placed(norm))
        layers = {self.get_submodule(name) for name in placed}
        return placed.union(
            f"{name}_target.{inner}"
            for name, network in (("actor", self.actor), ("critic", self.critic))
            if self._targets(name)
            for inner, layer in network.named_modules()
            if layer in layers
        )

    def _forward_once(self, network: nn.Module) -> None:
        obs = empty_observations(self.observation_space)
        actions = torch.zeros(1, get_action_dim(self.action_space))
        actor, critic = self._learners()
        for each in (actor.network, *actor.targets):
            each(obs)
        for each in (critic.network, *critic.targets):
            each(obs, actions)

    def __getstate__(self) -> dict[str, Any]:
        distribution = getattr(self.actor, "action_dist", None)
        if distribution is None:
            return self.__dict__
        actor = copy.copy(self.actor)
        actor.action_dist = without_graph(distribution)
        return {**self.__dict__, "_modules": {**self._modules, "actor": actor}}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        shared = {"share_features_extractor": self.share_features_extractor}
        return {**super()._get_constructor_parameters(), **shared}


class NormalizedSAC(NormalizedActorAndCritics):
    """Mixin that goes before a policy of SAC."""

    algorithms: ClassVar[tuple[str, ...]] = ("SAC",)

    def _stepped(self, network: BaseModel) -> nn.Module:
        if network is self.actor or not self.share_features_extractor:
            return network
        return nn.ModuleList(self.critic.q_networks)  # the actor's loss trains the extractor


class NormalizedTD3(NormalizedActorAndCritics):
    """Mixin that goes before a policy of TD3 or DDPG."""

    algorithms: ClassVar[tuple[str, ...]] = ("TD3", "DDPG")


class WNSACPolicy(NormalizedSAC, sac.SACPolicy):
    """SAC's `MlpPolicy` with the arguments of `NormalizedPolicy`."""


class WNSACCnnPolicy(NormalizedSAC, sac.CnnPolicy):
    """SAC's `CnnPolicy` with the arguments of `NormalizedPolicy`."""


class WNSACMultiInputPolicy(NormalizedSAC, sac.MultiInputPolicy):
    """SAC's `MultiInputPolicy` with the arguments of `NormalizedPolicy`."""


class WNTD3Policy(NormalizedTD3, td3.TD3Policy):
    """TD3's and DDPG's `MlpPolicy` with the arguments of `NormalizedPolicy`."""


class WNTD3CnnPolicy(NormalizedTD3, td3.CnnPolicy):
    """TD3's and DDPG's `CnnPolicy` with the arguments of `NormalizedPolicy`."""


class WNTD3MultiInputPolicy(NormalizedTD3, td3.MultiInputPolicy):
    """TD3's and DDPG's `MultiInputPolicy` with the arguments of `NormalizedPolicy`."""
