"""Records of weight controls that add a penalty to every loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import SAME, STEPPED_WEIGHTS, Norm, build_optimizer

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import anchored, marked
    from wnrl.optim import step
else:
    anchored = Later("wnrl.nn.norms.layers.anchored")
    marked = Later("wnrl.nn.norms.layers.marked")


@dataclass(frozen=True)
class L2InitSettings:
    """Settings of the penalty towards the initial weights."""

    strength: float = setting(
        1e-3,
        "factor of the squared distance from the initial weights, added to the loss",
        source="ours; Kumar et al. 2023 sweep 1e-2 to 1e-5",
        minimum=0,
    )


def l2_init(settings: L2InitSettings) -> Norm:
    """Penalty towards the initial weights."""

    def optimizer(network: nn.Module, spec: step.OptimizerSpec) -> step.StepOptimizer:
        anchored.anchor_(network)
        return build_optimizer(network, spec)

    return Norm(
        name="l2-init",
        summary="a penalty on the squared distance of the weights from where they started",
        paper="Kumar et al. 2023 (L2 Init), arXiv 2308.11958",
        cost="acting: none; learning: one pass over the weights, and the initial weights in memory",
        normalizes=STEPPED_WEIGHTS,
        linear=anchored.AnchoredLinear,
        conv=anchored.AnchoredConv2d,
        optimizer=optimizer,
        penalty=partial(anchored.distance_penalty, strength=settings.strength),
        start=SAME,
        settings=settings,
        configure=l2_init,
    )


@dataclass(frozen=True)
class ParsevalSettings:
    """Settings of Parseval regularization."""

    strength: float = setting(
        1e-3,
        "factor of the penalty for a layer of 64 units; others have (64 / units)^2 times as much",
        source="Chung et al. 2024",
        minimum=0,
    )
    scale: float = setting(
        2.0,
        "squared length to which each unit's weights are drawn",
        source="wechu/parseval_reg: the squared gain of its initialization",
        above=0,
    )
    groups: int = setting(
        1,
        "groups of units; only units of the same group are drawn to be orthogonal",
        source="wechu/parseval_reg",
        minimum=1,
    )


def parseval(settings: ParsevalSettings) -> Norm:
    """Parseval regularization."""
    return Norm(
        name="parseval",
        summary="a penalty that draws the units' weights to be orthogonal and of equal length",
        paper="Chung et al. 2024, arXiv 2412.07224",
        cost="acting: none; learning: a product of each layer's weights with themselves",
        normalizes=STEPPED_WEIGHTS,
        linear=marked.MarkedLinear,
        conv=marked.MarkedConv2d,
        penalty=partial(
            marked.parseval_penalty,
            strength=settings.strength,
            scale=settings.scale,
            groups=settings.groups,
        ),
        start=SAME,
        settings=settings,
        configure=parseval,
    )
