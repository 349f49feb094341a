"""Layers with unit rows and a learned scaler, as in SimbaV2.

    y = s (init / scale) (W x) + b,     ||w_i|| = 1 after each step,     s starts at `scale`

So s (init / scale) starts at `init`, and a step of an optimizer such as Adam changes it by about
lr init / scale: `scale` sets how fast it learns.

Source: Lee et al. 2025, arXiv 2502.15280, and DAVIAN-Robotics/SimbaV2 at 86899c2. The
bias is ours: there a constant input takes its place.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


class OnSphere(nn.Module):
    """Mixin of layers with unit rows and a scaler; list it before torch's layer.

    Args:
        arguments: as in torch.
        init: scaler at the start; 0 for sqrt(2 / O).
        scale: the Parameter at the start; 0 for sqrt(2 / O).
        options: as in torch.
    """

    weight: Tensor
    bias: Any

    def __init__(
        self, *arguments: Any, init: float = 0.0, scale: float = 0.0, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        default = math.sqrt(2 / len(self.weight))
        scale = scale or default
        self.factor = (init or default) / scale
        self.scaler = nn.Parameter(torch.full_like(self.weight.flatten(1)[:, 0], scale))

    def effective_weight(self) -> Tensor:
        """Return w (O, ...), differentiable: the unit rows times the scaler."""
        return self.weight * self._along(self.scaler * self.factor)

    def _along(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * (self.weight.ndim - 1))

    @torch.no_grad()
    def project_(self) -> None:
        """Scale every row to unit length, in place; rows of zeros stay."""
        length = torch.linalg.vector_norm(self.weight.flatten(1), dim=1)  # (O, ...) -> (O,)
        self.weight.mul_(self._along(torch.where(length > 0, 1 / length, 1.0)))

    @torch.no_grad()
    def orthogonalize_(self) -> None:
        """Replace the drawn rows by orthogonal ones of unit length, or the columns if O > K."""
        rows = self.weight.flatten(1)
        wide = rows.shape[0] <= rows.shape[1]
        q, r = torch.linalg.qr(rows.T if wide else rows)
        q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)  # the same distribution as flax's
        self.weight.copy_((q.T if wide else q).reshape(self.weight.shape))
        self.project_()

    @torch.no_grad()
    def scale_units_(self, factor: Tensor) -> None:
        """Multiply each unit's scaler by a factor (O,)."""
        self.scaler.mul_(factor)

    def extra_repr(self) -> str:
        """Show torch's arguments and init / scale."""
        return f"{super().extra_repr()}, factor={self.factor:.4g}"


class SphereLinear(OnSphere, nn.Linear):
    """`torch.nn.Linear` with unit rows and a scaler: (..., I) -> (..., O)."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        output = nn.functional.linear(input, self.weight) * (self.scaler * self.factor)
        return output if self.bias is None else output + self.bias


class SphereConv2d(OnSphere, nn.Conv2d):
    """`torch.nn.Conv2d` whose filters have unit length, with a scaler for each."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        output: Tensor = self._conv_forward(input, self.effective_weight(), self.bias)
        return output


def project_rows_(network: nn.Module) -> None:
    """Scale the rows of every `OnSphere` layer to unit length; call it after each step."""
    for layer in network.modules():
        if isinstance(layer, OnSphere):
            layer.project_()


def start_on_sphere_(network: nn.Module) -> None:
    """Give every `OnSphere` layer orthogonal rows of unit length."""
    for layer in network.modules():
        if isinstance(layer, OnSphere):
            layer.orthogonalize_()
