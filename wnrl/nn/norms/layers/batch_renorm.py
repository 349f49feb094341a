"""Batch renormalization: batch statistics, corrected towards the running ones.

Batch norm's output for an input changes with the rest of its batch. Batch renormalization brings
the statistics used in learning close to those used in acting.

Source: Ioffe 2017, arXiv 1702.03275.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class RenormLimits:
    """Limits of the corrections, and the forward passes in training over which they grow.

    Raises:
        ValueError: limits out of range, or an end before the start.
    """

    r_max: float = 3.0  # limit of the scale correction, at least 1 and finite
    d_max: float = 5.0  # limit of the shift correction, at least 0 and finite
    start_updates: int = 5_000  # forward passes as plain batch norm
    r_end_updates: int = 40_000  # forward passes after which r_max is reached
    d_end_updates: int = 25_000  # forward passes after which d_max is reached

    def __post_init__(self) -> None:
        if not (1 <= self.r_max < math.inf and 0 <= self.d_max < math.inf):
            raise ValueError(
                f"r_max is {self.r_max}, d_max {self.d_max}: they must be finite, at least 1 and "
                "at least 0"
            )
        if min(self.r_end_updates, self.d_end_updates) < self.start_updates:
            raise ValueError(
                f"r_end_updates is {self.r_end_updates}, d_end_updates {self.d_end_updates}: both "
                f"must be at least start_updates, {self.start_updates}"
            )


LIMITS = RenormLimits()


class BatchRenorm(nn.Module):
    """Normalize each unit over the batch, corrected: (B, F) or (B, C, H, W) -> the same.

    In training (Algorithm 1), with mu_B, sigma_B of the batch and mu, sigma running:

        r = clip(sigma_B / sigma, 1 / r_max, r_max)         d = clip((mu_B - mu) / sigma, +-d_max)
        x^ = (x - mu_B) / sigma_B r + d                     y = weight x^ + bias

    without a gradient through r and d. In eval mode x^ = (x - mu) / sigma, which equals training
    unless r or d is clipped. During the first `start_updates` forward passes r = 1 and d = 0,
    which is batch norm; then r_max and d_max grow linearly (section 3).

    The running variance is biased, as in CrossQ's code: with torch's unbiased variance r would be
    below 1 even if all batches were equal.

    Args:
        num_features: F or C.
        eps: added to each variance before taking its root.
        momentum: weight of a new batch in the running statistics.
        limits: limits of r and d, and when they apply.
        device: as in torch.
        dtype: as in torch.

    Raises:
        ValueError: a momentum out of range; from `forward`, a shape that does not fit, or a single
            value per unit in training.
    """

    biased_running_var = True  # read by the instruments
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-3,
        momentum: float = 0.01,
        limits: RenormLimits = LIMITS,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum}: it must be in (0, 1]")
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.limits = limits
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.ones(num_features, **made))
        self.bias = nn.Parameter(torch.zeros(num_features, **made))
        self.register_buffer("running_mean", torch.zeros(num_features, **made))
        self.register_buffer("running_var", torch.ones(num_features, **made))
        self.register_buffer("num_batches_tracked", torch.tensor(0, device=device))

    def reset_parameters(self) -> None:
        """Set weight and running variance to 1; bias, running mean and count to 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.num_batches_tracked.zero_()

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) or (B, C, H, W) -> the same shape."""
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"input is {tuple(input.shape)}: expected (B, {self.num_features}, ...)"
            )
        if not self.training:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        r, d = self._correct_(input)
        # (x - mu_B) / sigma_B (weight r) + (weight d + bias), in one call of torch's kernel.
        return nn.functional.batch_norm(
            input, None, None, self.weight * r, self.weight * d + self.bias, True, eps=self.eps
        )

    @torch.no_grad()
    def _correct_(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Return r (C,) and d (C,) of a batch, then add the batch to the running statistics."""
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # Called only for its statistics: ten times faster than torch.var_mean on a CPU.
        nn.functional.batch_norm(input, mean, variance, training=True, momentum=1.0)
        count = input.numel() // self.num_features
        variance *= (count - 1) / count  # torch's running variance is unbiased
        sigma = (self.running_var + self.eps).sqrt()
        limits = self.limits
        r_max = 1 + (limits.r_max - 1) * self._progress(limits.r_end_updates, sigma)
        d_max = limits.d_max * self._progress(limits.d_end_updates, sigma)
        r = torch.clamp((variance + self.eps).sqrt() / sigma, 1 / r_max, r_max)
        d = torch.clamp((mean - self.running_mean) / sigma, -d_max, d_max)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)
        return r, d

    def _progress(self, end_updates: int, like: Tensor) -> Tensor:
        """Return () 0 until `start_updates`, rising to 1 at `end_updates`; stays on the device."""
        done = (self.num_batches_tracked - self.limits.start_updates).to(like.dtype)
        length = end_updates - self.limits.start_updates
        return (done / length).clamp(0, 1) if length else (done >= 0).to(like.dtype)

    def extra_repr(self) -> str:
        """Show the arguments."""
        limits = self.limits
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, r_max={limits.r_max}, "
            f"d_max={limits.d_max}, start_updates={limits.start_updates}, "
            f"r_end_updates={limits.r_end_updates}, d_end_updates={limits.d_end_updates}"
        )
