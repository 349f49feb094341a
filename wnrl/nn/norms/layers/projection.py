"""Projection: layers whose weights are projected back to a sphere after each step.

The layers are plain ones with a mark: `weight` is an ordinary Parameter and forward is torch's.
CrossQ+WN (Palenicek et al. 2025, arXiv 2502.07523) and XQC (arXiv 2509.25174) call this weight
norm; it is also the second half of Normalize-and-Project (Lyle et al. 2024, arXiv 2407.01800). It
is not the w = g v / ||v|| of Salimans & Kingma: the length is not learned.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Projected(nn.Module):
    """Mixin of projected layers; list it before torch's layer, whose weight it projects.

    by rows:          w_i <- w_i / ||w_i||            for each unit i
    as a matrix:      W <- rho W / ||W||_F            with rho = ||W||_F when `hold_` was called

    The bias is multiplied by the same factors, so (w, b) keeps its direction: if a normalization
    without running statistics follows, the projection does not change the function. Rows and
    matrices of zeros stay.
    """

    weight: Tensor
    radius: Tensor

    def __init__(self, *arguments: Any, by_rows: bool = True, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.by_rows = by_rows
        radius = torch.ones((), dtype=self.weight.dtype, device=self.weight.device)
        self.register_buffer("radius", radius)
        self.hold_()

    def reset_parameters(self) -> None:
        """Draw weight and bias as torch does, and hold the new weight's norm."""
        super().reset_parameters()  # type: ignore[misc]  # the layer's that follows
        if "radius" in self._buffers:  # not yet in torch's constructor
            self.radius.fill_(1.0)
            self.hold_()

    @torch.no_grad()
    def hold_(self) -> None:
        """Set the radius to the matrix's current norm; rows always have radius 1."""
        if not self.by_rows:
            self.radius.copy_(torch.linalg.vector_norm(self.weight))

    @torch.no_grad()
    def project_(self) -> None:
        """Project the weight back to its sphere, in place."""
        if self.by_rows:
            length = torch.linalg.vector_norm(self.weight.flatten(1), dim=1)  # (O, ...) -> (O,)
        else:
            length = torch.linalg.vector_norm(self.weight)
        factor = torch.where(length > 0, self.radius / length, 1.0)
        along = [-1] + [1] * (self.weight.ndim - 1)
        self.weight.mul_(factor.reshape(along))
        bias = self._parameters["bias"]
        if bias is not None:
            bias.mul_(factor)

    @torch.no_grad()
    def scale_units_(self, factor: Tensor) -> None:
        """Multiply each unit's weights by a factor (O,), unless the projection fixes lengths."""
        if not self.by_rows:
            self.weight.mul_(factor.reshape([-1] + [1] * (self.weight.ndim - 1)))

    def extra_repr(self) -> str:
        """Show torch's arguments and the option."""
        return f"{super().extra_repr()}, by_rows={self.by_rows}"


class ProjectedLinear(Projected, nn.Linear):
    """`torch.nn.Linear` whose weight `project_` projects to a sphere.

    Args:
        arguments: as in torch.
        by_rows: True for unit length of each unit's weights, False for a constant norm of the
            whole matrix.
        options: as in torch.
    """


class ProjectedConv2d(Projected, nn.Conv2d):
    """`torch.nn.Conv2d` whose weight `project_` projects; options as in `ProjectedLinear`."""


def project_(network: nn.Module) -> None:
    """Project every `Projected` layer; call it after each step."""
    for layer in network.modules():
        if isinstance(layer, Projected):
            layer.project_()


def hold_norms_(network: nn.Module) -> None:
    """Set every radius to the current norm; call it before the first step."""
    for layer in network.modules():
        if isinstance(layer, Projected):
            layer.hold_()
