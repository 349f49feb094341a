"""An optimizer's state in the terms of the other storage of weight normalization.

`PAIRS` lists torch's optimizers, which step g and v, with the optimizers of `wnrl.optim` that
follow the same trajectory over w. The functions translate settings and state between the two;
`storages` converts the layers.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.optimizer_aten import HALF
from wnrl.kernels.reference import decompose, effective_weight
from wnrl.kernels.row_layout import output_back, output_first
from wnrl.optim.arguments import Group, output_axis, starting_norm
from wnrl.optim.normalizing_step import SMALLEST_GAIN, TYPES
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop

State = dict[str, Tensor]
GainAndVector = tuple[nn.Parameter, nn.Parameter]


@dataclass(frozen=True)
class OptimizerPair:
    """An optimizer of torch for g and v, and the one that takes the same steps over w."""

    plain: type[torch.optim.Optimizer]
    normalizing: type[torch.optim.Optimizer]
    settings: tuple[str, ...]  # settings of a group, with the same name in both
    options: tuple[str, ...] = ()  # per group in torch's, per optimizer in `wnrl.optim`


PAIRS = (
    OptimizerPair(torch.optim.Adam, WNAdam, ("lr", "betas", "eps")),
    OptimizerPair(torch.optim.Adamax, WNAdamax, ("lr", "betas", "eps")),
    OptimizerPair(torch.optim.RAdam, WNRAdam, ("lr", "betas", "eps")),
    OptimizerPair(torch.optim.RMSprop, WNRMSprop, ("lr", "alpha", "eps"), ("centered",)),
    OptimizerPair(torch.optim.SGD, WNSGD, ("lr", "momentum"), ("momentum",)),
)
# Settings of torch's optimizers that those of `wnrl.optim` do not have.
_UNSUPPORTED = ("weight_decay", "amsgrad", "maximize", "nesterov", "dampening")


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[nn.Parameter]:
    """Yield every parameter of every group, in order."""
    for group in optimizer.param_groups:
        yield from group["params"]


def pair_of_plain(optimizer: torch.optim.Optimizer) -> OptimizerPair:
    """Return the pair of an optimizer of torch.

    Raises:
        UsageError: another optimizer, or settings or types that `wnrl.optim` does not support.
    """
    pair = next((pair for pair in PAIRS if pair.plain is type(optimizer)), None)
    if pair is None:
        known = ", ".join(pair.plain.__name__ for pair in PAIRS)
        raise UsageError(f"to_w_ got {type(optimizer).__name__}: it takes torch's {known}")
    unsupported = _UNSUPPORTED if "momentum" in pair.settings else (*_UNSUPPORTED, "momentum")
    first = optimizer.param_groups[0]
    for group in optimizer.param_groups:
        for name in unsupported:
            if group.get(name):
                raise UsageError(
                    f"to_w_ cannot continue {name}={group[name]!r}: the optimizers of wnrl.optim "
                    f"have no {name}"
                )
        for name in pair.options:
            if group[name] != first[name]:
                raise UsageError(
                    f"to_w_ met {name}={first[name]!r} and {group[name]!r}: "
                    f"{pair.normalizing.__name__} has one for all groups"
                )
    _check_types(optimizer)
    return pair


def pair_of_normalizing(optimizer: torch.optim.Optimizer) -> OptimizerPair:
    """Return the pair of an optimizer of `wnrl.optim`.

    Raises:
        UsageError: another optimizer, or parameters of another type.
    """
    pair = next((pair for pair in PAIRS if pair.normalizing is type(optimizer)), None)
    if pair is None:
        known = ", ".join(pair.normalizing.__name__ for pair in PAIRS)
        raise UsageError(f"to_gv_ got {type(optimizer).__name__}: it takes {known}")
    _check_types(optimizer)
    return pair


def _check_types(optimizer: torch.optim.Optimizer) -> None:
    for parameter in parameters_of(optimizer):
        if parameter.dtype not in TYPES:
            raise UsageError(
                f"a parameter is {parameter.dtype}: an optimizer's state is converted in float32, "
                "float64 or bfloat16 only"
            )


def group_settings(group: Group, pair: OptimizerPair) -> Group:
    """Return a copy of the settings that both optimizers of a pair have."""
    names = (*pair.settings, "initial_lr")  # the last belongs to a schedule
    return {name: copy.copy(group[name]) for name in names if name in group}


def state_of_w(
    states: Any, g: nn.Parameter, v: nn.Parameter, names: tuple[str, ...], axis: int
) -> State:
    """Return the state of w in an optimizer of `wnrl.optim`, from torch's states of g and v.

    `axis` is the output axis of v; it comes first in the state.
    """
    wide = output_first(_wide(v.detach()), axis)
    length = torch.linalg.vector_norm(wide.flatten(1), dim=1, keepdim=True)  # (O, ...) -> (O, 1)
    sign = torch.where(g < 0, -1.0, 1.0).to(length).reshape(length.shape)
    state = {"updates": _updates(states, v), "norm": length, "sign": sign}
    of_g, of_v = _moments(states, g, names), _moments(states, v, names)
    for name in names:
        moment = of_v.get(name)
        state[name] = torch.zeros_like(wide) if moment is None else output_first(moment, axis)
        state[f"{name}_g"] = of_g.get(name, torch.zeros_like(length)).reshape(length.shape)
    if v.dtype == HALF:
        state["master"] = wide_weight(output_first(g, axis), output_first(v, axis))
    return state


def state_of_plain(states: Any, parameter: nn.Parameter, names: tuple[str, ...]) -> State:
    """Return the state of a plain parameter in `wnrl.optim`, from torch's; empty without one."""
    moments = _moments(states, parameter, names)
    if not moments:
        return {}
    state = {**moments, "updates": _updates(states, parameter)}
    if parameter.dtype == HALF:
        state["master"] = parameter.detach().float()
    return state


def state_of_torch(
    state: State, target: nn.Parameter, names: tuple[str, ...], axis: int, suffix: str = ""
) -> State:
    """Return torch's moments of a parameter from a state of `wnrl.optim`.

    Args:
        state: state of w or of a plain parameter.
        target: g, v or the plain parameter.
        names: the moments' names.
        axis: output axis of the target.
        suffix: "_g" for the moments of g.
    """
    shape = output_first(target, axis).shape
    moments = {name: state[name + suffix].reshape(shape).to(target.dtype) for name in names}
    return {name: output_back(moment, axis) for name, moment in moments.items()}


def _moments(states: Any, parameter: nn.Parameter, names: tuple[str, ...]) -> State:
    """Return torch's moments of a parameter, in float32 for bfloat16; empty at first."""
    state = states.get(parameter, {})
    moments = {name: state[name] for name in names if isinstance(state.get(name), Tensor)}
    return {name: _wide(moment) for name, moment in moments.items()}


def _updates(states: Any, parameter: nn.Parameter) -> Tensor:
    """Return () torch's number of steps; 0 for SGD, which does not count."""
    step = states.get(parameter, {}).get("step", 0)
    return torch.tensor(float(step), device=parameter.device)


def output_axes(optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, int]:
    """Return the output axis of each parameter's group."""
    return {p: output_axis(group) for group in optimizer.param_groups for p in group["params"]}


def starting_norms(optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, Any]:
    """Return the `v_norm` of each parameter's group."""
    return {
        parameter: group.get("v_norm", "weight")
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def split_weight(
    parameter: nn.Parameter, state: State | None, v_norms: dict[nn.Parameter, Any], axis: int
) -> tuple[Tensor, Tensor]:
    """Return (g, v) of a weight w, shaped as it is: g = s ||w||, v = (n / g) w, new tensors.

    Args:
        parameter: w.
        state: the optimizer's state, which holds n and s; None before the first step.
        v_norms: by parameter, the `v_norm` from which n starts.
        axis: output axis of w; the other axes of g have size 1.
    """
    weight = output_first(parameter, axis)
    if state:
        weight = state.get("master", weight)  # of a bfloat16 weight
    v, g = decompose(_wide(weight.detach()))
    length = torch.linalg.vector_norm(v.flatten(1), dim=1, keepdim=True)  # (O, 1)
    if state and "norm" in state:
        norm, sign = state["norm"], state["sign"]
    else:
        norm = starting_norm(v_norms.get(parameter, "weight"), g.flatten(1), v[0].numel())
        sign = torch.ones_like(norm)
    norm = torch.where(norm > 0, norm, length)  # a row that has been zero from the start
    scale = (sign * norm / length).reshape(g.shape)
    g, v = g * sign.reshape(g.shape), v * scale
    return output_back(g, axis), output_back(v, axis)


def wide_weight(g: Tensor, v: Tensor) -> Tensor:
    """Return w (O, ...) of a bfloat16 g and v in float32."""
    wide_g, wide_v = g.detach().float(), v.detach().float()
    return effective_weight(wide_v, wide_g) + smallest_weight(wide_g, wide_v)


def smallest_weight(g: Tensor, v: Tensor) -> Tensor:
    """Return what to add to w (O, ...) if g is too close to 0 to keep the direction of v."""
    tiny = (g.abs() < SMALLEST_GAIN).to(v.dtype) * SMALLEST_GAIN
    return tiny * nn.functional.normalize(v.flatten(1)).reshape(v.shape)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == HALF else tensor
