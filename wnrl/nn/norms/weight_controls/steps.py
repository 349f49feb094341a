"""Records of the normalizations that act in or after an optimizer's step on plain weights.

Penalties, which act through the loss, are in `penalties`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import SAME, STEPPED_WEIGHTS, Norm, build_optimizer

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import features, marked
    from wnrl.nn.norms.layers import hypersphere as layers
    from wnrl.optim import hyperball as hyperball_step
    from wnrl.optim import spectral_gradient, step
else:
    features = Later("wnrl.nn.norms.layers.features")
    layers = Later("wnrl.nn.norms.layers.hypersphere")
    marked = Later("wnrl.nn.norms.layers.marked")
    hyperball_step = Later("wnrl.optim.hyperball")
    spectral_gradient = Later("wnrl.optim.spectral_gradient")


@dataclass(frozen=True)
class HyperballSettings:
    """Settings of hyperball."""

    by: str = setting(
        "matrix",
        "what has a fixed norm: each layer's matrix of weights, or each unit's row of it",
        source="Wen et al. 2026, section 2",
        choices=("matrix", "row"),
    )
    rate: float = setting(
        10.0,
        "relative step of a weight, in learning rates",
        source="ours; AdamH tunes the relative step itself, about 0.02",
        above=0,
    )


def hyperball(settings: HyperballSettings) -> Norm:
    """Hyperball: fixed norms of each weight and each update."""

    def optimizer(network: nn.Module, spec: step.OptimizerSpec) -> step.StepOptimizer:
        return hyperball_step.HyperballStep(
            build_optimizer(network, spec),
            marked.marked_weights(network),
            settings.rate,
            by_rows=settings.by == "row",
        )

    return Norm(
        name="hyperball",
        summary="each weight matrix keeps its initial norm, and each step moves it by a fixed "
        "share of that norm",
        paper="Wen et al. 2026 (Hyperball), arXiv 2606.16899",
        cost="acting: none; learning: five passes over the weights in each step",
        normalizes=STEPPED_WEIGHTS,
        linear=marked.MarkedLinear,
        conv=marked.MarkedConv2d,
        optimizer=optimizer,
        start=SAME,
        settings=settings,
        configure=hyperball,
    )


@dataclass(frozen=True)
class HypersphereSettings:
    """Settings of SimbaV2's layers."""

    init: float = setting(
        0.0,
        "scaler of each unit at the start; 0 is sqrt(2 / units)",
        source="SimbaV2's configuration: sqrt(2 / units)",
        minimum=0,
    )
    scale: float = setting(
        0.0,
        "size of the scaler's parameter at the start: the smaller, the faster it learns; 0 is "
        "sqrt(2 / units)",
        source="SimbaV2's configuration: sqrt(2 / units)",
        minimum=0,
    )


def hypersphere(settings: HypersphereSettings) -> Norm:
    """SimbaV2's layers: unit rows, a learned scaler, and outputs of unit length."""
    options = {"init": settings.init, "scale": settings.scale}
    return Norm(
        name="hypersphere",
        summary="unit rows after each step, a learned scaler of each unit, and each sample's "
        "outputs divided by their length, as in SimbaV2",
        paper="Lee et al. 2025 (SimbaV2), arXiv 2502.15280",
        cost="acting: one pass over each layer's activations and weights; learning: also one pass "
        "over the weights after each step",
        normalizes=STEPPED_WEIGHTS,
        linear=partial(layers.SphereLinear, **options),
        conv=partial(layers.SphereConv2d, **options),
        activation=unit_outputs,
        initialize=layers.start_on_sphere_,
        after_step=layers.project_rows_,
        settings=settings,
        configure=hypersphere,
    )


def unit_outputs(shape: tuple[int, ...]) -> nn.Module:
    """Return a layer that divides each sample's outputs by their length, with SimbaV2's epsilon."""
    return features.UnitLength(1e-8)


@dataclass(frozen=True)
class ClipSettings:
    """Settings of weight clipping."""

    kappa: float = setting(
        1.0,
        "largest weight, in 1 / sqrt(fan_in), the range of torch's initialization",
        source="beta of mohmdelsayed/weight-clipping",
        above=0,
    )


def clip(settings: ClipSettings) -> Norm:
    """Weight clipping."""
    return Norm(
        name="clip",
        summary="weights and biases clipped to kappa / sqrt(fan_in) after each step",
        paper="Elsayed et al. 2024, arXiv 2407.01704",
        cost="acting: none; learning: one pass over the weights after each step",
        normalizes=STEPPED_WEIGHTS,
        linear=marked.MarkedLinear,
        conv=marked.MarkedConv2d,
        after_step=partial(marked.clip_weights_, kappa=settings.kappa),
        start=SAME,
        settings=settings,
        configure=clip,
    )


@dataclass(frozen=True)
class SpectralGradientSettings:
    """Settings of gradients divided by spectral norms."""

    lipschitz: float = setting(
        1.0,
        "spectral norm of a weight at which its gradient stays as it is",
        source="Gogianu et al. 2021",
        above=0,
    )


def spectral_gradient_scaling(settings: SpectralGradientSettings) -> Norm:
    """Spectral normalization of gradients in place of weights."""

    def optimizer(network: nn.Module, spec: step.OptimizerSpec) -> step.StepOptimizer:
        built = build_optimizer(network, spec)
        weights = marked.marked_weights(network)
        return spectral_gradient.SpectralGradientStep(built, weights, settings.lipschitz)

    return Norm(
        name="spectral-grad",
        summary="the gradient of each layer's weight divided by the weight's largest singular "
        "value (divGrad), in place of the weight",
        paper="Gogianu et al. 2021, arXiv 2105.05246, section 5",
        cost="acting: none; learning: two matrix-vector products per layer in each step",
        normalizes=STEPPED_WEIGHTS,
        linear=marked.MarkedLinear,
        conv=marked.MarkedConv2d,
        optimizer=optimizer,
        start=SAME,
        settings=settings,
        configure=spectral_gradient_scaling,
    )
