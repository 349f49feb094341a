"""How sure a mean over seeds of one game is: Student-t intervals, and what few seeds can say.

Aggregates over several games are in `wnrl.stats.scores`, their bootstrap intervals in
`wnrl.stats.bootstrap`.

Dimension key: S seeds, R resamples.
"""

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

ONE_SEED = "one seed: nothing tells how far another would be from it"
INDICATIVE_SEEDS = 3  # below it nothing can be concluded
CONCLUSIVE_SEEDS = 5  # below it a difference is indicative only


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the interval around it."""

    mean: float
    low: float  # NaN where there is no interval
    high: float  # NaN where there is no interval
    reason: str = ""  # why there is no interval


def verdict(seeds: int) -> str:
    """The sentence that a report must say about this many seeds; empty from five on.

    Args:
        seeds: seeds of each compared setting, of the one that has fewest.

    Raises:
        ValueError: if seeds is negative.
    """
    if seeds < 0:
        raise ValueError(f"seeds must be at least 0, not {seeds}")
    count = "1 seed" if seeds == 1 else f"{seeds} seeds"
    if seeds < INDICATIVE_SEEDS:
        return f"{count}, fewer than three: nothing can be concluded."
    if seeds < CONCLUSIVE_SEEDS:
        return f"{count}, fewer than five: indicative only."
    return ""


def t_interval(values: npt.ArrayLike, *, confidence: float = 0.95) -> Interval:
    """The mean over seeds with its Student-t interval.

        mean -+ t s / sqrt(S)        s² = sum (x - mean)² / (S - 1)

    It covers exactly for normal scores at every S >= 2. A percentile bootstrap does not: its
    nominal 95% cover 75% with three seeds and 83% with five (tests/test_bootstrap.py).

    Args:
        values: (S,) a score per seed.
        confidence: in (0, 1).

    Returns:
        The interval; with one seed its ends are NaN and `reason` says why. Equal scores give an
        interval of width 0.

    Raises:
        ValueError: if values are not (S,) finite numbers with S >= 1.

    Source: Student 1908.
    """
    values = finite_scores(values)
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, math.nan, math.nan, ONE_SEED)
    deviation = float(values.std(ddof=1))
    half = two_sided_t(confidence, len(values) - 1) * deviation / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


@functools.cache
def two_sided_t(confidence: float, df: float) -> float:
    """The t with P(|T| <= t) = confidence, where T is Student's with `df` degrees of freedom.

    Args:
        confidence: in (0, 1).
        df: 1, 2, 3, ... or infinity, which is the normal distribution.

    Raises:
        ValueError: if confidence is not in (0, 1) or df is none of these.
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
    """P(|T| <= sqrt(df) tan(theta)): the finite sums of Abramowitz & Stegun 26.7.3 and 26.7.4."""
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
    """The two ends of a percentile interval: (R, ...) -> (2, ...)."""
    _check_confidence(confidence)
    tail = (1 - confidence) / 2
    return np.asarray(np.quantile(resampled, [tail, 1 - tail], axis=0))


def finite_scores(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Scores as (S,) float64.

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
