"""Data-dependent initialization: unit pre-activations on a batch of observations.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 3.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm.layers import write_weight_

SCALE_TOLERANCE = 1e-3  # relative, of a deviation: float32 over some thousand activations

HEADS = ("head", "policy", "value")  # names of heads in the networks of this package


@dataclass(frozen=True)
class LayerReport:
    """Statistics of one layer's pre-activations t = w.x / ||w|| on the batch."""

    name: str  # as in network.named_modules()
    scale_set: bool  # whether the deviation was reached; false if a normalization fixes the scale
    smallest_sigma: float  # standard deviation of t over the batch, before the floor
    median_sigma: float
    clipped_fraction: float  # share of output units with a sigma below the floor


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

    One forward pass initializes layer by layer. With t = w.x / ||w|| of mean mu[t] and standard
    deviation sigma[t]:

        w <- w / (||w|| sigma[t])        b <- -mu[t] / sigma[t]

    This works with any normalization; if activations are normalized, the layer before is
    initialized. A layer that computes with another w than its Parameter applies the factor where
    its scale is (`scale_units_`), or not at all if its normalization fixes the scale; b is set from
    the recomputed output, so the mean is 0 in any case. LSTMs stay as they are: their
    pre-activations mix two weights and all steps. Modes and buffers (running statistics) stay as
    they were. Call it before the first update, then copy the target network.

    Args:
        network: its Linear and Conv2d layers are initialized, each once, at its first use. A layer
            without bias gets the variance only.
        batch: (B, ...) real observations, B at least 2, as the network's forward takes them.
        sigma_floor: lower bound of sigma[t], so that the gain ||w|| stays at most 1 / sigma_floor
            for units that hardly vary.
        heads: modules that count as heads, with all their layers; None for the network's modules
            `head`, `policy` and `value`.
        head_scale: standard deviation of the heads' outputs instead of 1: small values start near
            0 with their full gradient. None leaves heads as they are.

    Returns:
        Statistics of each layer.

    Raises:
        ValueError: a batch of one sample, or a floor or scale that is not above 0.
    """
    _check_arguments(batch, sigma_floor, head_scale)
    in_heads = _head_modules(network, heads)
    reports: dict[str, LayerReport] = {}

    def initialize(
        name: str, deviation: float, layer: Any, inputs: tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        if name not in reports:  # the layer's first use
            reports[name], output = _initialize_(
                name, layer, inputs[0], output, sigma_floor, deviation
            )
        return output

    layers: list[nn.Module] = []
    handles = []
    for name, module in network.named_modules():
        deviation = head_scale if module in in_heads else 1.0
        if isinstance(module, nn.Linear | nn.Conv2d) and deviation is not None:
            layers.append(module)
            # First, because a layer's own normalization may be another hook (`attach_norm_`).
            hook = partial(initialize, name, deviation)
            handles.append(module.register_forward_hook(hook, prepend=True))
    try:
        with _modes_and_buffers_restored(network):
            network.train()  # use the batch's statistics, as in learning
            for layer in layers:
                layer.eval()  # keep a layer's statistics of its own weight
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return InitReport(tuple(reports.values()))


def _check_arguments(batch: Tensor, sigma_floor: float, head_scale: float | None) -> None:
    if batch.ndim < 2 or batch.shape[0] < 2:
        raise ValueError(
            f"batch has shape {tuple(batch.shape)}: a variance needs two or more samples (B, ...)"
        )
    if not sigma_floor > 0:
        raise ValueError(f"sigma_floor is {sigma_floor}: it must be above 0")
    if head_scale is not None and not head_scale > 0:
        raise ValueError(f"head_scale is {head_scale}: it must be above 0, or None")


def _head_modules(network: nn.Module, heads: Collection[nn.Module] | None) -> set[nn.Module]:
    """Return all modules in the heads."""
    if heads is None:
        heads = [module for name, module in network.named_children() if name in HEADS]
    return {module for head in heads for module in head.modules()}


@contextmanager
def _modes_and_buffers_restored(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        for module, training in modes:
            module.training = training


def _initialize_(
    name: str,
    layer: nn.Linear | nn.Conv2d,
    input: Tensor,
    output: Tensor,
    sigma_floor: float,
    deviation: float,
) -> tuple[LayerReport, Tensor]:
    """Write a layer's w and b; return its report and its new output on this batch."""
    channel = 1 if isinstance(layer, nn.Conv2d) else output.ndim - 1
    others = [axis for axis in range(output.ndim) if axis != channel]
    along = [-1 if axis == channel else 1 for axis in range(output.ndim)]
    variance, mean = torch.var_mean(output, dim=others, correction=0)  # (B, O, ...) -> (O,)
    length = torch.linalg.vector_norm(_effective_weight(layer).flatten(1), dim=1)  # -> (O,)
    length = torch.where(length > 0, length, 1.0)
    sigma = variance.sqrt() / length  # deviation of t
    scale = deviation / (sigma.clamp(min=sigma_floor) * length)
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - mean) * scale)
    _scale_units_(layer, scale)
    output = layer.forward(input)  # calling the layer would run this hook again
    variance, mean = torch.var_mean(output, dim=others, correction=0)
    if layer.bias is not None:  # remove the rest: rounding, or all of it if the scale is fixed
        _shift_units_(layer, -mean)
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
    """Return the w (O, ...) that the layer computes with."""
    effective = getattr(layer, "effective_weight", None)
    return (layer.weight if effective is None else effective()).detach()


def _shift_units_(layer: Any, shift: Tensor) -> None:
    """Add shift (O,) to each unit's output, with the layer's method if it has one."""
    shift_units_ = getattr(layer, "shift_units_", None)
    if shift_units_ is not None:
        shift_units_(shift)
    else:
        layer.bias.add_(shift)


def _scale_units_(layer: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    """Multiply each unit's weights by a factor (O,), with the layer's method if it has one."""
    scale_units_ = getattr(layer, "scale_units_", None)
    if scale_units_ is not None:
        scale_units_(factor)
    else:
        weight = layer.weight.detach()
        write_weight_(layer, weight * factor.reshape([-1] + [1] * (weight.ndim - 1)))
