"""Hyperball: a step in which the norms of a weight and of its update are fixed.

With R the norm of the weight at the start, u_t the update that any optimizer would make, and
eta the relative step:

    W_{t+1} = R Norm(W_t - eta R Norm(u_t)),        Norm(x) = x / ||x||_F

Source: Wen et al. 2026, arXiv 2606.16899, whose AdamH takes Adam's u_t; first in "Fantastic
Pretraining Optimizers and Where to Find Them 2.1" (December 2025).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wnrl.optim.step import StepOptimizer
from wnrl.optim.wrapped_step import WrappedStep


class HyperballStep(WrappedStep):
    """An optimizer that moves some weights on spheres, by steps of a fixed angle.

    All other parameters take the optimizer's own steps. A weight, or a row, of zeros has no sphere
    and stays zero; one whose update is zero stays where it is. The optimizer inside is asked for
    the updates of weights that are zero, so a weight decay of its own would have no effect.

    Args:
        optimizer: steps all parameters.
        weights: (O, ...) each, those that stay on spheres.
        rate: relative step eta, in learning rates: eta = rate * lr.
        by_rows: a sphere for each row of a weight, instead of one for the whole weight.
    """

    def __init__(
        self, optimizer: StepOptimizer, weights: Sequence[Tensor], rate: float, by_rows: bool
    ) -> None:
        super().__init__(optimizer)
        self._weights = list(weights)
        self._rate = rate
        self._by_rows = by_rows
        self._radii = [self._norm(weight.detach()) for weight in self._weights]

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters."""
        stepped = [w for w in self._weights if w.grad is not None]
        before = [weight.clone() for weight in stepped]
        for weight in stepped:
            weight.zero_()
        self.optimizer.step()  # each weight is now -lr u
        rates = {p: group["lr"] for group in self.param_groups for p in group["params"]}
        radii = dict(zip(self._weights, self._radii, strict=True))
        for weight, start in zip(stepped, before, strict=True):
            radius, length = radii[weight], self._norm(weight)
            scale = self._rate * rates[weight] * radius / length
            weight.mul_(torch.where(length > 0, scale, 0.0)).add_(start)
            length = self._norm(weight)
            weight.mul_(torch.where(length > 0, radius / length, 1.0))

    def _norm(self, weight: Tensor) -> Tensor:
        """(O, ...) -> (1, 1, ...), or (O, 1, ...) by rows."""
        axes = tuple(range(int(self._by_rows), weight.ndim))
        norm: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and the radii."""
        return {**super().state_dict(), "radii": [radius.clone() for radius in self._radii]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        super().load_state_dict(state_dict)
        for radius, saved in zip(self._radii, state_dict["radii"], strict=True):
            radius.copy_(saved)
