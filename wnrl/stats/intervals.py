"""Uncertainty of a mean over seeds: Student-t intervals, and how much a number of seeds can show.

Statistics over several games are in `wnrl.stats.scores`, their bootstrap intervals in
`wnrl.stats.bootstrap`.

Dimension key: S seeds, n seeds of one group, R resamples.
"""

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wnrl.stats.student_t import check_confidence, two_sided_t

Array = npt.NDArray[np.float64]

INDICATIVE_SEEDS = 3  # with fewer, nothing can be concluded
CONCLUSIVE_SEEDS = 5  # with fewer, a difference is indicative only
_SAME = 1e-9  # scores that differ by less than this share of their size are equal up to rounding


class Evidence(enum.Enum):
    """The conclusions that a number of seeds allows."""

    NONE = enum.auto()  # nothing can be concluded
    INDICATIVE = enum.auto()  # a difference is a hint
    CONCLUSIVE = enum.auto()  # intervals mean what they say


@dataclass(frozen=True)
class Interval:
    """A statistic of the scores and the confidence interval around it.

    With nothing to estimate the spread from, such as one seed, both ends are NaN.
    """

    value: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Return whether the interval has ends."""
        return not math.isnan(self.low)


@dataclass(frozen=True)
class Group:
    """The scores of a variant, summarized; every field is (...)."""

    mean: Array
    variance: Array  # of a score, over seeds; 0 without any spread, NaN with one score
    count: int  # n


def evidence(seeds: int) -> Evidence:
    """Return how much a comparison can show.

    Args:
        seeds: the smallest number of seeds of any compared setting.

    Raises:
        ValueError: if seeds is negative.
    """
    if seeds < 0:
        raise ValueError(f"seeds must be at least 0, not {seeds}")
    if seeds < INDICATIVE_SEEDS:
        return Evidence.NONE
    return Evidence.INDICATIVE if seeds < CONCLUSIVE_SEEDS else Evidence.CONCLUSIVE


def group(scores: npt.ArrayLike, sampling_variance: npt.ArrayLike = math.nan) -> Group:
    """Summarize scores: (..., n) -> (...).

        s² = max(sum (x - mean)² / (n - 1), mean of the sampling variances)

    A run's score is a mean over episodes, so it has an error of its own, and scores of other seeds
    cannot vary by less than this error. Seeds that agree by chance do not make a mean certain.

    Args:
        scores: one per seed.
        sampling_variance: square of each score's own standard error, (..., n) or one for all; NaN
            if unknown.
    """
    x = np.asarray(scores, dtype=np.float64)
    own = np.broadcast_to(np.asarray(sampling_variance, dtype=np.float64), x.shape)
    known = ~np.isnan(own)
    floor = np.where(known, own, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    count = x.shape[-1]
    if count < 2:
        return Group(x.mean(axis=-1), np.full(x.shape[:-1], math.nan), count)
    variance = x.var(axis=-1, ddof=1)
    rounding = (_SAME * np.abs(x).max(axis=-1)) ** 2
    variance = np.where(variance <= rounding, 0.0, variance)
    return Group(x.mean(axis=-1), np.maximum(variance, floor), count)


def t_interval(
    values: npt.ArrayLike,
    *,
    sampling_variance: npt.ArrayLike = math.nan,
    confidence: float = 0.95,
) -> Interval:
    """Return the mean over seeds with its Student-t interval.

        mean ± t s / sqrt(S)        s² as in `group`

    For normal scores its coverage is exact at every S >= 2. A percentile bootstrap's is not: at a
    nominal 95% it covers 75% with three seeds and 83% with five (tests/stats/test_bootstrap.py).

    Args:
        values: (S,) a score per seed.
        sampling_variance: as in `group`.
        confidence: in (0, 1).

    Returns:
        The interval; its ends are NaN with one seed, and with equal scores whose own errors are
        unknown.

    Raises:
        ValueError: if values are not (S,) finite numbers with S >= 1.

    Source: Student 1908.
    """
    check_confidence(confidence)
    scores = group(finite_scores(values), sampling_variance)
    mean, variance = float(scores.mean), float(scores.variance)
    if not variance > 0:
        return Interval(mean, math.nan, math.nan)
    half = two_sided_t(confidence, scores.count - 1) * math.sqrt(variance / scores.count)
    return Interval(mean, mean - half, mean + half)


def percentile_ends(
    resampled: npt.NDArray[np.float64], confidence: float
) -> npt.NDArray[np.float64]:
    """Return the two ends of a percentile interval: (R, ...) -> (2, ...)."""
    check_confidence(confidence)
    tail = (1 - confidence) / 2
    return np.asarray(np.quantile(resampled, [tail, 1 - tail], axis=0))


def finite_scores(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return scores as (S,) float64.

    Raises:
        ValueError: if they are not (S,) with S >= 1, or one is NaN or infinite.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"scores must be (S,) with S >= 1, not {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores must be finite, not {scores[~np.isfinite(scores)][0]}")
    return scores
