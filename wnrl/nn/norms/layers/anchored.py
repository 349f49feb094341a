"""Layers that remember the weights with which they started, for a penalty towards them."""

from typing import Any

import torch
from torch import Tensor, nn


class Anchored(nn.Module):
    """Mixin of layers with buffers `weight_start` and `bias_start`; list it before torch's layer.

    `anchor_` fills them. They are part of the state, so that a resumed run keeps them.
    """

    weight: Tensor
    bias: Any
    weight_start: Tensor
    bias_start: Tensor | None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        bias = self._parameters["bias"]
        self.register_buffer("weight_start", self.weight.detach().clone())
        self.register_buffer("bias_start", None if bias is None else bias.detach().clone())

    def distance(self) -> Tensor:
        """Return () the squared distance from the start, of weight and bias, differentiable."""
        squared = (self.weight - self.weight_start).square().sum()
        if self.bias is not None and self.bias_start is not None:
            squared = squared + (self.bias - self.bias_start).square().sum()
        return squared


class AnchoredLinear(Anchored, nn.Linear):
    """`torch.nn.Linear` that remembers its start."""


class AnchoredConv2d(Anchored, nn.Conv2d):
    """`torch.nn.Conv2d` that remembers its start."""


@torch.no_grad()
def anchor_(network: nn.Module) -> None:
    """Let every `Anchored` layer remember its current weights; call it before the first step."""
    for layer in network.modules():
        if isinstance(layer, Anchored):
            layer.weight_start.copy_(layer.weight)
            if layer.bias is not None and layer.bias_start is not None:
                layer.bias_start.copy_(layer.bias)


def distance_penalty(network: nn.Module, strength: float) -> Tensor:
    """Return () strength ||theta - theta_0||^2 over the anchored layers.

    Source: Kumar et al. 2023 (L2 Init), arXiv 2308.11958, equation 1.
    """
    distances = [x.distance() for x in network.modules() if isinstance(x, Anchored)]
    return strength * torch.stack(distances).sum() if distances else torch.zeros(())
