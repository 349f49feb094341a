"""Initial weights: torch's distributions from a given generator, and from a batch of data.

Not here: normalizing while learning. Source of the second: Salimans & Kingma 2016, section 3.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.nn.norms.layers.standardization import Standardized
from wnrl.nn.weight_norm.layers import write_weight_
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.weight_norm import PAPER_WEIGHT_STD

SCALE_TOLERANCE = 1e-3  # of a deviation, relative: float32 over some thousand activations

HEADS = ("head", "policy", "value")  # what networks call theirs


@contextmanager
def owned_global_randomness(generator: torch.Generator) -> Iterator[None]:
    """Inside, torch's global CPU generator is seeded from `generator`; afterwards it is as before.

    For module constructors, which draw from it without asking. `generator` itself does not move.
    """
    state = torch.get_rng_state()
    try:
        # Not torch.manual_seed: that would seed the accelerators' generators as well.
        torch.default_generator.manual_seed(generator.initial_seed())
        yield
    finally:
        torch.set_rng_state(state)


@torch.no_grad()
def reset_parameters_(network: nn.Module, generator: torch.Generator) -> None:
    """Initialize every layer as torch does by default, drawing from `generator` (CPU) alone.

    Linear and convolution layers, normalized or not, draw w and b from
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) in the order of `network.modules()`: the same seed gives
    the same initial function to every normalization of weights. Other layers, LSTMs too, take
    their own `reset_parameters()`.
    """
    with owned_global_randomness(generator):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                _draw_(module, generator)
                if isinstance(module, Standardized):
                    module.reset_gain_()
            elif hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]  # a Module's attribute


def _draw_(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    shape = layer.weight.shape
    fan_in = math.prod(shape[1:])
    # kaiming_uniform_ with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
    bound = 1 / math.sqrt(fan_in)
    write_weight_(layer, torch.empty(shape).uniform_(-bound, bound, generator=generator))
    if layer.bias is not None:
        layer.bias.copy_(torch.empty(shape[0]).uniform_(-bound, bound, generator=generator))


NO_GAINS: Mapping[nn.Module, float] = {}


@torch.no_grad()
def init_orthogonal_(
    network: nn.Module,
    generator: torch.Generator,
    *,
    gain: float = math.sqrt(2),
    gains: Mapping[nn.Module, float] = NO_GAINS,
) -> None:
    """Give every linear, convolution and LSTM layer, normalized or not, orthogonal rows; b = 0.

    With storage "gv", v becomes w and g becomes ||w||. An LSTM's gates are one matrix each. A layer
    with another effective weight than it holds (standardized, spectral) makes it from these rows.

    Args:
        network: holds the layers.
        generator: a CPU generator; layers draw in the order of `network.modules()`.
        gain: of layers that `gains` does not name; sqrt(2) is for ReLU.
        gains: of all layers in a module (1 is usual for LSTMs and values, 0.01 for policies).

    Source: Saxe et al. 2014, arXiv 1312.6120; gains as in Stable-Baselines3.
    """
    own_gains = _by_layer(gains)
    for layer in network.modules():
        own = own_gains.get(layer, gain)
        for weight, write in _weights(layer):
            gates = 4 if isinstance(layer, nn.LSTM) and weight.shape[0] % 4 == 0 else 1
            drawn = torch.empty(weight.shape)
            for gate in drawn.chunk(gates):
                gate.copy_(nn.init.orthogonal_(torch.empty(gate.shape), own, generator))
            write(drawn)
        _zero_biases_(layer)


@torch.no_grad()
def init_kaiming_normal_(
    network: nn.Module,
    generator: torch.Generator,
    *,
    gain: float = math.sqrt(2),
    gains: Mapping[nn.Module, float] = NO_GAINS,
) -> None:
    """Draw every weight from N(0, gain^2 / fan_in), heads too, and set b = 0.

    Layers, storages and arguments as in `init_orthogonal_`.

    Source: He et al. 2015, arXiv 1502.01852, eq. 10.
    """
    own_gains = _by_layer(gains)
    for layer in network.modules():
        for weight, write in _weights(layer):
            std = own_gains.get(layer, gain) / math.sqrt(math.prod(weight.shape[1:]))
            write(torch.empty(weight.shape).normal_(0.0, std, generator=generator))
        _zero_biases_(layer)


@torch.no_grad()
def init_directions_(
    network: nn.Module, generator: torch.Generator, *, std: float = PAPER_WEIGHT_STD
) -> None:
    """Draw every element of v from N(0, std^2), as the paper does (section 3), and set b = 0.

    Layers as in `init_orthogonal_`. With storage "gv", v is what was drawn and g its norm, so that
    w = v; with storage "w" or a plain layer it is w. The paper then finds g and b from data:
    `init_from_data_`, which keeps directions only; `v_norm="paper"` gives ||v|| back.

    Args:
        network: holds the layers.
        generator: a CPU generator; layers draw in the order of `network.modules()`.
        std: the paper's 0.05.
    """
    for layer in network.modules():
        for weight, write in _weights(layer):
            write(torch.empty(weight.shape).normal_(0.0, std, generator=generator))
        _zero_biases_(layer)


def _weights(layer: nn.Module) -> Iterator[tuple[Tensor, Callable[[Tensor], Any]]]:
    """Each weight of a layer, and what writes it whatever the storage."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        yield layer.weight, partial(write_weight_, layer)
    elif isinstance(layer, WNLSTM):
        for name in layer.weight_names():
            yield getattr(layer, name), partial(layer.set_weight_, name=name)
    elif isinstance(layer, nn.LSTM):
        for name, weight in layer.named_parameters(recurse=False):
            if name.startswith("weight"):
                yield weight, weight.copy_


def _zero_biases_(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.LSTM):
        for name, bias in layer.named_parameters(recurse=False):
            if name.startswith("bias"):
                bias.zero_()


def _by_layer(gains: Mapping[nn.Module, float]) -> dict[nn.Module, float]:
    """The gain of every module inside those that are named; a later name goes before."""
    return {layer: gain for module, gain in gains.items() for layer in module.modules()}


def _head_modules(network: nn.Module, heads: Collection[nn.Module] | None) -> set[nn.Module]:
    """All modules in the heads."""
    if heads is None:
        heads = [module for name, module in network.named_children() if name in HEADS]
    return {module for head in heads for module in head.modules()}


@dataclass(frozen=True)
class LayerReport:
    """What the data said about one layer's pre-activations t = w.x / ||w||."""

    name: str  # as in network.named_modules()
    scale_set: bool  # whether the deviation came out; not where a normalization fixes the scale
    smallest_sigma: float  # standard deviation of t over the batch, before the floor
    median_sigma: float
    clipped_fraction: float  # of output units whose sigma was below the floor


@dataclass(frozen=True)
class InitReport:
    """One report per initialized layer, in the order of the forward pass."""

    layers: tuple[LayerReport, ...]


@torch.no_grad()
def init_from_data_(
    network: nn.Module,
    batch: Tensor,
    *,
    sigma_floor: float = 0.01,
    heads: Collection[nn.Module] | None = None,
    head_scale: float | None = None,
) -> InitReport:
    """Give each hidden unit's pre-activation zero mean and unit variance on a batch (section 3).

    In one forward pass, layer by layer: with t = w.x / ||w|| of mean mu[t] and standard deviation
    sigma[t], w becomes w / (||w|| sigma[t]) and b becomes -mu[t] / sigma[t]. This holds for any
    normalization; with one of activations it is the layer before it that is initialized. A layer
    that computes with another w than it holds takes the factor where its scale is
    (`scale_units_`), or not at all if its normalization fixes it; its output is computed again and
    b is set from that, so the mean is 0 in any case. LSTMs are left alone: their pre-activations
    mix two weights and all steps. Train and eval modes and all buffers (running statistics) stay
    as they were. Call it before the first update, then copy the target network.

    Args:
        network: whose Linear and Conv2d layers are initialized. A layer used twice counts once; of
            a layer without bias only the variance is set.
        batch: (B, ...) real observations, B at least 2, as the network's forward takes them.
        sigma_floor: sigma[t] below it is taken to be it, so that the gain ||w|| stays at most
            1 / sigma_floor where the data hardly vary.
        heads: modules whose layers are heads; default: the network's own modules `head`, `policy`
            and `value`, those that it has.
        head_scale: the deviation that the heads' outputs get instead of 1: small ones start near
            0 with their full gradient. None leaves heads alone.

    Returns:
        What was found, with the fraction of units at the floor and whether the scale was set.

    Raises:
        ValueError: if the batch has one sample, or the floor or the scale is not above 0.
    """
    if batch.ndim < 2 or batch.shape[0] < 2:
        raise ValueError(
            f"batch has shape {tuple(batch.shape)}: a variance needs two or more samples (B, ...)"
        )
    if not sigma_floor > 0:
        raise ValueError(f"sigma_floor is {sigma_floor}: it must be above 0")
    if head_scale is not None and not head_scale > 0:
        raise ValueError(f"head_scale is {head_scale}: it must be above 0, or None")
    in_heads = _head_modules(network, heads)
    reports: dict[str, LayerReport] = {}
    handles = []
    for name, module in network.named_modules():
        deviation = head_scale if module in in_heads else 1.0
        if isinstance(module, nn.Linear | nn.Conv2d) and deviation is not None:

            def initialize(
                layer: Any,
                inputs: tuple[Tensor, ...],
                output: Tensor,
                name: str = name,
                deviation: float = deviation,
            ) -> Tensor | None:
                if name in reports:
                    return None
                reports[name], output = _initialize_(
                    name, layer, inputs[0], output, sigma_floor, deviation
                )
                return output

            handles.append((module, module.register_forward_hook(initialize)))
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        network.train()  # learning sees the batch's own statistics
        for layer, _ in handles:
            layer.eval()  # what a layer knows of its own weight stays as it is
        network(batch)
    finally:
        for _, handle in handles:
            handle.remove()
        for buffer, value in buffers:
            buffer.copy_(value)
        for module, training in modes:
            module.training = training
    return InitReport(tuple(reports.values()))


def _initialize_(
    name: str,
    layer: nn.Linear | nn.Conv2d,
    input: Tensor,
    output: Tensor,
    sigma_floor: float,
    deviation: float,
) -> tuple[LayerReport, Tensor]:
    """Write the layer's w and b; its report, and the output that they give on this batch."""
    channel = 1 if isinstance(layer, nn.Conv2d) else output.ndim - 1
    others = [axis for axis in range(output.ndim) if axis != channel]
    along = [-1 if axis == channel else 1 for axis in range(output.ndim)]
    variance, mean = torch.var_mean(output, dim=others, correction=0)  # (B, O, ...) -> (O,)
    length = torch.linalg.vector_norm(_effective_weight(layer).flatten(1), dim=1)  # -> (O,)
    length = torch.where(length > 0, length, 1.0)
    sigma = variance.sqrt() / length  # of t
    scale = deviation / (sigma.clamp(min=sigma_floor) * length)
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - mean) * scale)
    _scale_units_(layer, scale)
    output = layer.forward(input)  # not a call, which would come here again
    variance, mean = torch.var_mean(output, dim=others, correction=0)
    if layer.bias is not None:  # what is left: rounding, or all of it where no scale was taken
        layer.bias.sub_(mean)
        output = output - mean.reshape(along)
    varied = sigma >= sigma_floor
    missed = (variance.sqrt() - deviation).abs() > SCALE_TOLERANCE * deviation
    report = LayerReport(
        name=name,
        scale_set=not bool((missed & varied).any()),
        smallest_sigma=float(sigma.min()),
        median_sigma=float(sigma.median()),
        clipped_fraction=float((~varied).float().mean()),
    )
    return report, output


def _effective_weight(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """w (O, ...) that the layer computes with, which a normalized one makes from what it holds."""
    effective = getattr(layer, "effective_weight", None)
    return (layer.weight if effective is None else effective()).detach()


def _scale_units_(layer: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    """Multiply each unit's weights by a factor (O,), in the layer's own way if it has one."""
    own = getattr(layer, "scale_units_", None)
    if own is not None:
        own(factor)
    else:
        weight = layer.weight.detach()
        write_weight_(layer, weight * factor.reshape([-1] + [1] * (weight.ndim - 1)))
