"""Records of the normalizations of activations over the batch.

`momentum` is always the weight of the new batch, as in torch, even if the source defines it as the
weight of the old statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wnrl._settings import SettingError, setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import (
    BATCH,
    ONE_PASS,
    SAME_ACTING,
    ActivationFactory,
    Norm,
    eps_setting,
)
from wnrl.nn.norms.transition_values import (
    Values,
    joint_batch,
    mixed_batches,
    own_batches,
    separate_batches,
)

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import batch_renorm as renorm
    from wnrl.nn.norms.layers.mean_only import MeanOnlyBatchNorm
else:
    nn = Later("torch.nn")
    renorm = Later("wnrl.nn.norms.layers.batch_renorm")
    MeanOnlyBatchNorm = Later("wnrl.nn.norms.layers.mean_only").MeanOnlyBatchNorm

# The statistics that normalize s_t for the bootstrap; see `wnrl.nn.norms.transition_values`.
VALUES: dict[str, Values] = {
    "evaluation": separate_batches,
    "joint": joint_batch,
    "target": own_batches,
    "mixed": mixed_batches,
}


def momentum_setting(default: float, source: str) -> Any:
    """Declare a momentum."""
    return setting(
        default,
        "weight of a new batch in the running statistics",
        source=source,
        above=0,
        maximum=1,
    )


def statistics_setting() -> Any:
    """Declare the choice from `VALUES`."""
    return setting(
        "evaluation",
        "statistics of the target network at s': `evaluation` for the running ones, `target` for "
        "its batch's, `mixed` for those of s and s' together, `joint` for one pass of each network "
        "over (s, s') as in CrossQ",
        source="ours: the target behaves like the acting network",
        choices=tuple(VALUES),
    )


@dataclass(frozen=True)
class MeanSettings:
    """Settings of mean-only batch normalization."""

    momentum: float = momentum_setting(0.1, "openai/weightnorm, lasagne: keeps 0.9")


def mean_only(settings: MeanSettings) -> Norm:
    """Mean-only batch normalization without weight normalization."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        return MeanOnlyBatchNorm(shape[0], settings.momentum)

    return Norm(
        name="mean",
        summary="zero mean of each unit over the batch; the scale stays",
        paper="Salimans & Kingma 2016, arXiv 1602.07868, section 4",
        cost="acting: one addition; learning: one pass over each layer's activations",
        normalizes=BATCH,
        activation=activation,
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=mean_only,
    )


@dataclass(frozen=True)
class BatchSettings:
    """Settings of batch normalization."""

    eps: float = eps_setting(1e-5, "torch")
    momentum: float = momentum_setting(0.1, "torch")
    statistics: str = statistics_setting()


def batch_layers(eps: float, momentum: float) -> ActivationFactory:
    """Return a factory of batch normalization layers for vectors or maps.

    The layer before keeps its bias, although batch norm makes it redundant, so that every
    normalization initializes the same parameters.
    """

    def activation(shape: tuple[int, ...]) -> nn.Module:
        kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        return kind(shape[0], eps, momentum)

    return activation


def batch_norm(settings: BatchSettings) -> Norm:
    """Batch normalization."""
    return Norm(
        name="batch",
        summary="zero mean and unit variance of each unit over the batch; running statistics when "
        "acting",
        paper="Ioffe & Szegedy 2015, arXiv 1502.03167; Bhatt et al. 2024 (CrossQ), 1902.05605",
        cost=f"{ONE_PASS}; with joint statistics both networks process twice the batch, with mixed "
        "ones the target network does",
        normalizes=BATCH,
        activation=batch_layers(settings.eps, settings.momentum),
        values=VALUES[settings.statistics],
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=batch_norm,
    )


@dataclass(frozen=True)
class BatchRenormSettings:
    """Settings of batch renormalization: CrossQ's numbers with Ioffe's schedule of the limits.

    CrossQ switches from batch norm to r_max 3 and d_max 5 at once after 100,000 updates, which is
    longer than a short run; Ioffe raises the limits linearly from update 5,000 on. Set all three
    to 100,000 for CrossQ's schedule.
    """

    eps: float = eps_setting(1e-3, "CrossQ, sbx/sac/policies.py")
    momentum: float = momentum_setting(0.01, "CrossQ: keeps 0.99")
    statistics: str = statistics_setting()
    r_max: float = setting(3.0, "limit of the scale correction", source="Ioffe 2017", minimum=1)
    d_max: float = setting(5.0, "limit of the shift correction", source="Ioffe 2017", minimum=0)
    start_updates: int = setting(
        5_000,
        "updates as plain batch norm before the corrections start",
        unit="updates",
        source="Ioffe 2017, section 4",
        minimum=0,
    )
    r_end_updates: int = setting(
        40_000,
        "update at which the scale correction reaches r_max",
        unit="updates",
        source="Ioffe 2017, section 4",
        minimum=0,
    )
    d_end_updates: int = setting(
        25_000,
        "update at which the shift correction reaches d_max",
        unit="updates",
        source="Ioffe 2017, section 4",
        minimum=0,
    )


def batch_renorm(settings: BatchRenormSettings) -> Norm:
    """Batch renormalization."""
    start, ends = settings.start_updates, (settings.r_end_updates, settings.d_end_updates)
    if min(ends) < start:
        raise SettingError(
            "norm.r_end_updates",
            f"{ends[0]} and norm.d_end_updates {ends[1]} must be at least "
            f"norm.start_updates {start}",
        )

    def activation(shape: tuple[int, ...]) -> nn.Module:
        limits = renorm.RenormLimits(settings.r_max, settings.d_max, start, *ends)
        return renorm.BatchRenorm(shape[0], settings.eps, settings.momentum, limits)

    return Norm(
        name="batch-renorm",
        summary="batch norm with batch statistics corrected towards the running ones",
        paper="Ioffe 2017, arXiv 1702.03275; Bhatt et al. 2024 (CrossQ), 1902.05605",
        cost="acting: like batch; learning: two passes over each layer's activations",
        normalizes=BATCH,
        activation=activation,
        values=VALUES[settings.statistics],
        start=SAME_ACTING,
        smallest_batch=2,
        settings=settings,
        configure=batch_renorm,
    )
