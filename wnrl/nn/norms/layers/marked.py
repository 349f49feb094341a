"""Plain layers with a mark, for normalizations that act on their weights from outside.

`weight` is an ordinary Parameter and forward is torch's. The mark says that the layer was placed:
an optimizer, a change after the step, or a penalty acts on these layers alone.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class Marked(nn.Module):
    """Mixin of marked layers; list it before torch's layer."""

    weight: Tensor
    bias: Any


class MarkedLinear(Marked, nn.Linear):
    """`torch.nn.Linear` with a mark."""


class MarkedConv2d(Marked, nn.Conv2d):
    """`torch.nn.Conv2d` with a mark."""


def marked_layers(network: nn.Module) -> Iterator[Marked]:
    """Yield the marked layers of a network, each once."""
    return (layer for layer in network.modules() if isinstance(layer, Marked))


def marked_weights(network: nn.Module) -> list[Tensor]:
    """Return the weights of the marked layers."""
    return [layer.weight for layer in marked_layers(network)]


@torch.no_grad()
def clip_weights_(network: nn.Module, kappa: float) -> None:
    """Clip weights and biases of the marked layers to [-b, b], b = kappa / sqrt(fan_in).

    1 / sqrt(fan_in) is the range of torch's initialization.

    Source: Elsayed et al. 2024, arXiv 2407.01704, algorithm 1.
    """
    for layer in marked_layers(network):
        bound = kappa / math.sqrt(layer.weight[0].numel())
        layer.weight.clamp_(-bound, bound)
        if layer.bias is not None:
            layer.bias.clamp_(-bound, bound)


def parseval_penalty(network: nn.Module, strength: float, scale: float, groups: int) -> Tensor:
    """Return () the sum of strength (64 / O)^2 ||M * (W W^T) - scale I||_F^2 over marked layers.

    W (O, K) are the weights as rows. M is 1 where both units are in the same of `groups` groups of
    units next to each other, else 0; fewer pairs of units are then held orthogonal.

    Source: Chung et al. 2024, arXiv 2412.07224; (64 / O)^2 from their code.
    """
    penalties = []
    for weight in marked_weights(network):
        rows = weight.flatten(1)  # (O, ...) -> (O, K)
        units = len(rows)
        group = torch.arange(units, device=rows.device) * groups // units
        products = (rows @ rows.T) * (group[:, None] == group)  # (O, O)
        error = products - scale * torch.eye(units, dtype=rows.dtype, device=rows.device)
        penalties.append((64 / units) ** 2 * error.square().sum())
    return strength * torch.stack(penalties).sum() if penalties else torch.zeros(())
