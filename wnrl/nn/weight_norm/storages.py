"""Conversion from one storage of weight normalization to the other, with the optimizer's state.

Every conversion keeps the function that a network computes, up to rounding, and the trajectory of
its optimizer. Layers are converted in place. Plain layers are converted in `convert`.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.optimizer_aten import HALF
from wnrl.kernels.row_layout import output_back
from wnrl.nn.weight_norm.optimizer_state import (
    GainAndVector,
    OptimizerPair,
    group_settings,
    output_axes,
    pair_of_normalizing,
    pair_of_plain,
    parameters_of,
    smallest_weight,
    split_weight,
    starting_norms,
    state_of_plain,
    state_of_torch,
    state_of_w,
    wide_weight,
)
from wnrl.nn.weight_norm.parametrization import (
    WeightNormalized,
    check_options,
    computed_weights,
    effective_weights,
)
from wnrl.optim.arguments import Group, normalized_by
from wnrl.optim.normalizing_step import NormalizingOptimizer
from wnrl.optim.step import ClippedStep


@torch.no_grad()
def to_w_(
    module: nn.Module, optimizer: torch.optim.Optimizer | ClippedStep
) -> torch.optim.Optimizer:
    """Turn layers of storage "gv" into storage "w", and continue the same trajectory.

    Args:
        module: the network; all its layers of storage "gv" are converted in place.
        optimizer: torch's Adam, Adamax, RAdam, RMSprop or SGD that steps it, or a `ClippedStep`
            around one. Do not use it afterwards, nor a schedule that holds it.

    Returns:
        The weight-normalizing optimizer of the same rule, with the same groups, settings, moments
        and number of updates; ||v|| and the sign of g come from g and v. A gain closer to 0 than
        1e-12 becomes 1e-12, because w = 0 would lose the direction. A bfloat16 weight gets a
        float32 master: w computed from g and v before rounding. Its later steps are float32 steps,
        whereas torch's optimizers round g and v to bfloat16 at each step.

    Raises:
        UsageError: another optimizer, a setting that `wnrl.optim` does not support, float16, or
            layers with a gain or cap that storage "w" does not support. Nothing has changed then.
    """
    inner = optimizer.optimizer if isinstance(optimizer, ClippedStep) else optimizer
    max_norm = optimizer.max_norm if isinstance(optimizer, ClippedStep) else None
    pair = pair_of_plain(inner)
    for layer, _ in computed_weights(module):
        check_options("w", layer.gain, layer.gain_scale, layer.max_v_norm)
    parts: dict[nn.Parameter, GainAndVector] = {}
    places = list(computed_weights(module))
    axes_of_v = {layer.gv_parameters(name)[1]: layer.output_axis for layer, name in places}
    store_w_(places, _lasting_weights(places), parts)
    axes = {weight: axes_of_v[v] for weight, (_, v) in parts.items()}
    options = {name: inner.param_groups[0][name] for name in pair.options}
    normalizing: Any = pair.normalizing  # torch types no optimizer's arguments
    made = normalizing(_groups_of_w(inner, pair, parts, axes), max_norm=max_norm, **options)
    assert isinstance(made, NormalizingOptimizer)
    for parameter in parameters_of(made):
        moments = made.rule.moments
        if parameter in parts:
            axis = axes.get(parameter, 0)
            made.state[parameter] = state_of_w(inner.state, *parts[parameter], moments, axis)
        elif state := state_of_plain(inner.state, parameter, moments):
            made.state[parameter] = state
    return made


def _groups_of_w(
    optimizer: torch.optim.Optimizer,
    pair: OptimizerPair,
    parts: dict[nn.Parameter, GainAndVector],
    axes: dict[nn.Parameter, int],
) -> list[Group]:
    """Return the groups with each v replaced by its w, split by output axis, without gains."""
    weights = {v: weight for weight, (_, v) in parts.items()}
    gains = {g for g, _ in parts.values()}
    groups: list[Group] = []
    for group in optimizer.param_groups:
        stepped = [weights.get(p, p) for p in group["params"] if p not in gains]
        for axis in (0, 1, None):
            params = [p for p in stepped if (axes[p] if p in parts else None) == axis]
            if params:
                settings = group_settings(group, pair)
                groups.append({**settings, "params": params, **normalized_by(axis)})
    return groups


@torch.no_grad()
def to_gv_(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> torch.optim.Optimizer | ClippedStep:
    """Turn layers of storage "w" into storage "gv", and continue the same trajectory.

    Args:
        module: the network; all its layers of storage "w" are converted in place.
        optimizer: the `WNAdam` (or another optimizer of `wnrl.optim`) that steps it. Do not use it
            afterwards, nor a schedule that holds it.

    Returns:
        torch's optimizer of the same rule, with the same groups, settings, moments and number of
        updates, inside a `ClippedStep` if the old one clipped or measured. A weight that has not
        been stepped starts with the `v_norm` of its group. g, v and moments of a bfloat16 weight
        come from its float32 master, each rounded once: torch's optimizers keep no master.

    Raises:
        UsageError: another optimizer, one that normalizes weights of plain layers, which storage
            "gv" cannot hold, one with a bound on ||v||, or a layer whose options need storage "w".
            Nothing has changed then.
    """
    pair = pair_of_normalizing(optimizer)
    _check_marked(module, optimizer)
    _check_unbounded(optimizer)
    assert isinstance(optimizer, NormalizingOptimizer)
    parts = _store_gv_(module, optimizer)
    options: dict[str, Any] = {}
    if pair.plain is torch.optim.Adam:
        devices = {parameter.device.type for parameter in parameters_of(optimizer)}
        options["fused"] = devices <= {"cpu", "cuda"}
    if pair.plain is torch.optim.RMSprop:
        options["centered"] = "grad_avg" in optimizer.rule.moments
    groups = [
        {
            **group_settings(group, pair),
            "params": [part for p in group["params"] for part in parts.get(p, (p,))],
        }
        for group in optimizer.param_groups
    ]
    plain: Any = pair.plain  # torch types no optimizer's arguments
    made: torch.optim.Optimizer = plain(groups, **options)
    axes = output_axes(optimizer)
    for parameter in parameters_of(optimizer):
        if not (state := optimizer.state.get(parameter)):
            continue
        step = state["updates"].detach().float()
        step = step if options.get("fused") else step.cpu()
        g, v = parts.get(parameter, (None, parameter))
        for target, suffix in ((v, ""), (g, "_g")):
            if target is not None:
                names, axis = optimizer.rule.moments, axes[parameter]
                made.state[target] = state_of_torch(state, target, names, axis, suffix)
                if pair.plain is not torch.optim.SGD:  # which does not count
                    made.state[target]["step"] = step.clone()
    return made if optimizer.max_norm is None else ClippedStep(made, optimizer.max_norm)


def _check_marked(module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise a UsageError unless layers that can have "gv" hold every normalized weight."""
    layers = list(_stored_weights(module))
    for layer, _, _ in layers:
        layer.check_layer(layer, "gv")
    stored = {weight for _, _, weight in layers}
    for group in optimizer.param_groups:
        for p in group["params"]:
            if group["weight_norm"] and p.ndim >= 2 and p not in stored:
                raise UsageError(
                    f"to_gv_ met a normalized weight of shape {tuple(p.shape)} that no layer with "
                    'storage="w" holds: convert_(module, storage="w") first'
                )


def _check_unbounded(optimizer: torch.optim.Optimizer) -> None:
    """Raise a UsageError if a group bounds ||v||, which no optimizer of torch does."""
    for group in optimizer.param_groups:
        bound = group.get("max_v_norm", math.inf)
        if group["weight_norm"] and bound < math.inf:
            raise UsageError(
                f"to_gv_ met a group with max_v_norm {bound:g}, which torch's optimizers do not "
                "keep: set it to inf first, and ||v|| grows from here on"
            )


def _store_gv_(
    module: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[nn.Parameter, GainAndVector]:
    """Turn storage "w" into "gv"; return the (g, v) of each weight."""
    parts: dict[nn.Parameter, GainAndVector] = {}
    norms = starting_norms(optimizer)
    for layer, name, weight in list(_stored_weights(module)):
        layer.storage = "gv"
        if weight in parts:
            layer.store_gv_(name, *parts[weight])
        else:
            state = optimizer.state.get(weight)
            g, v = split_weight(weight, state, norms, layer.output_axis)
            layer.store_gv_(name, g.to(weight.dtype), v.to(weight.dtype))
            parts[weight] = layer.gv_parameters(name)
            for part in parts[weight]:
                part.requires_grad_(weight.requires_grad)
    return parts


@torch.no_grad()
def export_gv(
    module: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> "OrderedDict[str, Tensor]":
    """Return a copy of the state dict that the network would have with storage "gv".

    Its keys are those of torch's weight_norm hook (`<name>_g`, `<name>_v`), so it loads into
    layers of either storage and into torch's. The network does not change.

    Args:
        module: any network; layers with storage="w", and plain weights that the optimizer
            normalizes, are exported as g and v.
        optimizer: holds ||v|| and the sign of g. Without it, and for weights that it has not
            stepped, v = w and g = ||w||. A bfloat16 weight is exported in float32 from its master.
    """
    states = {} if optimizer is None else optimizer.state
    norms = {} if optimizer is None else starting_norms(optimizer)
    axes = {} if optimizer is None else output_axes(optimizer)
    marked = {weight: layer.output_axis for layer, _, weight in _stored_weights(module)}
    axes.update(marked)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    exported: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in module.state_dict().items():
        parameter = parameters.get(name)
        state = None if parameter is None else states.get(parameter)
        if parameter is not None and (parameter in marked or (state and "norm" in state)):
            g, v = split_weight(parameter, state, norms, axes.get(parameter, 0))
            exported[f"{name}_g"], exported[f"{name}_v"] = g, v
        else:
            exported[name] = value.clone()
    return exported


def _stored_weights(module: nn.Module) -> Iterator[tuple[WeightNormalized, str, nn.Parameter]]:
    """Yield layer, name and Parameter of each weight of storage "w"; shared ones repeatedly."""
    for layer in module.modules():
        if isinstance(layer, WeightNormalized) and layer.storage == "w":
            for name in layer.weight_names():
                weight = layer._parameters.get(name)
                if weight is None:
                    raise UsageError(
                        f"{name!r} of a {type(layer).__name__} is pruned: make that permanent "
                        "with torch.nn.utils.prune.remove first"
                    )
                yield layer, name, weight


def store_w_(
    places: list[tuple[WeightNormalized, str]],
    weights: list[Tensor],
    parts: dict[nn.Parameter, GainAndVector],
) -> None:
    """Turn storage "gv" into "w" with these weights; add the (g, v) of each one to `parts`."""
    made: dict[nn.Parameter, nn.Parameter] = {}  # v -> w
    for (layer, name), weight in zip(places, weights, strict=True):
        g, v = layer.gv_parameters(name)
        if v not in made:
            made[v] = nn.Parameter(weight, requires_grad=v.requires_grad)
            parts[made[v]] = (g, v)
        layer.store_w_(name, made[v])
        layer.storage = "w"


def _lasting_weights(places: list[tuple[WeightNormalized, str]]) -> list[Tensor]:
    """Return the effective weights; rows with g = 0 get a tiny gain to keep the direction of v."""
    weights = effective_weights(places)
    lasting = []
    for weight, (layer, name) in zip(weights, places, strict=True):
        g, v = layer.gain_and_vector(name)
        if v.dtype == HALF:
            lasting.append(output_back(wide_weight(g, v).to(v.dtype), layer.output_axis))
        else:
            lasting.append(weight + output_back(smallest_weight(g, v), layer.output_axis))
    return lasting
