"""The catalogue of normalizations: one record each, in one table, with its parameters.

A parameter is set by `--norm.<name>`. Defaults are the papers' where they say them; `momentum` is
the weight of a new batch, as in torch, also where the source counts the other way round.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from wnrl.errors import UsageError, nearest
from wnrl.nn.batch_renorm import BatchRenorm
from wnrl.nn.channel_norm import ChannelLayerNorm
from wnrl.nn.mean_only import MeanOnlyBatchNorm
from wnrl.nn.norm import (
    SAME,
    SAME_ACTING,
    ActivationFactory,
    Norm,
    build_optimizer,
    leave_alone,
    no_activation_norm,
)
from wnrl.nn.projection import ProjectedConv2d, ProjectedLinear, hold_norms_, project_
from wnrl.nn.spectral import SpectralConv2d, SpectralLinear, settle_spectral_
from wnrl.nn.standardization import RELU_GAMMA, StandardizedConv2d, StandardizedLinear
from wnrl.nn.values import Values, joint_batch, separate_batches
from wnrl.nn.weight_norm import WNConv2d, WNLinear, cap_vector_norms_
from wnrl.schedules import linear
from wnrl.settings import setting
from wnrl.stepping import OptimizerSpec, ScheduledStep, StepOptimizer

NORMS: dict[str, Norm] = {}


def register_norm(norm: Norm) -> Norm:
    """Add a normalization of one's own to the catalogue.

    Raises:
        UsageError: if the name is taken or empty.
    """
    if not norm.name or norm.name in NORMS:
        raise UsageError(f"normalization {norm.name!r} is taken or empty: choose another name")
    NORMS[norm.name] = norm
    return norm


def get_norm(name: str) -> Norm:
    """The normalization of that name, with its defaults.

    Raises:
        UsageError: if there is none, with the nearest names.
    """
    if name not in NORMS:
        raise UsageError(
            f"unknown normalization {name!r}: allowed are {', '.join(NORMS)}" + nearest(name, NORMS)
        )
    return NORMS[name]


SALIMANS = "Salimans & Kingma 2016, arXiv 1602.07868"
ONE_PASS = "acting and learning: one pass over the activations of each layer"
VALUES: dict[str, Values] = {"evaluation": separate_batches, "joint": joint_batch}


def _eps(default: float, source: str) -> Any:
    return setting(default, "added to the variance", source=source, above=0, maximum=1)


def _momentum(default: float, source: str) -> Any:
    return setting(
        default, "weight of a batch in the running statistics", source=source, above=0, maximum=1
    )


def _statistics() -> Any:
    return setting(
        "evaluation",
        "in the target: `evaluation` has the running statistics, `joint` the batch's, from one "
        "forward over (s_tm1, s_t) as CrossQ does it",
        source="ours: the target acts as a policy would",
        choices=tuple(VALUES),
    )


# --- of weights: g v / ||v|| ---------------------------------------------------------------------


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
        after_step=leave_alone if max_v_norm is None else cap_vector_norms_,
        start=SAME,
        weight_vectors=True,
        presets={"paper": {"learning_rate": 3e-4}},  # section 5.4, against 1e-4 without it
    )


@dataclass(frozen=True)
class MeanSettings:
    """Of mean-only batch normalization."""

    momentum: float = _momentum(0.1, "openai/weightnorm, lasagne: 0.9 of the old")


def mean_only(settings: MeanSettings) -> Norm:
    """Mean-only batch normalization without weight normalization."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return MeanOnlyBatchNorm(shape[0], settings.momentum)

    return Norm(
        name="mean",
        summary="each unit to zero mean over the batch, its scale left alone",
        paper=f"{SALIMANS}, section 4",
        cost="acting: one addition; learning: one pass over the activations of each layer",
        activation=activation,
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=mean_only,
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


# --- of activations, over the batch --------------------------------------------------------------


@dataclass(frozen=True)
class BatchSettings:
    """Of batch normalization."""

    eps: float = _eps(1e-5, "torch")
    momentum: float = _momentum(0.1, "torch")
    statistics: str = _statistics()


def _batch_layers(eps: float, momentum: float) -> ActivationFactory:
    # The layer before keeps its bias, which batch norm makes redundant, so that every
    # normalization initializes the same parameters.
    def activation(shape: tuple[int, ...]) -> nn.Module:
        kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        return kind(shape[0], eps, momentum)

    return activation


def batch_norm(settings: BatchSettings) -> Norm:
    """Batch normalization."""
    return Norm(
        name="batch",
        summary="each unit to zero mean and unit variance over the batch; running ones in acting",
        paper="Ioffe & Szegedy 2015, arXiv 1502.03167; Bhatt et al. 2024 (CrossQ), 1902.05605",
        cost=f"{ONE_PASS}; with joint statistics both networks see twice the batch",
        activation=_batch_layers(settings.eps, settings.momentum),
        values=VALUES[settings.statistics],
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=batch_norm,
    )


@dataclass(frozen=True)
class BatchRenormSettings:
    """Of batch renormalization: CrossQ's numbers, with the paper's way to the limits.

    CrossQ switches from batch norm to r_max 3 and d_max 5 at once after 100,000 updates, which is
    longer than a short run; Ioffe's lines begin after 5,000. Set all three to 100,000 for CrossQ's.
    """

    eps: float = _eps(1e-3, "CrossQ, sbx/sac/policies.py")
    momentum: float = _momentum(0.01, "CrossQ: 0.99 of the old")
    statistics: str = _statistics()
    r_max: float = setting(3.0, "limit of the scale's correction", source="Ioffe 2017", minimum=1)
    d_max: float = setting(5.0, "limit of the shift's correction", source="Ioffe 2017", minimum=0)
    start_updates: int = setting(
        5_000, "as plain batch norm", unit="updates", source="Ioffe 2017, section 4", minimum=0
    )
    r_end_updates: int = setting(
        40_000, "when r_max is reached", unit="updates", source="Ioffe 2017, section 4", minimum=0
    )
    d_end_updates: int = setting(
        25_000, "when d_max is reached", unit="updates", source="Ioffe 2017, section 4", minimum=0
    )


def batch_renorm(settings: BatchRenormSettings) -> Norm:
    """Batch renormalization."""
    start, ends = settings.start_updates, (settings.r_end_updates, settings.d_end_updates)
    if min(ends) < start:
        raise UsageError(
            f"--norm.r-end-updates {ends[0]} and --norm.d-end-updates {ends[1]} must not lie "
            f"before --norm.start-updates {start}"
        )

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return BatchRenorm(
            shape[0],
            settings.eps,
            settings.momentum,
            r_max=settings.r_max,
            d_max=settings.d_max,
            start_updates=start,
            r_end_updates=ends[0],
            d_end_updates=ends[1],
        )

    return Norm(
        name="batch-renorm",
        summary="batch norm whose batch statistics are corrected towards the running ones",
        paper="Ioffe 2017, arXiv 1702.03275; Bhatt et al. 2024 (CrossQ), 1902.05605",
        cost="acting: as batch; learning: two passes over the activations of each layer",
        activation=activation,
        values=VALUES[settings.statistics],
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=batch_renorm,
    )


# --- of activations, sample by sample ------------------------------------------------------------


@dataclass(frozen=True)
class LayerSettings:
    """Of layer normalization over the whole map."""

    eps: float = _eps(1e-5, "torch, as in CleanRL's PQN")


def layer_norm(settings: LayerSettings) -> Norm:
    """Layer normalization of the whole map, one scale and shift per element."""
    return Norm(
        name="layer",
        summary="each sample's whole map to zero mean and unit variance, as CleanRL's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024 (PQN), 2407.04811",
        cost=ONE_PASS,
        activation=partial(nn.LayerNorm, eps=settings.eps),
        settings=settings,
        configure=layer_norm,
    )


@dataclass(frozen=True)
class ChannelSettings:
    """Of layer normalization over channels."""

    eps: float = _eps(1e-6, "flax, as in purejaxql's PQN")


def layer_norm_of_channels(settings: ChannelSettings) -> Norm:
    """Layer normalization of each position's channels."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return ChannelLayerNorm(shape[0], settings.eps)

    return Norm(
        name="layer-channel",
        summary="each position's channels to zero mean and unit variance, as purejaxql's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024 (PQN), 2407.04811",
        cost=ONE_PASS,
        activation=activation,
        settings=settings,
        configure=layer_norm_of_channels,
    )


def _plain_layers(eps: float) -> ActivationFactory:
    return partial(nn.LayerNorm, eps=eps, elementwise_affine=False)


@dataclass(frozen=True)
class PlainLayerSettings:
    """Of layer normalization without scale and shift."""

    eps: float = _eps(1e-5, "torch, as in the streaming agents' code")


def layer_norm_without_affine(settings: PlainLayerSettings) -> Norm:
    """Layer normalization of the whole map, without scale and shift."""
    return Norm(
        name="layer-plain",
        summary="as layer, without a scale and shift that learn",
        paper="Ba et al. 2016, arXiv 1607.06450; Elsayed et al. 2024 (streaming), 2410.14606",
        cost=ONE_PASS,
        activation=_plain_layers(settings.eps),
        settings=settings,
        configure=layer_norm_without_affine,
    )


@dataclass(frozen=True)
class RMSSettings:
    """Of root mean square normalization."""

    eps: float = setting(
        1e-8, "added to the mean square", source="Zhang & Sennrich's code", above=0, maximum=1
    )


def rms_norm(settings: RMSSettings) -> Norm:
    """Root mean square normalization of the whole map, one scale per element."""
    return Norm(
        name="rms",
        summary="each sample's whole map to a root mean square of 1, its mean left alone",
        paper="Zhang & Sennrich 2019, arXiv 1910.07467",
        cost=ONE_PASS,
        activation=partial(nn.RMSNorm, eps=settings.eps),
        settings=settings,
        configure=rms_norm,
    )


@dataclass(frozen=True)
class GroupSettings:
    """Of group normalization."""

    groups: int = setting(
        32, "groups of channels; it divides them", source="Wu & He 2018, section 4.1", minimum=1
    )
    eps: float = _eps(1e-5, "Wu & He 2018, figure 3")


def group_norm(settings: GroupSettings) -> Norm:
    """Group normalization."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        channels = shape[0]
        if channels % settings.groups:
            raise UsageError(
                f"--norm.groups {settings.groups} does not divide a layer of {channels} units; "
                "give a number that divides every layer's"
            )
        if len(shape) == 1 and channels == settings.groups:
            raise UsageError(
                f"--norm.groups {settings.groups} leaves one value per group in a linear layer of "
                f"{channels} units, which would always become 0; give fewer groups"
            )
        return nn.GroupNorm(settings.groups, channels, settings.eps)

    return Norm(
        name="group",
        summary="each sample's groups of channels to zero mean and unit variance",
        paper="Wu & He 2018, arXiv 1803.08494",
        cost=ONE_PASS,
        activation=activation,
        settings=settings,
        configure=group_norm,
    )


# --- of weights: bounded, standardized, projected ------------------------------------------------


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
    eps: float = _eps(1e-5, "torch")
    momentum: float = _momentum(0.1, "torch; of batch alone")
    statistics: str = _statistics()


def projection(settings: ProjectionSettings) -> Norm:
    """Rows of unit length after each step."""
    activations: dict[str, ActivationFactory] = {
        "batch": _batch_layers(settings.eps, settings.momentum),
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

    eps: float = _eps(1e-5, "torch")
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
        activation=_plain_layers(settings.eps),
        optimizer=optimizer,
        after_step=project_,
        scheduled=True,
        settings=settings,
        configure=normalize_and_project,
    )


NONE = Norm(
    name="none",
    summary="no normalization",
    paper="Mnih et al. 2015, Nature 518",
    cost="none",
    start=SAME,
)
for _norm in (
    NONE,
    weight_normalization(),
    weight_and_mean(MeanSettings()),
    mean_only(MeanSettings()),
    batch_norm(BatchSettings()),
    batch_renorm(BatchRenormSettings()),
    layer_norm(LayerSettings()),
    layer_norm_of_channels(ChannelSettings()),
    layer_norm_without_affine(PlainLayerSettings()),
    rms_norm(RMSSettings()),
    group_norm(GroupSettings()),
    spectral_norm(SpectralSettings()),
    weight_standardization(StandardizationSettings()),
    projection(ProjectionSettings()),
    normalize_and_project(NapSettings()),
):
    register_norm(_norm)
