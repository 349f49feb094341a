"""Policies of PPO and A2C with a normalization; sb3-contrib's TRPO takes them too."""

from typing import Any, ClassVar

from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from torch import Tensor, nn

from wnrl.nn.norms.placement import Layout
from wnrl.sb3.clone_policy import without_graph
from wnrl.sb3.layer_names import actor_critic_layout
from wnrl.sb3.observation_check import empty_observations
from wnrl.sb3.policies.base import Learner, NormalizedPolicy


class NormalizedActorCritic(NormalizedPolicy):
    """Mixin that goes before a policy with a value.

    Unlike the stock policy, it can be copied and pickled after training, and its `save` keeps
    `share_features_extractor`.
    """

    algorithms: ClassVar[tuple[str, ...]] = ("PPO", "A2C", "TRPO")
    # Set by the stock policy:
    action_dist: Distribution
    pi_features_extractor: BaseFeaturesExtractor
    vf_features_extractor: BaseFeaturesExtractor
    mlp_extractor: MlpExtractor

    def _learners(self) -> list[Learner]:
        return [Learner(self, [], self, self)]

    def _layout(self) -> Layout:
        return actor_critic_layout(self)

    def _forward_once(self, network: nn.Module) -> None:
        space = self.observation_space
        obs = preprocess_obs(empty_observations(space), space, self.normalize_images)
        actor, critic = self.pi_features_extractor(obs), self.vf_features_extractor(obs)
        self._forward_heads(actor, critic)

    def _forward_heads(self, actor_features: Tensor, critic_features: Tensor) -> None:
        self.mlp_extractor.forward_actor(actor_features)
        self.mlp_extractor.forward_critic(critic_features)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "action_dist": without_graph(self.action_dist)}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        shared = {"share_features_extractor": self.share_features_extractor}
        return {**super()._get_constructor_parameters(), **shared}


class WNActorCriticMlpPolicy(NormalizedActorCritic, ActorCriticPolicy):
    """PPO's and A2C's `MlpPolicy` with the arguments of `NormalizedPolicy`."""


class WNActorCriticCnnPolicy(NormalizedActorCritic, ActorCriticCnnPolicy):
    """PPO's and A2C's `CnnPolicy` with the arguments of `NormalizedPolicy`."""


class WNActorCriticMultiInputPolicy(NormalizedActorCritic, MultiInputActorCriticPolicy):
    """PPO's and A2C's `MultiInputPolicy` with the arguments of `NormalizedPolicy`."""
