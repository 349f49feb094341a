"""Records of the normalizations of weights: gain and vector, bounded, standardized, projected."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from wnrl._settings import setting
from wnrl.nn.networks.transition_values import separate_batches
from wnrl.nn.norms.batch import (
    VALUES,
    MeanSettings,
    batch_layers,
    mean_only,
    momentum_setting,
    statistics_setting,
)
from wnrl.nn.norms.layers.projection import ProjectedConv2d, ProjectedLinear, hold_norms_, project_
from wnrl.nn.norms.layers.spectral import SpectralConv2d, SpectralLinear, settle_spectral_
from wnrl.nn.norms.layers.standardization import RELU_GAMMA, StandardizedConv2d, StandardizedLinear
from wnrl.nn.norms.record import (
    ONE_PASS,
    SAME,
    SAME_ACTING,
    ActivationFactory,
    Norm,
    build_optimizer,
    eps_setting,
    leave_alone,
    no_activation_norm,
)
from wnrl.nn.norms.sample import plain_layers
from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear, cap_vector_norms_
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.step import OptimizerSpec, ScheduledStep, StepOptimizer
from wnrl.rl.schedules import linear

SALIMANS = "Salimans & Kingma 2016, arXiv 1602.07868"


def weight_normalization(
    storage: str = "w", *, gain: str = "linear", max_v_norm: float | None = None
) -> Norm:
    """Weight normalization with layers in the storage given.

    "w" (the catalogue's): plain weights, normalized by the optimizer's step. "gv": gains and
    weight vectors are the Parameters, stepped by torch's own optimizer; the same trajectory, for
    research on g and v. `gain` and `max_v_norm` are those of `WNLinear`, for "gv"; the cap is kept
    by `after_step`.
    """
    options: dict[str, Any] = {"storage": storage, "gain": gain, "max_v_norm": max_v_norm}
    return Norm(
        name="weight",
        summary="w = g v / ||v||: direction and length of each unit's weights learn apart",
        paper=SALIMANS,
        cost="acting: none; learning: row norms once per update",
        linear=partial(WNLinear, **options),
        conv=partial(WNConv2d, **options),
        lstm=partial(WNLSTM, **options),
        after_step=leave_alone if max_v_norm is None else cap_vector_norms_,
        start=SAME,
        weight_vectors=True,
        presets={"paper": {"learning_rate": 3e-4}},  # section 5.4, against 1e-4 without it
    )


def weight_and_mean(settings: MeanSettings) -> Norm:
    """Weight normalization with mean-only batch normalization after it."""
    return replace(
        weight_normalization(),
        name="weight-mean",
        summary="w = g v / ||v||, and each unit to zero mean over the batch",
        paper=f"{SALIMANS}, section 4",
        cost="acting: one addition; learning: row norms, and one pass over the activations",
        activation=mean_only(settings).activation,
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=weight_and_mean,
    )


@dataclass(frozen=True)
class SpectralSettings:
    """Of spectral normalization."""

    power_iterations: int = setting(
        1, "of the singular vector, per update", source="Miyato et al. 2018", minimum=1
    )
    lipschitz: float = setting(
        1.0, "the spectral norm that a layer gets", source="Miyato et al. 2018", above=0
    )
    leave_smaller: bool = setting(
        False, "do not enlarge a weight below it", source="Gogianu et al. 2021: an option, off"
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
        summary="each layer's weights divided by their largest singular value; Gogianu et al. do "
        "so to one layer: --norm-where penultimate",
        paper="Miyato et al. 2018, arXiv 1802.05957; Gogianu et al. 2021, 2105.05246",
        cost="acting: one product of the weights with a vector; learning: three per forward",
        linear=partial(SpectralLinear, **options),
        conv=partial(SpectralConv2d, **options),
        initialize=settle_spectral_,
        settings=settings,
        configure=spectral_norm,
    )


@dataclass(frozen=True)
class StandardizationSettings:
    """Of scaled weight standardization."""

    gamma: float = setting(
        RELU_GAMMA, "the nonlinearity's constant", source="Brock et al. 2021, 4.2: ReLU", above=0
    )
    eps: float = setting(
        1e-4, "smallest variance times fan-in", source="deepmind/nfnets base.py", above=0, maximum=1
    )


def weight_standardization(settings: StandardizationSettings) -> Norm:
    """Scaled weight standardization with gains."""
    options: dict[str, Any] = {"gamma": settings.gamma, "eps": settings.eps}
    return Norm(
        name="weight-standardization",
        summary="each unit's weights to zero mean and unit length, times a gain that learns",
        paper="Brock et al. 2021, arXiv 2101.08692 and 2102.06171",
        cost="acting and learning: three passes over the weights in each forward",
        linear=partial(StandardizedLinear, **options),
        conv=partial(StandardizedConv2d, **options),
        settings=settings,
        configure=weight_standardization,
    )


@dataclass(frozen=True)
class ProjectionSettings:
    """Of unit-length projection.

    The papers always have batch norm with it, without which a unit has no scale to learn: so has
    the default. Its statistics are the batch entry's, so that the two differ in one thing; the
    papers' are joint.
    """

    activation: str = setting(
        "batch",
        "normalization before the nonlinearity",
        source="Palenicek et al. 2025: batch norm",
        choices=("batch", "layer", "none"),
    )
    eps: float = eps_setting(1e-5, "torch")
    momentum: float = momentum_setting(0.1, "torch; of batch alone")
    statistics: str = statistics_setting()


def projection(settings: ProjectionSettings) -> Norm:
    """Rows of unit length after each step."""
    activations: dict[str, ActivationFactory] = {
        "batch": batch_layers(settings.eps, settings.momentum),
        "layer": partial(nn.LayerNorm, eps=settings.eps),
        "none": no_activation_norm,
    }
    batch = settings.activation == "batch"
    return Norm(
        name="projection",
        summary="each unit's weights to unit length after each step, and batch norm: what "
        "CrossQ+WN and XQC call weight norm",
        paper="Palenicek et al. 2025 (CrossQ+WN), arXiv 2502.07523; XQC, 2509.25174",
        cost="as batch; learning: also one pass over the weights after each step",
        linear=ProjectedLinear,
        conv=ProjectedConv2d,
        activation=activations[settings.activation],
        initialize=project_,
        after_step=project_,
        values=VALUES[settings.statistics] if batch else separate_batches,
        smallest_batch=2 if batch else 1,
        settings=settings,
        configure=projection,
    )


@dataclass(frozen=True)
class NapSettings:
    """Of normalize-and-project."""

    eps: float = eps_setting(1e-5, "torch")
    final_rate: float = setting(
        0.01,
        "learning rate at the end of --schedule-steps, as a share of --learning-rate, along a line",
        source="ours; Lyle et al. 2024 find that projection needs a schedule",
        minimum=0,
        maximum=1,
    )


def normalize_and_project(settings: NapSettings) -> Norm:
    """Layer norm without affine, weight matrices of constant norm, and a learning-rate schedule."""

    def optimizer(network: nn.Module, spec: OptimizerSpec) -> StepOptimizer:
        hold_norms_(network)

        def share(updates: int) -> float:
            return linear(updates, 1.0, settings.final_rate, spec.total_updates)

        built = build_optimizer(network, spec)
        return ScheduledStep(built, share) if spec.total_updates else built

    return Norm(
        name="nap",
        summary="layer-plain, each weight matrix to its initial norm after each step, and the "
        "learning rate along a line: without one, projection takes away the decay that growing "
        "weights bring",
        paper="Lyle et al. 2024 (Normalize-and-Project), arXiv 2407.01800",
        cost=f"{ONE_PASS}; learning: also one over the weights after each step",
        linear=partial(ProjectedLinear, by_rows=False),
        conv=partial(ProjectedConv2d, by_rows=False),
        activation=plain_layers(settings.eps),
        optimizer=optimizer,
        after_step=project_,
        scheduled=True,
        settings=settings,
        configure=normalize_and_project,
    )
