"""Stable-Baselines3's policies with a normalization: DQN's, and PPO's and A2C's.

A policy is built and initialized by Stable-Baselines3's own class; then its layers are normalized
and it gets an optimizer anew. The classes below differ from the stock ones by a mixin, which stands
before any policy of the same kind: `class Mine(NormalizedActorCritic, MyActorCriticPolicy): ...`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.dqn.policies import CnnPolicy, DQNPolicy, MultiInputPolicy
from torch import nn

from wnrl._settings import UsageError
from wnrl.nn.norms.layers.spectral import Spectral
from wnrl.nn.norms.placement import Layout, place
from wnrl.nn.norms.record import Norm, leave_alone
from wnrl.sb3.clone_policy import without_graph
from wnrl.sb3.extractors import OWN_EXTRACTORS
from wnrl.sb3.layer_names import actor_critic_layout, value_layout
from wnrl.sb3.norm_arguments import find_norm, flags_as_arguments
from wnrl.sb3.normalize import normalize_
from wnrl.sb3.observation_check import check_observations, empty_observations
from wnrl.sb3.optimizer_choice import has_normalizing_form, policy_optimizer


class NormalizedPolicy(BasePolicy):
    """What the mixins share.

    Args:
        arguments: the stock policy's.
        norm: name of an entry of the catalogue, or of one's own (`wnrl.nn.register_norm`).
        norm_where: which layers, in the words of `--norm-where`: torso (all hidden layers), head,
            penultimate, all, policy, value, or layers' names as in `named_modules()`.
        norm_settings: parameters of the normalization by name, `{"eps": 1e-3}`.
        options: the stock policy's. `optimizer_class` and `optimizer_kwargs` are as ever. Where an
            optimizer does the normalization it is the weight-normalizing one of the same rule; if
            there is none, layers have storage "gv", and gains and vectors are stepped.

    Raises:
        UsageError: in one sentence, whatever of this cannot be.
    """

    def __init__(
        self,
        *arguments: Any,
        norm: str = "weight",
        norm_where: str = "torso",
        norm_settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.norm = norm
        self.norm_where = norm_where
        self.norm_settings = dict(norm_settings or {})
        find_norm(norm, self.norm_settings)  # refuse before anything is built
        own = options.get("features_extractor_class") in OWN_EXTRACTORS
        if own:
            _refuse_another_norm(options.get("features_extractor_kwargs") or {})
        if own and options.get("net_arch") is None:
            options["net_arch"] = []  # as NatureCNN, which the stock policies know by its class
        super().__init__(*arguments, **options)
        self._normalize()

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The stock one's, plain: what is normalized in it is for the policy to say."""
        kind, options = self.features_extractor_class, self.features_extractor_kwargs
        scaled = not self.normalize_images
        check_observations(kind, self.observation_space, scaled=scaled)
        if kind in OWN_EXTRACTORS:
            own = {**options, "norm": "none", "normalized_image": scaled}
            return kind(self.observation_space, **own)
        return super().make_features_extractor()

    def _networks(self) -> list[nn.Module]:
        """The network that learns, and copies of it."""
        raise NotImplementedError

    def _layout(self) -> Layout:
        """Of the network that learns."""
        raise NotImplementedError

    def _normalize(self) -> None:
        norm, networks = self._norm_record(), self._networks()
        with flags_as_arguments():
            placed = place(self.norm_where, norm, self._layout())
            for network in networks:
                normalize_(network, norm, placed, partial(self._extract, network))
        learning, *copies = networks
        norm.initialize(learning)
        for network in copies:
            network.load_state_dict(learning.state_dict())
        for network in networks:  # the CPU's convolutions are a third faster then
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub
        self.optimizer = policy_optimizer(
            learning,
            norm,
            self.optimizer_class,
            self.optimizer_kwargs,
            self.optimizer.param_groups[0]["lr"],
        )
        self._follow_steps()

    def _norm_record(self) -> Norm:
        # Found by its name each time: a record holds functions that cannot be pickled.
        norm = find_norm(self.norm, self.norm_settings)
        if has_normalizing_form(self.optimizer_class, self.optimizer_kwargs):
            return norm
        return norm.in_storage("gv")  # whose gains and vectors any optimizer may step

    @torch.no_grad()
    def _extract(self, network: nn.Module) -> None:
        """Run the features extractors of a network once."""
        space = self.observation_space
        seen = preprocess_obs(empty_observations(space), space, self.normalize_images)
        for extractor in network.children():
            if isinstance(extractor, BaseFeaturesExtractor):
                extractor(seen)

    def _follow_steps(self) -> None:
        """Let the normalization act after each step of the optimizer."""
        norm, (learning, *_) = self._norm_record(), self._networks()
        if norm.after_step is not leave_alone:
            self.optimizer.register_step_post_hook(lambda *_: norm.after_step(learning))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's has no types
        self._follow_steps()  # a copied optimizer has no hooks

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {
            "norm": self.norm,
            "norm_where": self.norm_where,
            "norm_settings": self.norm_settings,
        }
        return {**super()._get_constructor_parameters(), **own}


def _refuse_another_norm(extractor_options: Mapping[str, Any]) -> None:
    """UsageError where an extractor is told what is for its policy to say."""
    told = [name for name in extractor_options if name.startswith("norm_") or name == "norm"]
    if told:
        raise UsageError(
            f"features_extractor_kwargs has {', '.join(told)}, and the policy normalizes its "
            "extractor itself: give them to the policy, as policy_kwargs={'norm': 'layer'}; "
            "wnrl.sb3.policy_kwargs is for stock policies"
        )


class NormalizedValues(NormalizedPolicy):
    """Stands before a policy of action values with a target network; as `NormalizedPolicy`."""

    network_name = "q_net"  # the target's is this and `_target`

    def _networks(self) -> list[nn.Module]:
        return [getattr(self, self.network_name), getattr(self, f"{self.network_name}_target")]

    def _layout(self) -> Layout:
        return value_layout(self._networks()[0])

    def set_training_mode(self, mode: bool) -> None:
        """As the stock one's, before each update and each rollout."""
        super().set_training_mode(mode)
        if mode:
            # The target is copied without buffers: its vectors follow its weights by themselves.
            for layer in self._networks()[1].modules():
                if isinstance(layer, Spectral):
                    layer.iterate_(layer.power_iterations)


class NormalizedActorCritic(NormalizedPolicy):
    """Stands before a policy with a value; as `NormalizedPolicy`.

    Unlike the stock one's it is copied and pickled after training too, and `save` keeps
    `share_features_extractor`.
    """

    def _networks(self) -> list[nn.Module]:
        return [self]

    def _layout(self) -> Layout:
        return actor_critic_layout(self)

    def __getstate__(self) -> dict[str, Any]:
        assert isinstance(self.action_dist, Distribution)
        return {**self.__dict__, "action_dist": without_graph(self.action_dist)}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        shared = {"share_features_extractor": self.share_features_extractor}
        return {**super()._get_constructor_parameters(), **shared}


class WNMlpPolicy(NormalizedValues, DQNPolicy):
    """DQN's `MlpPolicy`; arguments as `NormalizedPolicy`."""


class WNCnnPolicy(NormalizedValues, CnnPolicy):
    """DQN's `CnnPolicy`; arguments as `NormalizedPolicy`."""


class WNMultiInputPolicy(NormalizedValues, MultiInputPolicy):
    """DQN's `MultiInputPolicy`; arguments as `NormalizedPolicy`."""


class WNActorCriticMlpPolicy(NormalizedActorCritic, ActorCriticPolicy):
    """PPO's and A2C's `MlpPolicy`; arguments as `NormalizedPolicy`."""


class WNActorCriticCnnPolicy(NormalizedActorCritic, ActorCriticCnnPolicy):
    """PPO's and A2C's `CnnPolicy`; arguments as `NormalizedPolicy`."""


class WNActorCriticMultiInputPolicy(NormalizedActorCritic, MultiInputActorCriticPolicy):
    """PPO's and A2C's `MultiInputPolicy`; arguments as `NormalizedPolicy`."""
