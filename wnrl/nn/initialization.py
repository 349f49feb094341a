"""Initial weights: torch's distributions from a given generator, and from a batch of data.

Not here: normalizing while learning. Source of the second: Salimans & Kingma 2016, section 3.
"""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm import write_weight_


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
    the same initial function to every normalization of weights. Other layers take their own
    `reset_parameters()`.
    """
    with owned_global_randomness(generator):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                _draw_(module, generator)
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


@dataclass(frozen=True)
class LayerReport:
    """What the data said about one layer's pre-activations t = w.x / ||w||."""

    name: str  # as in network.named_modules()
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
) -> InitReport:
    """Give each hidden unit's pre-activation zero mean and unit variance on a batch (section 3).

    In one forward pass, layer by layer: with t = w.x / ||w|| of mean mu[t] and standard deviation
    sigma[t], w becomes w / (||w|| sigma[t]) and b becomes -mu[t] / sigma[t]. This holds for any
    normalization; with one of activations it is the layer before it that is initialized. Train
    and eval modes and all buffers (running statistics) stay as they were. Call it before the
    first update, then copy the target network.

    Args:
        network: whose Linear and Conv2d layers are initialized. A layer used twice counts once; of
            a layer without bias only the variance is set.
        batch: (B, ...) real observations, B at least 2, as the network's forward takes them.
        sigma_floor: sigma[t] below it is taken to be it, so that the gain ||w|| stays at most
            1 / sigma_floor where the data hardly vary.
        heads: modules whose layers are left alone; default: `network.head` if there is one.

    Returns:
        What was found, with the fraction of units at the floor.

    Raises:
        ValueError: if the batch has one sample or the floor is not above 0.
    """
    if batch.ndim < 2 or batch.shape[0] < 2:
        raise ValueError(
            f"batch has shape {tuple(batch.shape)}: a variance needs two or more samples (B, ...)"
        )
    if not sigma_floor > 0:
        raise ValueError(f"sigma_floor is {sigma_floor}: it must be above 0")
    if heads is None:
        head = getattr(network, "head", None)
        heads = () if head is None else (head,)
    skipped = {id(module) for head in heads for module in head.modules()}
    reports: dict[str, LayerReport] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and id(module) not in skipped:

            def initialize(
                layer: Any, inputs: tuple[Tensor, ...], output: Tensor, name: str = name
            ) -> Tensor | None:
                if name in reports:
                    return None
                reports[name], output = _initialize_(name, layer, output, sigma_floor)
                return output

            handles.append(module.register_forward_hook(initialize))
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        network.train()  # learning sees the batch's own statistics
        network(batch)
    finally:
        for handle in handles:
            handle.remove()
        for buffer, value in buffers:
            buffer.copy_(value)
        for module, training in modes:
            module.training = training
    return InitReport(tuple(reports.values()))


def _initialize_(
    name: str, layer: nn.Linear | nn.Conv2d, output: Tensor, sigma_floor: float
) -> tuple[LayerReport, Tensor]:
    """Write the layer's w and b; its report, and the output that they give on this batch."""
    weight = layer.weight.detach()
    channel = 1 if isinstance(layer, nn.Conv2d) else output.ndim - 1
    others = [axis for axis in range(output.ndim) if axis != channel]
    variance, mean = torch.var_mean(output, dim=others, correction=0)  # (B, O, ...) -> (O,)
    length = torch.linalg.vector_norm(weight.flatten(1), dim=1)  # (O, ...) -> (O,)
    length = torch.where(length > 0, length, 1.0)
    sigma = variance.sqrt() / length  # of t
    scale = 1 / (sigma.clamp(min=sigma_floor) * length)
    if layer.bias is None:
        mean = torch.zeros_like(mean)
    else:
        layer.bias.copy_((layer.bias - mean) * scale)
    write_weight_(layer, weight * scale.reshape([-1] + [1] * (weight.ndim - 1)))
    report = LayerReport(
        name=name,
        smallest_sigma=float(sigma.min()),
        median_sigma=float(sigma.median()),
        clipped_fraction=float((sigma < sigma_floor).float().mean()),
    )
    along = [-1 if axis == channel else 1 for axis in range(output.ndim)]
    return report, (output - mean.reshape(along)) * scale.reshape(along)
