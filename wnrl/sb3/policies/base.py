"""The mixin of all normalized policies."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from wnrl._settings import UsageError
from wnrl.nn.norms.left_plain import warn_of_plain
from wnrl.nn.norms.placement import Layout, canonical_where, place
from wnrl.nn.norms.record import InPlace, Norm, Penalty, leave_alone
from wnrl.sb3.builder import check_algorithm, in_storage_of_algorithm
from wnrl.sb3.extractors import OWN_EXTRACTORS
from wnrl.sb3.norm_arguments import check_arguments, find_norm, policy_arguments
from wnrl.sb3.normalize import KINDS, follow_singular_vectors_, normalize_, to_memory_format_
from wnrl.sb3.observation_check import check_observations
from wnrl.sb3.optimizer_choice import has_normalizing_form, policy_optimizer


class Learner(NamedTuple):
    """A network that an optimizer steps."""

    network: nn.Module
    targets: Sequence[nn.Module]  # networks of the same kind that follow it and are never stepped
    owner: BaseModel  # holds its `optimizer`
    stepped: nn.Module  # module with the parameters that the optimizer gets


class NormalizedPolicy(BasePolicy):
    """Base of the mixins.

    The class attributes `norm`, `norm_where` and `norm_settings` are the defaults of the arguments.
    A subclass may set others, for programs that make policies without arguments.

    Args:
        arguments: arguments of the stock policy.
        norm: name of a normalization, registered ones included (`wnrl.nn.register_norm`).
        norm_where: layers to normalize, separated by commas: torso (all hidden layers), head,
            penultimate, all, policy, value (actor, critic in a policy that has these networks), or
            names of layers in `named_modules()`. Empty: the normalization's own place.
        norm_settings: parameters of the normalization by name, for example `{"eps": 1e-3}`.
        options: keyword arguments of the stock policy. If the optimizer does the normalization, it
            is the weight-normalizing form of `optimizer_class`. If there is no such form, layers
            have storage "gv", and `optimizer_class` steps gains and vectors.

    Raises:
        UsageError: an argument that cannot be used, or another algorithm's policy.
    """

    algorithms: ClassVar[tuple[str, ...]]  # names of those whose policy it is
    image_net_arch: ClassVar[tuple[int, ...]] = ()  # the stock policies' `net_arch` for NatureCNN
    norm: str = "weight"
    norm_where: str = ""  # empty: the normalization's own place
    norm_settings: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        *arguments: Any,
        norm: str | None = None,
        norm_where: str | None = None,
        norm_settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        check_algorithm(type(self), self.algorithms)
        norm = self.norm if norm is None else norm
        norm_where = self.norm_where if norm_where is None else norm_where
        norm_settings = self.norm_settings if norm_settings is None else norm_settings
        check_arguments(type(self), norm_where, norm_settings, options)
        record = find_norm(norm, norm_settings)  # raises before anything is built
        self.norm, self.norm_settings = norm, dict(norm_settings)
        self.norm_where = norm_where or record.where
        if options.get("features_extractor_class") in OWN_EXTRACTORS:
            _refuse_extractor_norm(options.get("features_extractor_kwargs") or {})
            if options.get("net_arch") is None:
                options["net_arch"] = list(self.image_net_arch)
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

    def _learners(self) -> list[Learner]:
        """Return the networks that learn."""
        raise NotImplementedError

    def _networks(self) -> list[nn.Module]:
        """Return the modules in which layers are placed by name, the one of `_layout` first."""
        return [self]

    def _layout(self) -> Layout:
        """Return the layout of what learns."""
        raise NotImplementedError

    def _placed(self, norm: Norm) -> Collection[str]:
        """Return the names of the layers to normalize, in each of `_networks`."""
        return place(self.norm_where, norm, self._layout())

    def _forward_once(self, network: nn.Module) -> None:
        """Run every layer of one of `_networks` on any observation."""
        raise NotImplementedError

    def _normalize(self) -> None:
        norm, networks = self._norm_record(), self._networks()
        with policy_arguments():
            placed = self._placed(norm)
            if norm.has_place and {"torso", "all"} & set(
                canonical_where(self.norm_where).split(",")
            ):
                warn_of_plain(type(self).__name__, networks[0], _learns, KINDS)
            for network in networks:
                normalize_(network, norm, placed, partial(self._forward_once, network))
        for learner in self._learners():
            norm.initialize(learner.network)
            for target in learner.targets:
                target.load_state_dict(learner.network.state_dict())
                follow_singular_vectors_(target)
        for network in networks:  # convolutions on the CPU are a third faster in this format
            to_memory_format_(network, torch.channels_last)
        for learner in self._learners():
            learner.owner.optimizer = policy_optimizer(
                learner.stepped,
                norm,
                self.optimizer_class,
                self.optimizer_kwargs,
                learner.owner.optimizer.param_groups[0]["lr"],
            )
        self._follow_steps()

    def _norm_record(self) -> Norm:
        # By name each time, because a record holds functions that cannot be pickled.
        norm = in_storage_of_algorithm(find_norm(self.norm, self.norm_settings))
        if has_normalizing_form(self.optimizer_class, self.optimizer_kwargs):
            return norm
        return norm.in_storage("gv")  # any optimizer may step gains and vectors

    def _follow_steps(self) -> None:
        """Do the normalization's part of each step: its penalty before, `after_step` after it."""
        norm = self._norm_record()
        for learner in self._learners():
            optimizer, network = learner.owner.optimizer, learner.stepped
            if norm.penalty is not None:
                optimizer.register_step_pre_hook(_with_penalty(norm.penalty, network))
            if norm.after_step is not leave_alone:
                optimizer.register_step_post_hook(_after_step(norm.after_step, network))

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


def _learns(name: str, layer: nn.Module) -> bool:
    """Leave out target networks, whose layers would be named twice, and a network's `log_std`."""
    return not (name.partition(".")[0].endswith("_target") or isinstance(layer, BaseModel))


def _with_penalty(penalty: Penalty, network: nn.Module) -> Callable[..., None]:
    """Return a hook that adds a penalty's gradient to that of SB3's loss, which SB3 has clipped."""

    def add_gradient(*_: Any) -> None:
        with torch.enable_grad():  # an optimizer's step turns it off
            torch.autograd.backward(penalty(network))

    return add_gradient


def _after_step(change: InPlace, network: nn.Module) -> Callable[..., None]:
    return lambda *_: change(network)


def _refuse_extractor_norm(extractor_options: Mapping[str, Any]) -> None:
    """Raise UsageError if features_extractor_kwargs has norm arguments; they are the policy's."""
    names = [name for name in extractor_options if name.startswith("norm_") or name == "norm"]
    if names:
        raise UsageError(
            f"features_extractor_kwargs has {', '.join(names)}, and the policy normalizes its "
            "extractor itself: pass them to the policy, as policy_kwargs={'norm': 'layer'}; "
            "wnrl.sb3.policy_kwargs is for stock policies"
        )
