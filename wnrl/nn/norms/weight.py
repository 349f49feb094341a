"""Records of the normalizations of weights: weight norm, spectral, standardized, projected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.nn.norms.batch import (
    VALUES,
    MeanSettings,
    batch_layers,
    mean_only,
    momentum_setting,
    statistics_setting,
)
from wnrl.nn.norms.layers.gains import RELU_GAMMA
from wnrl.nn.norms.record import (
    ONE_PASS,
    SAME,
    SAME_ACTING,
    STEPPED_WEIGHTS,
    WEIGHTS,
    ActivationFactory,
    Norm,
    build_optimizer,
    eps_setting,
    leave_alone,
    no_activation_norm,
)
from wnrl.nn.norms.sample import plain_layers
from wnrl.nn.norms.transition_values import separate_batches
from wnrl.rl.schedules import linear

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import projection as projected
    from wnrl.nn.norms.layers import spectral, standardization
    from wnrl.nn.weight_norm import layers, lstm
    from wnrl.optim import step, wrapped_step
else:
    nn = Later("torch.nn")
    projected = Later("wnrl.nn.norms.layers.projection")
    spectral = Later("wnrl.nn.norms.layers.spectral")
    standardization = Later("wnrl.nn.norms.layers.standardization")
    layers, lstm = Later("wnrl.nn.weight_norm.layers"), Later("wnrl.nn.weight_norm.lstm")
    step = Later("wnrl.optim.step")
    wrapped_step = Later("wnrl.optim.wrapped_step")

SALIMANS = "Salimans & Kingma 2016, arXiv 1602.07868"
# Section 5.4, where the rate is 1e-4 without weight norm; v and its length as in section 3.
PAPER: Mapping[str, Any] = {
    "learning_rate": 3e-4,
    "init_weights": "normal",
    "init": "data",
    "v_norm": "paper",
}


def weight_normalization(
    storage: str = "w", *, gain: str = "linear", max_v_norm: float | None = None
) -> Norm:
    """Weight normalization in one of its two storages.

    Args:
        storage: "w" (in the catalogue) for plain weights that the optimizer's step normalizes;
            "gv" for gains and weight vectors as Parameters, stepped by torch's optimizers. Both
            follow the same trajectory; "gv" is for research on g and v.
        gain: as in `WNLinear`; storage "gv" only.
        max_v_norm: as in `WNLinear`; storage "gv" only. `after_step` applies the cap.
    """
    options: dict[str, Any] = {"storage": storage, "gain": gain, "max_v_norm": max_v_norm}
    return Norm(
        name="weight",
        summary="w = g v / ||v||: length and direction of each unit's weights, learned separately",
        paper=SALIMANS,
        cost="acting: none; learning: row norms once per update",
        normalizes=WEIGHTS,
        linear=partial(layers.WNLinear, **options),
        conv=partial(layers.WNConv2d, **options),
        lstm=partial(lstm.WNLSTM, **options),
        after_step=leave_alone if max_v_norm is None else layers.cap_vector_norms_,
        start=SAME,
        weight_vectors=True,
        presets={"paper": PAPER},
    )


def weight_and_mean(settings: MeanSettings) -> Norm:
    """Weight normalization with mean-only batch normalization after it."""
    return replace(
        weight_normalization(),
        name="weight-mean",
        summary="weight and mean combined: w = g v / ||v||, zero mean of each unit over the batch",
        paper=f"{SALIMANS}, section 4",
        cost="acting: one addition; learning: row norms and one pass over each layer's activations",
        activation=mean_only(settings).activation,
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=weight_and_mean,
    )


@dataclass(frozen=True)
class SpectralSettings:
    """Settings of spectral normalization."""

    power_iterations: int = setting(
        1, "power iterations per forward pass in training", source="Miyato et al. 2018", minimum=1
    )
    lipschitz: float = setting(
        1.0, "spectral norm of each layer's weight", source="Miyato et al. 2018", above=0
    )
    leave_smaller: bool = setting(
        False,
        "no change to weights whose spectral norm is already smaller",
        source="Gogianu et al. 2021, where it is an option",
    )


def spectral_norm(settings: SpectralSettings) -> Norm:
    """Spectral normalization."""
    options: dict[str, Any] = {
        "power_iterations": settings.power_iterations,
        "lipschitz": settings.lipschitz,
        "leave_smaller": settings.leave_smaller,
    }
    return Norm(
        name="spectral",
        summary="each layer's weight divided by its largest singular value (Gogianu et al. "
        "normalize only the penultimate layer)",
        paper="Miyato et al. 2018, arXiv 1802.05957; Gogianu et al. 2021, 2105.05246",
        cost="acting: one matrix-vector product per layer; learning: three per forward pass",
        normalizes=WEIGHTS,
        linear=partial(spectral.SpectralLinear, **options),
        conv=partial(spectral.SpectralConv2d, **options),
        initialize=spectral.settle_spectral_,
        settings=settings,
        configure=spectral_norm,
    )


@dataclass(frozen=True)
class StandardizationSettings:
    """Settings of scaled weight standardization."""

    gamma: float = setting(
        RELU_GAMMA,
        "gain that the nonlinearity requires",
        source="Brock et al. 2021, 4.2: ReLU",
        above=0,
    )
    eps: float = setting(
        1e-4,
        "lower bound of variance times fan-in",
        source="deepmind/nfnets base.py",
        above=0,
        maximum=1,
    )


def weight_standardization(settings: StandardizationSettings) -> Norm:
    """Scaled weight standardization with gains."""
    options: dict[str, Any] = {"gamma": settings.gamma, "eps": settings.eps}
    return Norm(
        name="weight-standardization",
        summary="zero mean and unit length of each unit's weights, times a learned gain",
        paper="Brock et al. 2021, arXiv 2101.08692 and 2102.06171",
        cost="acting and learning: three passes over the weights per forward pass",
        normalizes=WEIGHTS,
        linear=partial(standardization.StandardizedLinear, **options),
        conv=partial(standardization.StandardizedConv2d, **options),
        settings=settings,
        configure=weight_standardization,
    )


@dataclass(frozen=True)
class ProjectionSettings:
    """Settings of unit-length projection.

    The papers always combine it with batch norm, without which a unit has no scale to learn; so
    does the default. Statistics default to those of `batch`, so that the two entries differ in one
    thing only; the papers use joint statistics.
    """

    activation: str = setting(
        "batch",
        "normalization before each nonlinearity",
        source="Palenicek et al. 2025: batch norm",
        choices=("batch", "layer", "none"),
    )
    eps: float = eps_setting(1e-5, "torch")
    momentum: float = momentum_setting(0.1, "torch; used with activation batch")
    statistics: str = statistics_setting()


def projection(settings: ProjectionSettings) -> Norm:
    """Projection of each unit's weights to unit length after each step."""
    activations: dict[str, ActivationFactory] = {
        "batch": batch_layers(settings.eps, settings.momentum),
        "layer": partial(nn.LayerNorm, eps=settings.eps),
        "none": no_activation_norm,
    }
    batch = settings.activation == "batch"
    return Norm(
        name="projection",
        summary="each unit's weights scaled to unit length after each step, with batch norm; "
        "CrossQ+WN and XQC call this weight norm",
        paper="Palenicek et al. 2025 (CrossQ+WN), arXiv 2502.07523; XQC, 2509.25174",
        cost="like batch; learning: also one pass over the weights after each step",
        normalizes=STEPPED_WEIGHTS,
        linear=projected.ProjectedLinear,
        conv=projected.ProjectedConv2d,
        activation=activations[settings.activation],
        initialize=projected.project_,
        after_step=projected.project_,
        values=VALUES[settings.statistics] if batch else separate_batches,
        smallest_batch=2 if batch else 1,
        settings=settings,
        configure=projection,
    )


@dataclass(frozen=True)
class NapSettings:
    """Settings of normalize-and-project."""

    eps: float = eps_setting(1e-5, "torch")
    final_rate: float = setting(
        0.01,
        "share of the learning rate left at the end of the schedule, reached linearly",
        source="ours; Lyle et al. 2024 find that projection needs a schedule",
        minimum=0,
        maximum=1,
    )


def normalize_and_project(settings: NapSettings) -> Norm:
    """Layer norm without scale and shift, weight matrices of constant norm, falling rates."""

    def optimizer(network: nn.Module, spec: step.OptimizerSpec) -> step.StepOptimizer:
        projected.hold_norms_(network)

        def share(updates: int) -> float:
            return linear(updates, 1.0, settings.final_rate, spec.total_updates)

        built = build_optimizer(network, spec)
        return wrapped_step.ScheduledStep(built, share) if spec.total_updates else built

    return Norm(
        name="nap",
        summary="layer-plain, with each weight matrix scaled back to its initial norm after each "
        "step and a learning rate that falls linearly, as it effectively does when weights grow",
        paper="Lyle et al. 2024 (Normalize-and-Project), arXiv 2407.01800",
        cost=f"{ONE_PASS}; learning: also one pass over the weights after each step",
        normalizes=STEPPED_WEIGHTS,
        linear=partial(projected.ProjectedLinear, by_rows=False),
        conv=partial(projected.ProjectedConv2d, by_rows=False),
        activation=plain_layers(settings.eps),
        optimizer=optimizer,
        after_step=projected.project_,
        scheduled=True,
        settings=settings,
        configure=normalize_and_project,
    )
