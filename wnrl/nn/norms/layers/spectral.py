"""Spectral normalization: layers whose weight is divided by its largest singular value.

The Parameter is `weight`, under torch's key, and may be written as usual; the layers compute with
`effective_weight()`.

Source: Miyato et al. 2018, arXiv 1802.05957; in deep Q-learning, Gogianu et al. 2021, arXiv
2105.05246.
"""

from typing import Any

import torch
from torch import Tensor, nn

SETTLING_ITERATIONS = 15  # torch's spectral_norm starts with as many
SMALLEST_SIGMA = 1e-12  # for a weight of zeros
_PARAMETRIZED = "parametrizations.weight"
_TORCH_NAMES = (  # torch's keys of weight, u and v: of its hook and of its parametrization
    ("weight_orig", "weight_u", "weight_v"),
    (f"{_PARAMETRIZED}.original", f"{_PARAMETRIZED}.0._u", f"{_PARAMETRIZED}.0._v"),
)


class Spectral(nn.Module):
    """Mixin of spectrally normalized layers; list it before torch's layer.

    With W the weight as a matrix (O, I ...) and u its left singular vector, a buffer:

        v = W^T u / ||W^T u||      u <- W v / ||W v||         (Algorithm 1, each training forward)
        sigma = ||W^T u||          w = lipschitz W / sigma    (eq. 8)

    The gradient flows through sigma too: d sigma / d W = u v^T (eq. 9). sigma is computed from the
    updated u, half an iteration closer than the paper's u^T W v. So eval mode, in which u stays,
    computes the same as the last training forward, and sigma is above 0 for any written weight.
    """

    weight: Tensor
    weight_u: Tensor

    def __init__(
        self,
        *arguments: Any,
        power_iterations: int = 1,
        lipschitz: float = 1.0,
        leave_smaller: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.power_iterations = power_iterations
        self.lipschitz = lipschitz
        self.leave_smaller = leave_smaller
        self.register_buffer("weight_u", self.weight.detach().new_empty(self.weight.shape[0]))
        self._draw_()

    def reset_parameters(self) -> None:
        """Draw weight and bias as torch does, then u."""
        super().reset_parameters()  # type: ignore[misc]  # the layer's that follows
        if "weight_u" in self._buffers:  # not yet in torch's constructor
            self._draw_()

    def _draw_(self) -> None:
        drawn = torch.randn(self.weight.shape[0]).to(self.weight)
        self.weight_u.copy_(nn.functional.normalize(drawn, dim=0))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load also what torch's spectral_norm saved, as a hook or a parametrization.

        torch's v is not kept: it follows from u and the weight.
        """
        for weight, u, v in _TORCH_NAMES:
            if prefix + weight in state_dict and prefix + u in state_dict:
                state_dict[f"{prefix}weight"] = state_dict.pop(prefix + weight)
                state_dict[f"{prefix}weight_u"] = state_dict.pop(prefix + u)
                state_dict.pop(prefix + v, None)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def effective_weight(self) -> Tensor:
        """Return w (O, ...), differentiable; a training forward moves u first."""
        weight: Tensor = self.weight / self.divisor()
        return weight

    def divisor(self) -> Tensor:
        """Return the () divisor of the weight, differentiable; a training forward moves u first."""
        if self.training:
            self.iterate_(self.power_iterations)
        # A copy: the next forward may move u before this one's backward has read it.
        sigma = torch.linalg.vector_norm(self.weight_u.clone() @ self.weight.flatten(1))
        bound = sigma.clamp(min=SMALLEST_SIGMA) / self.lipschitz
        divisor: Tensor = bound.clamp(min=1.0) if self.leave_smaller else bound
        return divisor

    @torch.no_grad()
    def iterate_(self, iterations: int) -> None:
        """Move u towards the left singular vector of the largest singular value."""
        matrix = self.weight.flatten(1)  # (O, ...) -> (O, K)
        for _ in range(iterations):
            v = nn.functional.normalize(self.weight_u @ matrix, dim=0)
            u = nn.functional.normalize(matrix @ v, dim=0)
            self.weight_u.copy_(torch.where(u.any(), u, self.weight_u))  # zeros: keep u

    def scale_units_(self, factor: Tensor) -> None:
        """Do nothing: the normalization fixes the scale."""

    def extra_repr(self) -> str:
        """Show torch's arguments and the options."""
        return (
            f"{super().extra_repr()}, power_iterations={self.power_iterations}, "
            f"lipschitz={self.lipschitz}, leave_smaller={self.leave_smaller}"
        )


class SpectralLinear(Spectral, nn.Linear):
    """`torch.nn.Linear` of spectral norm `lipschitz`: (..., I) -> (..., O).

    Args:
        arguments: as in torch.
        power_iterations: power iterations per forward in training.
        lipschitz: spectral norm of the weight.
        leave_smaller: leave weights whose spectral norm is already smaller unchanged.
        options: as in torch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        # Divide the output, which is smaller than the weight.
        output = nn.functional.linear(input, self.weight) / self.divisor()
        return output if self.bias is None else output + self.bias


class SpectralConv2d(Spectral, nn.Conv2d):
    """`torch.nn.Conv2d` whose kernel, as a matrix (O, I kH kW), has spectral norm `lipschitz`.

    This is the paper's definition (section 2.1, footnote), not the norm of the convolution as an
    operator. Arguments as in torch and `SpectralLinear`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        output: Tensor = self._conv_forward(input, self.effective_weight(), self.bias)
        return output


def settle_spectral_(network: nn.Module) -> None:
    """Iterate every u close to its weight's singular vector before the first forward."""
    for layer in network.modules():
        if isinstance(layer, Spectral):
            layer.iterate_(SETTLING_ITERATIONS)
