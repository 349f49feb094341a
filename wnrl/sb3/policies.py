"""Policies of Stable-Baselines3's DQN, PPO and A2C with a normalization.

Stable-Baselines3's own class builds and initializes a policy. Then its layers are normalized and it
gets a new optimizer. The classes below differ from the stock ones by a mixin, which can go before
any policy of the same kind: `class Mine(NormalizedActorCritic, MyActorCriticPolicy): ...`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.dqn.policies import CnnPolicy, DQNPolicy, MultiInputPolicy
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.norms.convert import everywhere, warn_of_plain
from wnrl.nn.norms.layers.spectral import Spectral
from wnrl.nn.norms.placement import Layout, canonical_where, place
from wnrl.nn.norms.record import Norm, leave_alone
from wnrl.sb3.builder import check_algorithm, in_storage_of_algorithm
from wnrl.sb3.clone_policy import without_graph
from wnrl.sb3.extractors import OWN_EXTRACTORS
from wnrl.sb3.layer_names import actor_critic_layout, value_layout
from wnrl.sb3.norm_arguments import check_arguments, find_norm, policy_arguments
from wnrl.sb3.normalize import KINDS, normalize_, to_memory_format_
from wnrl.sb3.observation_check import check_observations, empty_observations
from wnrl.sb3.optimizer_choice import has_normalizing_form, policy_optimizer


class NormalizedPolicy(BasePolicy):
    """Base of the mixins.

    Args:
        arguments: arguments of the stock policy.
        norm: name of a normalization, registered ones included (`wnrl.nn.register_norm`).
        norm_where: layers to normalize, separated by commas: torso (all hidden layers), head,
            penultimate, all, policy, value, or names of layers in `named_modules()`.
        norm_settings: parameters of the normalization by name, for example `{"eps": 1e-3}`.
        options: keyword arguments of the stock policy. If the optimizer does the normalization, it
            is the weight-normalizing form of `optimizer_class`. If there is no such form, layers
            have storage "gv", and `optimizer_class` steps gains and vectors.

    Raises:
        UsageError: an argument that cannot be used, or another algorithm's policy.
    """

    algorithms: ClassVar[tuple[str, ...]]  # names of those whose policy it is

    def __init__(
        self,
        *arguments: Any,
        norm: str = "weight",
        norm_where: str = "torso",
        norm_settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        check_algorithm(type(self), self.algorithms)
        check_arguments(type(self), norm_where, norm_settings, options)
        self.norm = norm
        self.norm_where = norm_where
        self.norm_settings = dict(norm_settings or {})
        find_norm(norm, self.norm_settings)  # raises before anything is built
        if options.get("features_extractor_class") in OWN_EXTRACTORS:
            _refuse_extractor_norm(options.get("features_extractor_kwargs") or {})
            if options.get("net_arch") is None:
                options["net_arch"] = []  # the stock policies' default for NatureCNN
        super().__init__(*arguments, **options)
        self._normalize()

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Build the extractor without a normalization; the policy adds its own later."""
        kind, options = self.features_extractor_class, self.features_extractor_kwargs
        scaled = not self.normalize_images
        check_observations(kind, self.observation_space, scaled=scaled)
        if kind in OWN_EXTRACTORS:
            plain = {**options, "norm": "none", "normalized_image": scaled}
            return kind(self.observation_space, **plain)
        return super().make_features_extractor()

    def _networks(self) -> list[nn.Module]:
        """Return the learning network and its copies."""
        raise NotImplementedError

    def _layout(self) -> Layout:
        """Return the layout of the learning network."""
        raise NotImplementedError

    def _normalize(self) -> None:
        norm, networks = self._norm_record(), self._networks()
        with policy_arguments():
            placed = place(self.norm_where, norm, self._layout())
            if norm.has_place and {"torso", "all"} & set(
                canonical_where(self.norm_where).split(",")
            ):
                warn_of_plain(type(self).__name__, networks[0], everywhere, KINDS)
            for network in networks:
                normalize_(network, norm, placed, partial(self._forward_once, network))
        learning, *copies = networks
        norm.initialize(learning)
        for network in copies:
            network.load_state_dict(learning.state_dict())
        for network in networks:  # convolutions on the CPU are a third faster in this format
            to_memory_format_(network, torch.channels_last)
        self.optimizer = policy_optimizer(
            learning,
            norm,
            self.optimizer_class,
            self.optimizer_kwargs,
            self.optimizer.param_groups[0]["lr"],
        )
        self._follow_steps()

    def _norm_record(self) -> Norm:
        # By name each time, because a record holds functions that cannot be pickled.
        norm = in_storage_of_algorithm(find_norm(self.norm, self.norm_settings))
        if has_normalizing_form(self.optimizer_class, self.optimizer_kwargs):
            return norm
        return norm.in_storage("gv")  # any optimizer may step gains and vectors

    def _forward_once(self, network: nn.Module) -> None:
        """Run every layer of a network, the learning one or a copy, on any observation."""
        raise NotImplementedError

    def _follow_steps(self) -> None:
        """Call the normalization's `after_step` after each step of the optimizer."""
        norm, (learning, *_) = self._norm_record(), self._networks()
        if norm.after_step is not leave_alone:
            self.optimizer.register_step_post_hook(lambda *_: norm.after_step(learning))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # nn.Module's has no types
        self._follow_steps()  # a copied optimizer has no hooks

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "norm": self.norm,
            "norm_where": self.norm_where,
            "norm_settings": self.norm_settings,
        }


def _refuse_extractor_norm(extractor_options: Mapping[str, Any]) -> None:
    """Raise UsageError if features_extractor_kwargs has norm arguments; they are the policy's."""
    names = [name for name in extractor_options if name.startswith("norm_") or name == "norm"]
    if names:
        raise UsageError(
            f"features_extractor_kwargs has {', '.join(names)}, and the policy normalizes its "
            "extractor itself: pass them to the policy, as policy_kwargs={'norm': 'layer'}; "
            "wnrl.sb3.policy_kwargs is for stock policies"
        )


class NormalizedValues(NormalizedPolicy):
    """Mixin that goes before a policy of action values with a target network."""

    algorithms: ClassVar[tuple[str, ...]] = ("DQN",)
    network_name = "q_net"  # the target network has this name and `_target`

    def _networks(self) -> list[nn.Module]:
        return [getattr(self, self.network_name), getattr(self, f"{self.network_name}_target")]

    def _layout(self) -> Layout:
        return value_layout(self._networks()[0])

    def _forward_once(self, network: nn.Module) -> None:
        network(empty_observations(self.observation_space))

    def set_training_mode(self, mode: bool) -> None:
        """Set the mode, which algorithms do before each update and each rollout."""
        super().set_training_mode(mode)
        if mode:
            # The target is copied without buffers, so its singular vectors are updated here.
            for layer in self._networks()[1].modules():
                if isinstance(layer, Spectral):
                    layer.iterate_(layer.power_iterations)


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

    def _networks(self) -> list[nn.Module]:
        return [self]

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


class WNMlpPolicy(NormalizedValues, DQNPolicy):
    """DQN's `MlpPolicy` with the arguments of `NormalizedPolicy`."""


class WNCnnPolicy(NormalizedValues, CnnPolicy):
    """DQN's `CnnPolicy` with the arguments of `NormalizedPolicy`."""


class WNMultiInputPolicy(NormalizedValues, MultiInputPolicy):
    """DQN's `MultiInputPolicy` with the arguments of `NormalizedPolicy`."""


class WNActorCriticMlpPolicy(NormalizedActorCritic, ActorCriticPolicy):
    """PPO's and A2C's `MlpPolicy` with the arguments of `NormalizedPolicy`."""


class WNActorCriticCnnPolicy(NormalizedActorCritic, ActorCriticCnnPolicy):
    """PPO's and A2C's `CnnPolicy` with the arguments of `NormalizedPolicy`."""


class WNActorCriticMultiInputPolicy(NormalizedActorCritic, MultiInputActorCriticPolicy):
    """PPO's and A2C's `MultiInputPolicy` with the arguments of `NormalizedPolicy`."""
