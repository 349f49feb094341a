"""Normalization by the mean and variance of everything that was learned from."""

import torch
from torch import Tensor, nn


class RunningNorm(nn.Module):
    """Running statistics of all training batches: (B, F) or (B, C, H, W) -> the same.

        y = (x - mean) / sqrt(var + eps)

    with mean and biased variance per feature or channel over all values that training forward
    passes have had, this one's included (Chan et al. 1979, for a batch of n values with mean_B,
    var_B after m values):

        mean <- mean + (mean_B - mean) n / (m + n)
        var  <- (m var + n var_B + (mean_B - mean)^2 m n / (m + n)) / (m + n)

    Nothing is learned, and a batch of one is enough. Before the first value y = x / sqrt(1 + eps).

    Args:
        num_features: F or C.
        eps: added to the variance before taking its root.

    Raises:
        ValueError: from `forward`, a shape that does not fit.

    Source: RSNorm of SimBa, Lee et al. 2024, arXiv 2410.09754, which counts each
    observation when it is acted on; here each counts when it is learned from.
    """

    biased_running_var = True  # read by the instruments
    running_mean: Tensor
    running_var: Tensor
    count: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) or (B, C, H, W) -> the same shape."""
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(
                f"input is {tuple(input.shape)}: expected (B, {self.num_features}) or "
                f"(B, {self.num_features}, H, W)"
            )
        if self.training:
            self._count_(input.detach())
        along = [-1] + [1] * (input.ndim - 2)
        scale = (self.running_var + self.eps).rsqrt()
        return (input - self.running_mean.reshape(along)) * scale.reshape(along)

    @torch.no_grad()
    def _count_(self, input: Tensor) -> None:
        """Take a batch into the statistics."""
        samples = input.movedim(1, -1).reshape(-1, self.num_features)  # (B, F, ...) -> (N, F)
        variance, mean = torch.var_mean(samples, dim=0, correction=0)
        total = self.count + len(samples)
        before, now = ((share / total).to(mean) for share in (self.count, len(samples)))
        difference = mean - self.running_mean
        self.running_var.mul_(before).add_(variance * now + difference.square() * before * now)
        self.running_mean.add_(difference * now)
        self.count.copy_(total)

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"{self.num_features}, eps={self.eps}"
