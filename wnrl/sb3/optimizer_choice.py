"""Which optimizer steps a policy: what `optimizer_class` says, in the form that its norm needs."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from wnrl._settings import UsageError
from wnrl.nn.norms.record import Norm, build_optimizer
from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.optim.step import ClippedStep, OptimizerSpec
from wnrl.sb3.optimizers import (
    InOneList,
    PolicyWNAdam,
    PolicyWNAdamax,
    PolicyWNRAdam,
    PolicyWNRMSprop,
    PolicyWNSGD,
    mark_weights_,
)

_IMPLEMENTATIONS = ("foreach", "fused", "capturable", "differentiable")  # of torch's optimizers
_NORMALIZING: tuple[type[InOneList], ...] = (
    PolicyWNAdam,
    PolicyWNAdamax,
    PolicyWNRAdam,
    PolicyWNRMSprop,
    PolicyWNSGD,
)


def normalizing(kind: type[torch.optim.Optimizer]) -> type[InOneList] | None:
    """The class that walks (g, v) by the rule of torch's class, or of one of `wnrl.optim`'s."""
    for ours in _NORMALIZING:
        if kind in (ours, ours.plain, *ours.__bases__[1:]):
            return ours
    return None


def has_normalizing_form(kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> bool:
    """Whether one of `wnrl.optim` takes the same step: not AdamW's, and no weight decay."""
    ours = normalizing(kind)
    return ours is not None and all(
        name in _known(ours) or name in _IMPLEMENTATIONS or not value
        for name, value in settings.items()
    )


def _known(ours: type[InOneList]) -> Collection[str]:
    return inspect.signature(ours.__bases__[1]).parameters


def policy_optimizer(
    network: nn.Module,
    norm: Norm,
    kind: type[torch.optim.Optimizer],
    settings: Mapping[str, Any],
    learning_rate: float,
) -> torch.optim.Optimizer:
    """What steps a normalized network.

    Args:
        network: normalized and initialized; all its parameters are stepped.
        norm: its normalization.
        kind: `optimizer_class`. A network with weights of storage "w" gets the weight-normalizing
            class of its rule, which `has_normalizing_form` says there is.
        settings: `optimizer_kwargs`; of those, what changes no step is left out.
        learning_rate: the first one.

    Raises:
        UsageError: a class or setting that a normalization with its own optimizer does not take.
    """
    any_kind: Any = kind  # torch types no optimizer's own arguments
    if norm.optimizer is not build_optimizer:
        return _norms_own(network, norm, kind, settings, learning_rate)
    if any(group["weight_norm"] for group in weight_norm_groups(network)):
        any_kind = ours = normalizing(kind)
        assert ours is not None, "storage w is for optimizers that have such a form"
        mark_weights_(network)
        settings = {name: value for name, value in settings.items() if name in _known(ours)}
    made = any_kind(network.parameters(), lr=learning_rate, **settings)
    assert isinstance(made, torch.optim.Optimizer)
    return made


def _norms_own(
    network: nn.Module,
    norm: Norm,
    kind: type[torch.optim.Optimizer],
    settings: Mapping[str, Any],
    learning_rate: float,
) -> torch.optim.Optimizer:
    """The optimizer that a normalization makes by itself, from what a spec can say."""
    names = {torch.optim.Adam: "adam", torch.optim.RMSprop: "rmsprop"}
    names |= {torch.optim.Adamax: "adamax", torch.optim.RAdam: "radam"}
    wanted = {name: value for name, value in settings.items() if value}
    unknown = [name for name in wanted if name not in ("eps", "betas", "alpha", "centered")]
    if kind not in names or unknown:
        raise UsageError(
            f"optimizer_class {kind.__name__} with {dict(settings)}: norm {norm.name!r} makes its "
            "own optimizer, from Adam, Adamax, RAdam or RMSprop with eps, betas, alpha, centered"
        )
    spec = OptimizerSpec(name=names[kind], learning_rate=learning_rate, **wanted)
    made = norm.optimizer(network, spec)
    inner = made.optimizer if isinstance(made, ClippedStep) else made
    if not isinstance(inner, torch.optim.Optimizer):
        raise UsageError(
            f"norm {norm.name!r} makes a {type(made).__name__}, which Stable-Baselines3 cannot "
            "hold: a torch optimizer, or one of wnrl.optim, is needed"
        )
    return inner
