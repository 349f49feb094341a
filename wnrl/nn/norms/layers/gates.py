"""L0 gates: each unit's weights and bias times a random gate, which is often exactly 0.

Source: Louizos, Welling & Kingma 2018, arXiv 1712.01312; the authors' code has the same constants.

Dimension key: O units.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1  # temperature, and ends of the stretched interval (section 4)
SPREAD = 1e-2  # standard deviation of log alpha at the start, as in the authors' code
LEAST, MOST = math.log(1e-2), math.log(1e2)  # bounds of log alpha, as in the authors' code
_MIX = (-4658895280553007687, -7723592293110705685)  # SplitMix64's multipliers
_GOLDEN = -7046029254386353131  # SplitMix64's increment, 2^64 over the golden ratio


class Gated(nn.Module):
    """Mixin of layers with a gate z_j in [0, 1] per unit j; list it before torch's layer.

        s = sigmoid((log u - log(1 - u) + log alpha) / beta)       u ~ U(0, 1)
        z = min(1, max(0, s (zeta - gamma) + gamma))               (eq. 10 and 11)
        output = z (w.x + b)

    A training forward draws one gate per unit for the whole batch. In evaluation mode (eq. 13)

        z = min(1, max(0, sigmoid(log alpha) (zeta - gamma) + gamma))

    Draws come from the buffers `noise_key` and `noise_count` alone: the same pair gives the same
    gates on every device, and a state that is loaded continues the sequence.
    """

    weight: Tensor
    log_alpha: nn.Parameter
    noise_key: Tensor
    noise_count: Tensor

    def __init__(self, *arguments: Any, drop_rate: float = 0.5, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.drop_rate = drop_rate
        self.log_alpha = nn.Parameter(self.weight.detach().new_empty(self.weight.shape[0]))
        count = torch.zeros((), dtype=torch.int64, device=self.weight.device)
        self.register_buffer("noise_count", count)
        self.register_buffer("noise_key", torch.zeros_like(count))
        self.reset_gain_()

    def reset_parameters(self) -> None:
        """Draw weight and bias as torch does, and the gates."""
        super().reset_parameters()  # type: ignore[misc]  # the layer's that follows
        if "log_alpha" in self._parameters:  # not yet in torch's constructor
            self.reset_gain_()

    @torch.no_grad()
    def reset_gain_(self) -> None:
        """Draw log alpha around log(1 - drop_rate) - log(drop_rate), and the key of the noise."""
        drawn = torch.randn(len(self.log_alpha)) * SPREAD
        middle = math.log(1 - self.drop_rate) - math.log(self.drop_rate)
        self.log_alpha.copy_(drawn + middle)
        self.noise_key.copy_(torch.randint(2**62, ()))
        self.noise_count.zero_()

    def open_probability(self) -> Tensor:
        """Return P(z > 0) = sigmoid(log alpha - beta log(-gamma / zeta)), eq. 12 (O,)."""
        return torch.sigmoid(self.log_alpha - BETA * math.log(-GAMMA / ZETA))

    def expected_l0(self) -> Tensor:
        """Return the expected number of weights and biases that are not 0, ().

            sum_j |g_j| P(z_j > 0)          |g_j|: weights of unit j, and its bias

        Source: section 2.4, group sparsity.
        """
        group = self.weight[0].numel() + (self._parameters["bias"] is not None)
        return self.open_probability().sum() * group

    def test_gates(self) -> Tensor:
        """Return the gates of evaluation mode (O,), eq. 13."""
        return (torch.sigmoid(self.log_alpha) * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)

    def drawn_gates(self) -> Tensor:
        """Return random gates (O,), eq. 10 and 11; the next call draws others."""
        u = self._uniform()
        s = torch.sigmoid((torch.log(u) - torch.log1p(-u) + self.log_alpha) / BETA)
        return (s * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)

    @torch.no_grad()
    def _uniform(self) -> Tensor:
        """Return numbers in (0, 1) of each unit (O,), the next of the sequence.

        The bits are SplitMix64 (Steele et al. 2014) of key, count and unit. No state but the two
        buffers is read, and nothing waits for the device.
        """
        units = len(self.log_alpha)
        place = torch.arange(units, device=self.noise_key.device) + self.noise_count * units
        bits = _mixed(self.noise_key + _GOLDEN * (place + 1))
        self.noise_count.add_(1)
        return ((bits >> 41 & 0x7FFFFF) + 0.5).to(self.log_alpha.dtype) / 2**23

    def gates(self) -> Tensor:
        """Return drawn gates in training mode, else those of evaluation (O,)."""
        return self.drawn_gates() if self.training else self.test_gates()

    def effective_weight(self) -> Tensor:
        """Return the w (O, ...) of evaluation mode, differentiable."""
        return self.weight * self.test_gates().reshape([-1] + [1] * (self.weight.ndim - 1))

    @torch.no_grad()
    def scale_units_(self, factor: Tensor) -> None:
        """Multiply each unit's weights by a factor (O,); the gates stay."""
        self.weight.mul_(factor.reshape([-1] + [1] * (self.weight.ndim - 1)))

    @torch.no_grad()
    def shift_units_(self, shift: Tensor) -> None:
        """Add shift (O,) to each unit's output in evaluation mode; a closed gate has none."""
        gates, bias = self.test_gates(), self._parameters["bias"]
        if bias is not None:
            bias.add_(torch.where(gates > 0, shift / gates, 0.0))

    def extra_repr(self) -> str:
        """Show torch's arguments and the option."""
        return f"{super().extra_repr()}, drop_rate={self.drop_rate}"


class GatedLinear(Gated, nn.Linear):
    """`torch.nn.Linear` with a gate per unit: (..., I) -> (..., O).

    Args:
        arguments: as in torch.
        drop_rate: probability at the start that s, before it is stretched, is below 1/2.
        options: as in torch.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        # Gate the output, which is smaller than the weight.
        return nn.functional.linear(input, self.weight, self.bias) * self.gates()


class GatedConv2d(Gated, nn.Conv2d):
    """`torch.nn.Conv2d` with a gate per filter; arguments as in torch and `GatedLinear`."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        gates = self.gates()
        bias = None if self.bias is None else self.bias * gates
        output: Tensor = self._conv_forward(input, self.weight * gates[:, None, None, None], bias)
        return output


def _mixed(bits: Tensor) -> Tensor:
    """Return SplitMix64's mix of int64 numbers, which wrap around."""
    for shift, multiplier in zip((30, 27), _MIX, strict=True):
        bits = (bits ^ _shifted(bits, shift)) * multiplier
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Return bits >> places with zeros from the left; torch's >> copies the sign."""
    return bits >> places & ((1 << (64 - places)) - 1)


def expected_l0(network: nn.Module) -> Tensor:
    """Return the expected number of weights of gated layers that are not 0, ()."""
    gated = [layer.expected_l0() for layer in network.modules() if isinstance(layer, Gated)]
    return torch.stack(gated).sum() if gated else torch.zeros(())


@torch.no_grad()
def bound_gates_(network: nn.Module) -> None:
    """Keep every log alpha where its gradient is not lost; call it after each step."""
    for layer in network.modules():
        if isinstance(layer, Gated):
            layer.log_alpha.clamp_(LEAST, MOST)
