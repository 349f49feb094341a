"""What the tests of the optimizers share: every rule beside torch's, and the truth in float64.

The truth is g and v themselves, w = g v / ||v|| by torch's own op, stepped by torch's optimizer.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.optim.weight_norm import (
    WNSGD,
    WNAdam,
    WNAdamax,
    WNRAdam,
    WNRMSprop,
    WNRMSpropTFLike,
)

Maker = Callable[..., Any]


def _rmsprop_tf_like(parameters: Any) -> torch.optim.Optimizer:
    """The optimizer of SB3's A2C on Atari."""
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    return RMSpropTFLike(parameters, 0.02, 0.9, 1e-3)


RULES: dict[str, tuple[Maker, Maker]] = {  # ours, and torch's or Stable-Baselines3's
    "adam": (
        lambda p, **k: WNAdam(p, 0.02, (0.8, 0.9), 1e-6, **k),
        lambda p: torch.optim.Adam(p, 0.02, (0.8, 0.9), 1e-6),
    ),
    "adamax": (
        lambda p, **k: WNAdamax(p, 0.02, (0.5, 0.999), 1e-6, **k),
        lambda p: torch.optim.Adamax(p, 0.02, (0.5, 0.999), 1e-6),
    ),
    "rmsprop": (
        lambda p, **k: WNRMSprop(p, 0.01, 0.9, 1e-3, **k),
        lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-3),
    ),
    "rmsprop centered": (
        lambda p, **k: WNRMSprop(p, 0.01, 0.9, 1e-2, centered=True, **k),
        lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-2, centered=True),
    ),
    "rmsprop-tf": (lambda p, **k: WNRMSpropTFLike(p, 0.02, 0.9, 1e-3, **k), _rmsprop_tf_like),
    "radam": (
        lambda p, **k: WNRAdam(p, 0.02, (0.8, 0.9), 1e-6, **k),
        lambda p: torch.optim.RAdam(p, 0.02, (0.8, 0.9), 1e-6),
    ),
    "sgd": (
        lambda p, **k: WNSGD(p, 0.02, **k),
        lambda p: torch.optim.SGD(p, 0.02),
    ),
    "sgd momentum": (
        lambda p, **k: WNSGD(p, 0.02, 0.9, **k),
        lambda p: torch.optim.SGD(p, 0.02, 0.9),
    ),
}


class Truth:
    """g and v of each weight (a vector stays as it is) in float64 under torch's optimizer.

    Args:
        weights: where it starts, of any floating type.
        make: torch's optimizer of its parameters.
        max_norm: of `clip_grad_norm_`, over the gradients of g, v and the plain vectors.
        max_v_norm: to which each ||v|| is scaled back after a step; 0 for where it started.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        make: Maker,
        max_norm: float | None = None,
        max_v_norm: float = math.inf,
    ) -> None:
        self._parts: list[list[nn.Parameter]] = []
        for weight in weights:
            wide = weight.detach().double().cpu().contiguous()
            gain = wide.flatten(1).norm(dim=1) if wide.ndim > 1 else wide
            shape = (-1, *[1] * (wide.ndim - 1))
            parts = [wide.clone(), gain.reshape(shape)] if wide.ndim > 1 else [wide.clone()]
            self._parts.append([nn.Parameter(part) for part in parts])
        self.parameters = [part for parts in self._parts for part in parts]
        self.optimizer = make(self.parameters)
        self.max_norm = math.inf if max_norm is None else max_norm
        self.max_v_norm = max_v_norm
        self._lengths = [_length(parts[0]) for parts in self._parts]
        self.grad_norm = math.nan
        self.start = self.weights()

    def weights(self) -> list[Tensor]:
        """w now, detached."""
        with torch.no_grad():
            return [self._weight(parts).clone() for parts in self._parts]

    def gains(self, index: int) -> Tensor:
        """(O,) g of one weight, detached."""
        return self._parts[index][1].detach().flatten().clone()

    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """One update from dL/dw; a weight without one is left out."""
        self.optimizer.zero_grad()
        for parts, gradient in zip(self._parts, gradients, strict=True):
            if gradient is not None:
                self._weight(parts).backward(gradient.detach().double().cpu())
        self.grad_norm = float(nn.utils.clip_grad_norm_(self.parameters, self.max_norm))
        self.optimizer.step()
        for parts, start in zip(self._parts, self._lengths, strict=True):
            if len(parts) > 1:
                length = _length(parts[0])
                bounded = length.clamp(max=self.max_v_norm) if self.max_v_norm else start
                parts[0].data *= bounded / length

    def deviation(self, weights: Sequence[Tensor]) -> float:
        """The largest distance of a weight from the truth, relative to how far that one went."""
        return max(
            float((weight.detach().double().cpu() - end).norm() / (end - first).norm())
            for weight, end, first in zip(weights, self.weights(), self.start, strict=True)
        )

    @staticmethod
    def _weight(parts: list[nn.Parameter]) -> Tensor:
        return torch._weight_norm(*parts, 0) if len(parts) > 1 else parts[0] * 1.0


def _length(v: Tensor) -> Tensor:
    """(O, ...) -> (O, 1, ...)."""
    return v.detach().flatten(1).norm(dim=1).reshape(-1, *[1] * (v.ndim - 1)) if v.ndim > 1 else v
