"""Learned squashing functions in place of a normalization: no statistics, in acting or learning."""

from typing import Any

import torch
from torch import Tensor, nn


class Pointwise(nn.Module):
    """A squashing function of each value by itself: (B, F) or (B, C, H, W) -> the same.

        y = weight f(alpha x) + bias

    with one learned alpha for the layer, and a weight and a bias per feature or channel, which
    start at 1 and 0.

    Args:
        num_features: F or C.
        alpha: initial alpha.

    Raises:
        ValueError: from `forward`, a shape that does not fit.
    """

    def __init__(self, num_features: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.num_features = num_features
        self.initial_alpha = alpha
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def reset_parameters(self) -> None:
        """Set alpha, weight and bias to their initial values."""
        nn.init.constant_(self.alpha, self.initial_alpha)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def squashed(self, input: Tensor) -> Tensor:
        """Return f(alpha x), of the input's shape."""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) or (B, C, H, W) -> the same shape."""
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"input is {tuple(input.shape)}: expected (B, {self.num_features}) or "
                f"(B, {self.num_features}, H, W)"
            )
        along: list[Any] = [-1] + [1] * (input.ndim - 2)
        return self.squashed(input) * self.weight.reshape(along) + self.bias.reshape(along)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.num_features}, alpha={self.initial_alpha}"


class DynamicTanh(Pointwise):
    """y = weight tanh(alpha x) + bias; arguments as in `Pointwise`.

    Source: Zhu et al. 2025, arXiv 2503.10622, and jiachenzhu/DyT.
    """

    def squashed(self, input: Tensor) -> Tensor:
        """Return tanh(alpha x)."""
        return torch.tanh(self.alpha * input)


class DynamicErf(Pointwise):
    """y = weight erf(alpha x + shift) + bias, with a learned shift that starts at 0.

    Arguments as in `Pointwise`.

    Source: Chen et al. 2025, arXiv 2512.10938; the same in zlab-princeton/Derf.
    """

    def __init__(self, num_features: int, alpha: float = 0.5) -> None:
        super().__init__(num_features, alpha)
        self.shift = nn.Parameter(torch.zeros(1))

    def reset_parameters(self) -> None:
        """Set alpha, shift, weight and bias to their initial values."""
        super().reset_parameters()
        nn.init.zeros_(self.shift)

    def squashed(self, input: Tensor) -> Tensor:
        """Return erf(alpha x + shift)."""
        return torch.erf(self.alpha * input + self.shift)
