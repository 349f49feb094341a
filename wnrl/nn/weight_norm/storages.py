"""One storage of weight normalization to the other, with the optimizer's state.

Every conversion keeps the function that a network computes, to rounding, and the trajectory that
its optimizer walks. Layers are converted in place. Not here: plain layers
(wnrl.nn.weight_norm.convert).
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.optimizer_aten import HALF
from wnrl.kernels.reference import decompose, effective_weight
from wnrl.nn.weight_norm.parametrization import (
    WeightNormalized,
    check_options,
    computed_weights,
    effective_weights,
)
from wnrl.optim.step import ClippedStep
from wnrl.optim.weight_norm import (
    SMALLEST_GAIN,
    TYPES,
    WNSGD,
    Group,
    WNAdam,
    WNAdamax,
    WNRAdam,
    WNRMSprop,
    starting_norm,
)


@dataclass(frozen=True)
class Kin:
    """What steps a network of storage "gv", and what steps the same trajectory over storage "w"."""

    plain: type[torch.optim.Optimizer]
    normalizing: type[torch.optim.Optimizer]
    settings: tuple[str, ...]  # of a group, the same name in both
    options: tuple[str, ...] = ()  # of the whole optimizer in ours, of each group in torch's


KIN = (
    Kin(torch.optim.Adam, WNAdam, ("lr", "betas", "eps")),
    Kin(torch.optim.Adamax, WNAdamax, ("lr", "betas", "eps")),
    Kin(torch.optim.RAdam, WNRAdam, ("lr", "betas", "eps")),
    Kin(torch.optim.RMSprop, WNRMSprop, ("lr", "alpha", "eps"), ("centered",)),
    Kin(torch.optim.SGD, WNSGD, ("lr", "momentum"), ("momentum",)),
)


_UNKNOWN = ("weight_decay", "amsgrad", "maximize", "nesterov", "dampening")  # ours have none


@torch.no_grad()
def to_w_(
    module: nn.Module, optimizer: torch.optim.Optimizer | ClippedStep
) -> torch.optim.Optimizer:
    """Turn layers of storage "gv" into storage "w", and continue the same trajectory.

    Args:
        module: the network; every layer of storage "gv" in it is converted in place.
        optimizer: torch's Adam, Adamax, RAdam, RMSprop or SGD that steps it, or a `ClippedStep`
            around one. It must not be used any more; nor a schedule that holds it.

    Returns:
        The weight-normalizing optimizer of the same rule, with the same groups, settings, moments
        and counts; ||v|| and the sign of g are taken from g and v. A gain closer to 0 than 1e-12
        is taken to be that, for w = 0 would lose the direction. A bfloat16 weight gets the float32
        master that ours keep: w as its g and v give it, before rounding; from there on its steps
        are those of float32, where torch's round g and v to bfloat16 at each.

    Raises:
        UsageError: on another optimizer or a setting of it that ours do not have, on float16, or
            on layers whose gain or cap storage "w" does not have. Nothing has changed then.
    """
    inner = optimizer.optimizer if isinstance(optimizer, ClippedStep) else optimizer
    max_norm = optimizer.max_norm if isinstance(optimizer, ClippedStep) else None
    kin = next((kin for kin in KIN if kin.plain is type(inner)), None)
    if kin is None:
        known = ", ".join(kin.plain.__name__ for kin in KIN)
        raise UsageError(f"to_w_ got {type(inner).__name__}: it takes torch's {known}")
    unknown = _UNKNOWN if "momentum" in kin.settings else (*_UNKNOWN, "momentum")
    first = inner.param_groups[0]
    for group in inner.param_groups:
        for name in unknown:
            if group.get(name):
                raise UsageError(f"to_w_ cannot continue {name}={group[name]!r}: ours have none")
        for name in kin.options:
            if group[name] != first[name]:
                raise UsageError(
                    f"to_w_ met {name}={first[name]!r} and {group[name]!r}: ours have one for all"
                )
    _check_types(inner)
    for layer, _ in computed_weights(module):
        check_options("w", layer.gain, layer.gain_scale, layer.max_v_norm)
    parts: dict[nn.Parameter, tuple[nn.Parameter, nn.Parameter]] = {}
    store_w_(list(computed_weights(module)), parts)
    replaced = {v: weight for weight, (_, v) in parts.items()}
    gains = {g for g, _ in parts.values()}
    groups: list[Group] = []
    for group in inner.param_groups:
        for flag in (True, False):
            params = [
                replaced.get(p, p)
                for p in group["params"]
                if (p in replaced) == flag and p not in gains
            ]
            if params:
                groups.append({**_settings(group, kin), "params": params, "weight_norm": flag})
    # Any: torch types no optimizer's own arguments.
    normalizing: Any = kin.normalizing
    made: Any = normalizing(
        groups, max_norm=max_norm, **{name: first[name] for name in kin.options}
    )
    for parameter in (p for group in made.param_groups for p in group["params"]):
        if parameter in parts:
            g, v = parts[parameter]
            made.state[parameter] = _state_of_w(inner.state, g, v, made.rule.moments)
            if parameter.dtype == HALF:
                made.state[parameter]["master"] = _effective(g, v)
        elif moved := _moments(inner.state, parameter, made.rule.moments):
            made.state[parameter] = {**moved, "updates": _updates(inner.state, parameter)}
            if parameter.dtype == HALF:
                made.state[parameter]["master"] = parameter.detach().float()
    assert isinstance(made, torch.optim.Optimizer)
    return made


@torch.no_grad()
def to_gv_(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> torch.optim.Optimizer | ClippedStep:
    """Turn layers of storage "w" into storage "gv", and continue the same trajectory.

    Args:
        module: the network; every layer of storage "w" in it is converted in place.
        optimizer: the `WNAdam` (or another of `wnrl.optim`) that steps it. It must not be used
            any more; nor a schedule that holds it.

    Returns:
        torch's optimizer of the same rule, with the same groups, settings, moments and counts, in
        a `ClippedStep` if the old one clipped or measured. A weight that has not been stepped
        starts with the `v_norm` of its group. Of a bfloat16 weight g, v and the moments are those
        of its float32 master, each rounded once: torch's optimizers keep no master.

    Raises:
        UsageError: on another optimizer, or if it normalizes weights of plain layers: storage "gv"
            has no place for theirs. Nothing has changed then.
    """
    kin = next((kin for kin in KIN if kin.normalizing is type(optimizer)), None)
    if kin is None:
        known = ", ".join(kin.normalizing.__name__ for kin in KIN)
        raise UsageError(f"to_gv_ got {type(optimizer).__name__}: it takes {known}")
    _check_types(optimizer)
    stored = {weight for _, _, weight in _stored_weights(module)}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if group["weight_norm"] and p.ndim >= 2 and p not in stored:
                raise UsageError(
                    f"to_gv_ met a normalized weight of shape {tuple(p.shape)} that no layer with "
                    'storage="w" holds: convert_(module, storage="w") first'
                )
    parts: dict[nn.Parameter, tuple[nn.Parameter, nn.Parameter]] = {}
    norms = _vector_norms(optimizer)
    for layer, name, weight in list(_stored_weights(module)):
        layer.storage = "gv"
        if weight in parts:
            layer.store_gv_(name, *parts[weight])
        else:
            made_parts = _gain_and_vector(weight, optimizer.state.get(weight), norms)
            layer.store_gv_(name, *(part.to(weight.dtype) for part in made_parts))
            parts[weight] = layer.gv_parameters(name)
            for part in parts[weight]:
                part.requires_grad_(weight.requires_grad)
    old: Any = optimizer  # its rule and max_norm are those of wnrl.optim's own classes
    options: dict[str, Any] = {}
    if kin.plain is torch.optim.Adam:
        devices = {p.device.type for group in optimizer.param_groups for p in group["params"]}
        options["fused"] = devices <= {"cpu", "cuda"}
    if kin.plain is torch.optim.RMSprop:
        options["centered"] = "grad_avg" in old.rule.moments
    groups = [
        {
            **_settings(group, kin),
            "params": [q for p in group["params"] for q in parts.get(p, (p,))],
        }
        for group in optimizer.param_groups
    ]
    plain: Any = kin.plain
    made = plain(groups, **options)
    counts = kin.plain is not torch.optim.SGD
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        if not (state := optimizer.state.get(parameter)):
            continue
        step = state["updates"].detach().float()
        step = step if options.get("fused") else step.cpu()
        g, v = parts.get(parameter, (None, parameter))
        for target, suffix in ((v, ""), (g, "_g")):
            if target is not None:
                made.state[target] = {
                    name: state[name + suffix].reshape(target.shape).to(target.dtype)
                    for name in old.rule.moments
                }
                if counts:
                    made.state[target]["step"] = step.clone()
    return made if old.max_norm is None else ClippedStep(made, old.max_norm)


@torch.no_grad()
def export_gv(
    module: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> "OrderedDict[str, Tensor]":
    """The state dict that the network would have with storage "gv", as a copy; nothing changes.

    Its names are those of torch's weight_norm hook (`<name>_g`, `<name>_v`), so it loads into
    layers of either storage and into torch's own.

    Args:
        module: any network; layers with storage="w", and plain weights that the optimizer
            normalizes, are written as g and v.
        optimizer: holds ||v|| and the sign of g; without it, or for a weight that it has not
            stepped, v = w and g = ||w||. Of a bfloat16 weight they are float32, from its master.
    """
    states = {} if optimizer is None else optimizer.state
    norms = {} if optimizer is None else _vector_norms(optimizer)
    marked = {weight for _, _, weight in _stored_weights(module)}
    parameters = dict(module.named_parameters(remove_duplicate=False))
    exported: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in module.state_dict().items():
        parameter = parameters.get(name)
        state = None if parameter is None else states.get(parameter)
        if parameter is not None and (parameter in marked or (state and "norm" in state)):
            g, v = _gain_and_vector(parameter, state, norms)
            exported[f"{name}_g"], exported[f"{name}_v"] = g, v
        else:
            exported[name] = value.clone()
    return exported


def _stored_weights(module: nn.Module) -> Iterator[tuple[WeightNormalized, str, nn.Parameter]]:
    """Each weight of storage "w": its layer, its name there, and itself (again where shared)."""
    for layer in module.modules():
        if isinstance(layer, WeightNormalized) and layer.storage == "w":
            for name in layer.weight_names():
                weight = layer._parameters[name]
                assert weight is not None
                yield layer, name, weight


def store_w_(
    places: list[tuple[WeightNormalized, str]],
    parts: dict[nn.Parameter, tuple[nn.Parameter, nn.Parameter]],
) -> None:
    """Turn storage "gv" into "w"; note the (g, v) that each new weight was."""
    made: dict[nn.Parameter, nn.Parameter] = {}  # v -> w
    for (layer, name), weight in zip(places, _lasting_weights(places), strict=True):
        g, v = layer.gv_parameters(name)
        if v not in made:
            made[v] = nn.Parameter(weight, requires_grad=v.requires_grad)
            parts[made[v]] = (g, v)
        layer.store_w_(name, made[v])
        layer.storage = "w"


def _lasting_weights(places: list[tuple[WeightNormalized, str]]) -> list[Tensor]:
    """The effective weights, with tiny gains where zero ones would lose the direction of v."""
    weights = effective_weights(places)
    pairs = [layer.gain_and_vector(name) for layer, name in places]
    return [
        _effective(g, v).to(v.dtype) if v.dtype == HALF else weight + _tiny(g, v)
        for weight, (g, v) in zip(weights, pairs, strict=True)
    ]


def _tiny(g: Tensor, v: Tensor) -> Tensor:
    """What to add to w (O, ...) where g is closer to 0 than an optimizer can hold it."""
    tiny = (g.abs() < SMALLEST_GAIN).to(v.dtype) * SMALLEST_GAIN
    return tiny * nn.functional.normalize(v.flatten(1)).reshape(v.shape)


def _effective(g: Tensor, v: Tensor) -> Tensor:
    """w (O, ...) of a bfloat16 g and v in float32."""
    wide_g, wide_v = g.detach().float(), v.detach().float()
    return effective_weight(wide_v, wide_g) + _tiny(wide_g, wide_v)


def _settings(group: Group, kin: Kin) -> Group:
    names = (*kin.settings, "initial_lr")  # the last is a schedule's
    return {name: copy.copy(group[name]) for name in names if name in group}


def _check_types(optimizer: torch.optim.Optimizer) -> None:
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        if parameter.dtype not in TYPES:
            raise UsageError(
                f"a parameter is {parameter.dtype}: an optimizer's state is converted in float32, "
                "float64 or bfloat16, which ours step"
            )


def _moments(states: Any, parameter: nn.Parameter, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The moments that torch's optimizer has for a parameter: none before its first step.

    In the type that ours keep: float32 for bfloat16.
    """
    state = states.get(parameter, {})
    moments = {name: state[name] for name in names if isinstance(state.get(name), Tensor)}
    return {name: _wide(moment) for name, moment in moments.items()}


def _updates(states: Any, parameter: nn.Parameter) -> Tensor:
    """() torch's count of steps, as ours count; SGD counts none."""
    step = states.get(parameter, {}).get("step", 0)
    return torch.tensor(float(step), device=parameter.device)


def _state_of_w(
    states: Any, g: nn.Parameter, v: nn.Parameter, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """The weight-normalizing optimizer's state from torch's of g and v."""
    wide = _wide(v.detach())
    length = torch.linalg.vector_norm(wide.flatten(1), dim=1, keepdim=True)  # (O, ...) -> (O, 1)
    sign = torch.where(g < 0, -1.0, 1.0).to(length).reshape(length.shape)
    state = {"updates": _updates(states, v), "norm": length, "sign": sign}
    of_g, of_v = _moments(states, g, names), _moments(states, v, names)
    for name in names:
        state[name] = of_v.get(name, torch.zeros_like(wide))
        state[f"{name}_g"] = of_g.get(name, torch.zeros_like(length)).reshape(length.shape)
    return state


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == HALF else tensor


def _vector_norms(optimizer: torch.optim.Optimizer) -> dict[nn.Parameter, Any]:
    return {
        p: group.get("v_norm", "weight")
        for group in optimizer.param_groups
        for p in group["params"]
    }


def _gain_and_vector(
    parameter: nn.Parameter, state: dict[str, Tensor] | None, v_norms: dict[nn.Parameter, Any]
) -> tuple[Tensor, Tensor]:
    """(g (O, 1, ...), v (O, ...)) of a stored weight: g = s ||w||, v = (n / g) w, new tensors."""
    weight = state.get("master", parameter) if state else parameter  # of a bfloat16 weight
    v, g = decompose(_wide(weight.detach()))
    length = torch.linalg.vector_norm(v.flatten(1), dim=1, keepdim=True)  # (O, 1)
    if state and "norm" in state:
        norm, sign = state["norm"], state["sign"]
    else:
        norm = starting_norm(v_norms.get(parameter, "weight"), g.flatten(1), v[0].numel())
        sign = torch.ones_like(norm)
    norm = torch.where(norm > 0, norm, length)  # a row that has been zero from the start
    scale = (sign * norm / length).reshape(g.shape)
    return g * sign.reshape(g.shape), v * scale
