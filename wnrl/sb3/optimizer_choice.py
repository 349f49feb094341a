"""Choice of a policy's optimizer: `optimizer_class`, in the form that its normalization needs."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from wnrl._settings import UsageError
from wnrl.nn.norms.record import Norm, build_optimizer
from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.nn.weight_norm.parametrization import computed_weights
from wnrl.optim.step import ClippedStep, OptimizerSpec
from wnrl.sb3.optimizers import (
    InOneList,
    PolicyWNAdam,
    PolicyWNAdamax,
    PolicyWNRAdam,
    PolicyWNRMSprop,
    PolicyWNSGD,
    mark_weights_,
    start_again_with_other_parameters,
)

# Options of torch's optimizers that choose an implementation and change no step.
_IMPLEMENTATIONS = ("foreach", "fused", "capturable", "differentiable")
_NORMALIZING: tuple[type[InOneList], ...] = (
    PolicyWNAdam,
    PolicyWNAdamax,
    PolicyWNRAdam,
    PolicyWNRMSprop,
    PolicyWNSGD,
)


def normalizing(kind: type[torch.optim.Optimizer]) -> type[InOneList] | None:
    """Return the weight-normalizing class with the rule of a class of torch or `wnrl.optim`."""
    for ours in _NORMALIZING:
        if kind in (ours, ours.plain, *ours.__bases__[1:]):
            return ours
    return None


def has_normalizing_form(kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> bool:
    """Return whether `wnrl.optim` has the same rule; it has no AdamW and no weight decay."""
    ours = normalizing(kind)
    return ours is not None and all(
        name in _parameters(ours) or name in _IMPLEMENTATIONS or not value
        for name, value in settings.items()
    )


def _parameters(ours: type[InOneList]) -> Collection[str]:
    return inspect.signature(ours.__bases__[1]).parameters


def policy_optimizer(
    network: nn.Module,
    norm: Norm,
    kind: type[torch.optim.Optimizer],
    settings: Mapping[str, Any],
    learning_rate: float,
) -> torch.optim.Optimizer:
    """Build the optimizer of a normalized network.

    Args:
        network: normalized and initialized network; all its parameters are stepped.
        norm: the network's normalization.
        kind: `optimizer_class`. For weights of storage "w" the weight-normalizing class with the
            same rule is used; `has_normalizing_form` must be true.
        settings: `optimizer_kwargs`. Options that change no step are left out.
        learning_rate: initial learning rate.

    Raises:
        UsageError: a class or setting that a normalization with its own optimizer cannot use.
    """
    any_kind: Any = kind  # the base class's type lacks the arguments of its subclasses
    if norm.optimizer is not build_optimizer:
        return _own_optimizer(network, norm, kind, settings, learning_rate)
    if any(group["weight_norm"] for group in weight_norm_groups(network)):
        any_kind = ours = normalizing(kind)
        assert ours is not None, "the policy chose storage w because this form exists"
        mark_weights_(network)
        settings = {name: value for name, value in settings.items() if name in _parameters(ours)}
    optimizer: torch.optim.Optimizer = any_kind(network.parameters(), lr=learning_rate, **settings)
    if next(computed_weights(network), None) is not None:
        optimizer.register_load_state_dict_pre_hook(start_again_with_other_parameters)
    return optimizer


def _own_optimizer(
    network: nn.Module,
    norm: Norm,
    kind: type[torch.optim.Optimizer],
    settings: Mapping[str, Any],
    learning_rate: float,
) -> torch.optim.Optimizer:
    """Build the optimizer that a normalization defines itself, from an `OptimizerSpec`."""
    names = {torch.optim.Adam: "adam", torch.optim.RMSprop: "rmsprop"}
    names |= {torch.optim.Adamax: "adamax", torch.optim.RAdam: "radam"}
    wanted = {name: value for name, value in settings.items() if value}
    unknown = [name for name in wanted if name not in ("eps", "betas", "alpha", "centered")]
    if kind not in names or unknown:
        raise UsageError(
            f"optimizer_class {kind.__name__} with {dict(settings)}: norm {norm.name!r} builds its "
            "own optimizer, from Adam, Adamax, RAdam or RMSprop with eps, betas, alpha, centered"
        )
    spec = OptimizerSpec(name=names[kind], learning_rate=learning_rate, **wanted)
    made = norm.optimizer(network, spec)
    inner = made.optimizer if isinstance(made, ClippedStep) else made
    if not isinstance(inner, torch.optim.Optimizer):
        raise UsageError(
            f"norm {norm.name!r} builds a {type(made).__name__}, which Stable-Baselines3 cannot "
            "use: it needs an optimizer of torch or wnrl.optim"
        )
    return inner
