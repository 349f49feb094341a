"""Records of the functions that take a normalization's place and compute no statistics.

Not here: their layers (`wnrl.nn.norms.layers.pointwise`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import NOTHING, ONE_PASS, Norm

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import pointwise
else:
    pointwise = Later("wnrl.nn.norms.layers.pointwise")


def alpha_setting(source: str) -> Any:
    """Declare the initial slope."""
    return setting(
        0.5, "initial slope alpha of the squashing function, which is learned", source=source,
        above=0,
    )  # fmt: skip


@dataclass(frozen=True)
class TanhSettings:
    """Settings of Dynamic Tanh."""

    alpha: float = alpha_setting("Zhu et al. 2025, jiachenzhu/DyT")


def dynamic_tanh(settings: TanhSettings) -> Norm:
    """Dynamic Tanh."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return pointwise.DynamicTanh(shape[0], settings.alpha)

    return Norm(
        name="dyt",
        summary="Dynamic Tanh, y = gamma tanh(alpha x) + beta, in place of a normalization",
        paper="Zhu et al. 2025, arXiv 2503.10622",
        cost=ONE_PASS,
        normalizes=NOTHING,
        activation=activation,
        settings=settings,
        configure=dynamic_tanh,
    )


@dataclass(frozen=True)
class ErfSettings:
    """Settings of Dynamic erf."""

    alpha: float = alpha_setting("Chen et al. 2025, zlab-princeton/Derf")


def dynamic_erf(settings: ErfSettings) -> Norm:
    """Dynamic erf."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return pointwise.DynamicErf(shape[0], settings.alpha)

    return Norm(
        name="derf",
        summary="Dynamic erf, y = gamma erf(alpha x + s) + beta, in place of a normalization",
        paper="Chen et al. 2025, arXiv 2512.10938",
        cost=ONE_PASS,
        normalizes=NOTHING,
        activation=activation,
        settings=settings,
        configure=dynamic_erf,
    )
