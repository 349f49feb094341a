"""Scaled weight standardization: each unit's weights have mean 0 and a learned length.

It preserves mean and variance through a ReLU layer, so that activations need no normalization. The
Parameters are `weight`, under torch's key, and `gain`; the layers compute with
`effective_weight()`.

Source: Brock et al. 2021, arXiv 2101.08692 and 2102.06171.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.nn.norms.layers.gains import RELU_GAMMA


class Standardized(nn.Module):
    """Mixin of standardized layers; list it before torch's layer, whose weight it standardizes.

    With mu_i, sigma_i of the N weights of unit i, and its gain g_i, learned from 1:

        w_i = g_i gamma (W_i - mu_i) / (sigma_i sqrt(N))        (2101.08692, eq. 1, with the gain)

    gamma = sqrt(2 / (1 - 1 / pi)) is the constant of a ReLU: it makes the variance of the next
    layer's pre-activations equal to this layer's. As in the authors' code sigma_i^2 N is at least
    `eps`.
    """

    weight: Tensor
    gain: nn.Parameter

    def __init__(
        self, *arguments: Any, gamma: float = RELU_GAMMA, eps: float = 1e-4, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.gamma = gamma
        self.eps = eps
        self.gain = nn.Parameter(self.weight.new_ones(self.weight.shape[0]))

    def reset_parameters(self) -> None:
        """Draw weight and bias as torch does, and set the gains to 1."""
        super().reset_parameters()  # type: ignore[misc]  # the layer's that follows
        if "gain" in self._parameters:  # not yet in torch's constructor
            self.reset_gain_()

    def effective_weight(self) -> Tensor:
        """Return w (O, ...), differentiable."""
        centred, scale = self.parts()
        return centred * scale

    def parts(self) -> tuple[Tensor, Tensor]:
        """Return W - mu (O, ...) and its factor (O, 1, ...), differentiable."""
        others = list(range(1, self.weight.ndim))
        centred = self.weight - self.weight.mean(dim=others, keepdim=True)
        # ||W - mu|| is sigma sqrt(N), and many times faster than torch.var_mean on a CPU.
        length = torch.linalg.vector_norm(centred, dim=others, keepdim=True)
        scale = self.gamma * self.gain.reshape(length.shape) / length.clamp(min=math.sqrt(self.eps))
        return centred, scale

    def reset_gain_(self) -> None:
        """Set the gains to 1."""
        nn.init.ones_(self.gain)

    @torch.no_grad()
    def scale_units_(self, factor: Tensor) -> None:
        """Multiply the gains by a factor (O,); the scale of `weight` has no effect."""
        self.gain.mul_(factor)

    def extra_repr(self) -> str:
        """Show torch's arguments and the options."""
        return f"{super().extra_repr()}, gamma={self.gamma:.4g}, eps={self.eps}"


class StandardizedLinear(Standardized, nn.Linear):
    """`torch.nn.Linear` with scaled weight standardization: (..., I) -> (..., O).

    Args:
        arguments: as in torch.
        gamma: gain that the nonlinearity requires.
        eps: lower bound of sigma^2 N.
        options: as in torch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        centred, scale = self.parts()
        # Scale the output, which is smaller than the weight.
        output = nn.functional.linear(input, centred) * scale[:, 0]
        return output if self.bias is None else output + self.bias


class StandardizedConv2d(Standardized, nn.Conv2d):
    """`torch.nn.Conv2d` with scaled weight standardization.

    Arguments as in torch and `StandardizedLinear`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        output: Tensor = self._conv_forward(input, self.effective_weight(), self.bias)
        return output
