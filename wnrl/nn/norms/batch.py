"""Records of the normalizations of activations over the batch.

A `momentum` is the weight of a new batch, as in torch, also where the source counts the other way.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from wnrl._settings import SettingError, setting
from wnrl.nn.networks.transition_values import Values, joint_batch, separate_batches
from wnrl.nn.norms.layers.batch_renorm import BatchRenorm
from wnrl.nn.norms.layers.mean_only import MeanOnlyBatchNorm
from wnrl.nn.norms.record import ONE_PASS, SAME_ACTING, ActivationFactory, Norm, eps_setting

VALUES: dict[str, Values] = {"evaluation": separate_batches, "joint": joint_batch}


def momentum_setting(default: float, source: str) -> Any:
    """The field of a momentum."""
    return setting(
        default, "weight of a batch in the running statistics", source=source, above=0, maximum=1
    )


def statistics_setting() -> Any:
    """The field that chooses from `VALUES`."""
    return setting(
        "evaluation",
        "in the target: `evaluation` has the running statistics, `joint` the batch's, from one "
        "forward over (s_tm1, s_t) as CrossQ does it",
        source="ours: the target acts as a policy would",
        choices=tuple(VALUES),
    )


@dataclass(frozen=True)
class MeanSettings:
    """Of mean-only batch normalization."""

    momentum: float = momentum_setting(0.1, "openai/weightnorm, lasagne: 0.9 of the old")


def mean_only(settings: MeanSettings) -> Norm:
    """Mean-only batch normalization without weight normalization."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return MeanOnlyBatchNorm(shape[0], settings.momentum)

    return Norm(
        name="mean",
        summary="each unit to zero mean over the batch, its scale left alone",
        paper="Salimans & Kingma 2016, arXiv 1602.07868, section 4",
        cost="acting: one addition; learning: one pass over the activations of each layer",
        activation=activation,
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=mean_only,
    )


@dataclass(frozen=True)
class BatchSettings:
    """Of batch normalization."""

    eps: float = eps_setting(1e-5, "torch")
    momentum: float = momentum_setting(0.1, "torch")
    statistics: str = statistics_setting()


def batch_layers(eps: float, momentum: float) -> ActivationFactory:
    """Batch normalization of vectors or maps.

    The layer before keeps its bias, which batch norm makes redundant, so that every normalization
    initializes the same parameters.
    """

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
        activation=batch_layers(settings.eps, settings.momentum),
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

    eps: float = eps_setting(1e-3, "CrossQ, sbx/sac/policies.py")
    momentum: float = momentum_setting(0.01, "CrossQ: 0.99 of the old")
    statistics: str = statistics_setting()
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
        raise SettingError(
            "norm.r_end_updates",
            f"{ends[0]} and norm.d_end_updates {ends[1]} must not be below "
            f"norm.start_updates {start}",
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
