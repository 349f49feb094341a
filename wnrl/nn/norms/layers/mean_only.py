"""Mean-only batch normalization: the batch's mean is subtracted, nothing is divided.

It is meant for weight-normalized layers: their parameters fix the scale, so a minibatch's
statistics add noise to the mean only.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 4.
"""

from typing import Any

import torch
from torch import Tensor, nn


class MeanOnlyBatchNorm(nn.Module):
    """Subtract each unit's mean over the batch, add a bias: (B, F) or (B, C, H, W) -> the same.

    In training (eq. 12), with t the pre-activations and mu[t] their mean over B (and H, W):

        t~ = t - mu[t] + b             dL/dt = dL/dt~ - mu[dL/dt~]

    so the gradient is centred too, which the paper gives as its benefit. In eval mode a running
    mean replaces mu[t]. A bias of the layer before has no effect and no gradient.

    Args:
        num_features: F or C.
        momentum: weight of a new batch in the running mean.
        device: as in torch.
        dtype: as in torch.

    Raises:
        ValueError: from `forward`, a shape that does not fit, or a single value per unit in
            training.
    """

    running_mean: Tensor

    def __init__(
        self, num_features: int, momentum: float = 0.1, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum}: it must be in (0, 1]")
        self.num_features = num_features
        self.momentum = momentum
        self.bias = nn.Parameter(torch.zeros(num_features, device=device, dtype=dtype))
        self.register_buffer("running_mean", torch.zeros(num_features, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set bias and running mean to 0."""
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) or (B, C, H, W) -> the same shape."""
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"input is {tuple(input.shape)}: expected (B, {self.num_features}, ...)"
            )
        along = [1, -1] + [1] * (input.ndim - 2)
        if not self.training:
            return input + (self.bias - self.running_mean).reshape(along)
        if input.numel() == self.num_features:
            raise ValueError(
                f"input is {tuple(input.shape)}: training needs two or more values per unit; call "
                "eval() to use the running mean"
            )
        mean = input.mean(dim=[0, *range(2, input.ndim)])  # (B, C, ...) -> (C,)
        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        return input + (self.bias - mean).reshape(along)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.num_features}, momentum={self.momentum}"
