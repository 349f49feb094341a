"""Weight-normalizing optimizers as Stable-Baselines3 wants one, and which one a policy gets.

Stable-Baselines3 gives an optimizer one list of parameters, writes `lr` into its groups, clips the
gradients itself before the step (so it clips dL/dw, which is not the gradient of g and v), and
loads whatever `state_dict` a checkpoint has.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from wnrl.errors import UsageError
from wnrl.nn.norm import Norm, build_optimizer
from wnrl.nn.weight_norm import weight_norm_groups
from wnrl.optim import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop
from wnrl.stepping import ClippedStep, OptimizerSpec

_MARK = "_weight_normalized"
_STATE = "weight_norm_state"  # key of ours in the state that torch's optimizer reads
_IMPLEMENTATIONS = ("foreach", "fused", "capturable", "differentiable")  # of torch's optimizers


def mark_weights_(network: nn.Module) -> None:
    """Mark the weights of layers with storage "w", for an optimizer that sees parameters alone."""
    for group in weight_norm_groups(network):
        for parameter in group["params"]:
            setattr(parameter, _MARK, group["weight_norm"])


class _InOneList(torch.optim.Optimizer):
    """What the classes below share. It stands before one of `wnrl.optim`'s.

    It takes parameters in one list and normalizes those that are marked. Its `state_dict` is one
    that torch's optimizer of the same rule can load, and the other way round: what was learnt goes
    over with the weights, while the moments begin anew, for those of g and v mean nothing to a
    step in w.
    """

    plain: type[torch.optim.Optimizer]  # of the same rule

    def __init__(self, params: Iterable[nn.Parameter], *arguments: Any, **settings: Any) -> None:
        listed = list(params)
        groups = [
            {"params": chosen, "weight_norm": flag}
            for flag in (True, False)
            if (chosen := [p for p in listed if getattr(p, _MARK, False) == flag])
        ]
        super().__init__(groups, *arguments, **settings)

    def state_dict(self) -> dict[str, Any]:
        """One group without state, as torch's own before its first step; ours is inside."""
        own = super().state_dict()
        plain: Any = self.plain
        settings = plain([torch.zeros(1)]).defaults
        first = own["param_groups"][0]
        count = sum(len(group["params"]) for group in own["param_groups"])
        group = {name: first.get(name, default) for name, default in settings.items()}
        return {
            "state": {},
            "param_groups": [{**group, "params": list(range(count)), _STATE: own}],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the state was taken; from torch's own, begin anew at its learning rate."""
        first = state_dict["param_groups"][0]
        if _STATE in first and not state_dict["state"]:  # torch's has not stepped since
            super().load_state_dict(first[_STATE])
            return
        self.state.clear()
        for group in self.param_groups:
            group["lr"] = first["lr"]


class PolicyWNAdam(_InOneList, WNAdam):
    """`WNAdam` of a policy's parameters."""

    plain = torch.optim.Adam


class PolicyWNAdamax(_InOneList, WNAdamax):
    """`WNAdamax` of a policy's parameters."""

    plain = torch.optim.Adamax


class PolicyWNRAdam(_InOneList, WNRAdam):
    """`WNRAdam` of a policy's parameters."""

    plain = torch.optim.RAdam


class PolicyWNRMSprop(_InOneList, WNRMSprop):
    """`WNRMSprop` of a policy's parameters."""

    plain = torch.optim.RMSprop


class PolicyWNSGD(_InOneList, WNSGD):
    """`WNSGD` of a policy's parameters."""

    plain = torch.optim.SGD


_NORMALIZING: tuple[type[_InOneList], ...] = (
    PolicyWNAdam,
    PolicyWNAdamax,
    PolicyWNRAdam,
    PolicyWNRMSprop,
    PolicyWNSGD,
)


def normalizing(kind: type[torch.optim.Optimizer]) -> type[_InOneList]:
    """The class that walks (g, v) by the rule of torch's class, or of one of `wnrl.optim`'s.

    Raises:
        UsageError: there is none.
    """
    for ours in _NORMALIZING:
        if kind in (ours, ours.plain, *ours.__bases__[1:]):
            return ours
    allowed = ", ".join(ours.plain.__name__ for ours in _NORMALIZING)
    raise UsageError(
        f"optimizer_class is {kind.__name__}, whose step has no weight-normalizing form: allowed "
        f"are {allowed} and those of wnrl.optim"
    )


def normalizing_settings(
    kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What `normalizing(kind)` takes of `optimizer_kwargs`; what changes no step is left out.

    Raises:
        UsageError: a setting that it does not have, such as a weight decay.
    """
    ours = normalizing(kind)
    known = inspect.signature(ours.__bases__[1]).parameters
    for name, value in settings.items():
        if name not in known and name not in _IMPLEMENTATIONS and value:
            raise UsageError(
                f"optimizer_kwargs has {name}={value!r}, which weight-normalizing "
                f"{ours.plain.__name__} does not have: allowed are "
                f"{', '.join(name for name in known if name not in ('params', 'lr'))}"
            )
    return {name: value for name, value in settings.items() if name in known}


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
        kind: `optimizer_class`. Layers whose weights the optimizer normalizes get the
            weight-normalizing class of its rule.
        settings: `optimizer_kwargs`.
        learning_rate: the first one.

    Raises:
        UsageError: a class or setting that the normalization cannot go with.
    """
    any_kind: Any = kind  # torch types no optimizer's own arguments
    if norm.optimizer is not build_optimizer:
        return _norms_own(network, norm, kind, settings, learning_rate)
    if any(group["weight_norm"] for group in weight_norm_groups(network)):
        mark_weights_(network)
        any_kind, settings = normalizing(kind), normalizing_settings(kind, settings)
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
