"""Uncertainty of a mean over seeds: Student-t intervals, and how much a number of seeds can show.

Statistics over several games are in `wnrl.stats.scores`, their bootstrap intervals in
`wnrl.stats.bootstrap`.

Dimension key: S seeds, R resamples.
"""

import enum
import functools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

INDICATIVE_SEEDS = 3  # with fewer, nothing can be concluded
CONCLUSIVE_SEEDS = 5  # with fewer, a difference is indicative only


class Evidence(enum.Enum):
    """The conclusions that a number of seeds allows."""

    NONE = enum.auto()  # nothing can be concluded
    INDICATIVE = enum.auto()  # a difference is a hint
    CONCLUSIVE = enum.auto()  # intervals mean what they say


@dataclass(frozen=True)
class Interval:
    """A statistic of the scores and the confidence interval around it.

    With one seed, which leaves nothing to estimate the spread from, both ends are NaN.
    """

    value: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """Return whether the interval has ends."""
        return not math.isnan(self.low)


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


def t_interval(values: npt.ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the mean over seeds with its Student-t interval.

        mean ± t s / sqrt(S)        s² = sum (x - mean)² / (S - 1)

    For normal scores its coverage is exact at every S >= 2. A percentile bootstrap's is not: at a
    nominal 95% it covers 75% with three seeds and 83% with five (tests/stats/test_bootstrap.py).

    Args:
        values: (S,) a score per seed.
        confidence: in (0, 1).

    Returns:
        The interval; its ends are NaN with one seed. Equal scores give an interval of width 0.

    Raises:
        ValueError: if values are not (S,) finite numbers with S >= 1.

    Source: Student 1908.
    """
    values = finite_scores(values)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan)
    deviation = float(values.std(ddof=1))
    half = two_sided_t(confidence, len(values) - 1) * deviation / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


@functools.cache
def two_sided_t(confidence: float, df: float) -> float:
    """Return the t with P(|T| <= t) = confidence, for a Student T with `df` degrees of freedom.

    Args:
        confidence: in (0, 1).
        df: 1, 2, 3, ... or infinity, which gives the normal distribution.

    Raises:
        ValueError: if confidence or df is none of these.
    """
    _check_confidence(confidence)
    if df == math.inf:
        return NormalDist().inv_cdf((1 + confidence) / 2)
    if not df >= 1 or df % 1 != 0:
        raise ValueError(f"df must be 1, 2, 3, ... or infinity, not {df}")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # until no number lies between them
        if _t_within(middle, int(df)) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(df) * math.tan(high)


def _t_within(theta: float, df: int) -> float:
    """Return P(|T| <= sqrt(df) tan(theta)) by Abramowitz & Stegun 26.7.3 and 26.7.4."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = df % 2
    power, term, total = odd, cosine**odd, 0.0
    while power <= df - 2:
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
        power += 2
    return (theta + sine * total) * 2 / math.pi if odd else sine * total


def percentile_ends(
    resampled: npt.NDArray[np.float64], confidence: float
) -> npt.NDArray[np.float64]:
    """Return the two ends of a percentile interval: (R, ...) -> (2, ...)."""
    _check_confidence(confidence)
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


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
