"""Gradients divided by the spectral norm of their weight, which stays as it is.

For each weight W as a matrix (O, K), with sigma its largest singular value:

    dL/dW <- (lipschitz / sigma) dL/dW

so that the optimizer sees what it would see of a weight divided by sigma, and the function is not
changed. sigma comes from one power iteration per step.

Source: Gogianu et al. 2021, arXiv 2105.05246, section 5 (divGrad); floringogianu/snrl at 796c33c,
`div_grad_by_rho`. Left out: their spectral norm of a convolution as an operator.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from wnrl.optim.step import StepOptimizer
from wnrl.optim.wrapped_step import WrappedStep

SETTLING_ITERATIONS = 15  # before the first step
SMALLEST_SIGMA = 1e-12


class SpectralGradientStep(WrappedStep):
    """An optimizer whose gradients of some weights are divided by their spectral norms.

    Args:
        optimizer: steps all parameters; it clips what is left.
        weights: (O, ...) each.
        lipschitz: spectral norm at which a gradient stays as it is.
    """

    def __init__(
        self, optimizer: StepOptimizer, weights: Sequence[Tensor], lipschitz: float
    ) -> None:
        super().__init__(optimizer)
        self._weights = list(weights)
        self._lipschitz = lipschitz
        self._left = [normalize(w.detach().flatten(1).sum(1), dim=0) for w in self._weights]
        for _ in range(SETTLING_ITERATIONS):
            for weight, left in zip(self._weights, self._left, strict=True):
                _iterate_(weight, left)

    @torch.no_grad()
    def step(self) -> None:
        """Divide the gradients, then update."""
        for weight, left in zip(self._weights, self._left, strict=True):
            if weight.grad is not None:
                sigma = _iterate_(weight, left).clamp(min=SMALLEST_SIGMA)
                weight.grad.mul_(self._lipschitz / sigma)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and the singular vectors."""
        return {**super().state_dict(), "left": [left.clone() for left in self._left]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        super().load_state_dict(state_dict)
        for left, saved in zip(self._left, state_dict["left"], strict=True):
            left.copy_(saved)


@torch.no_grad()
def _iterate_(weight: Tensor, left: Tensor) -> Tensor:
    """Move u (O,) towards the left singular vector of the largest singular value; return it ()."""
    matrix = weight.detach().flatten(1)  # (O, ...) -> (O, K)
    right = normalize(left @ matrix, dim=0)
    moved = matrix @ right
    sigma: Tensor = torch.linalg.vector_norm(moved)
    left.copy_(torch.where(sigma > 0, moved / sigma, left))
    return sigma
