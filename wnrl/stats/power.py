"""What a study can find: power of Welch's test, detectable difference, seeds that are needed."""

import functools
import math

from wnrl.stats.difference import Difference
from wnrl.stats.student_t import noncentral_upper_p, two_sided_t

POWER = 0.8  # the usual convention; Cohen 1988
MOST_SEEDS = 1_000  # beyond it, more seeds are not a plan


def power(difference: float, error: float, df: float, level: float) -> float:
    """Return how often a two-sided test finds a difference of this size.

        P(|T'| >= t)        T' noncentral with difference / error, t the level's critical value

    Args:
        difference: the true difference.
        error: standard error of the estimated one, above 0.
        df: its degrees of freedom.
        level: of the test, in (0, 1); for the first step of Holm's method 5% over the family.

    Source: Cohen 1988, chapter 2. With unequal variances it is an approximation (Welch's df).
    """
    t, shift = two_sided_t(1 - level, df), abs(difference) / error
    return noncentral_upper_p(t, df, shift) + 1 - noncentral_upper_p(-t, df, shift)


def detectable_difference(found: Difference, level: float, chance: float = POWER) -> float:
    """Return the smallest difference that a study with this standard error finds often enough.

    Args:
        found: a difference of the study; only its error and degrees of freedom are used.
        level: as in `power`.
        chance: how often it is found, in (level, 1).

    Returns:
        The difference, above 0; NaN without a standard error.
    """
    error = float(found.error)
    return math.nan if math.isnan(error) else error * _detectable(float(found.df), level, chance)


@functools.lru_cache(maxsize=4096)
def _detectable(df: float, level: float, chance: float) -> float:
    """Return the detectable difference in units of the standard error."""
    low, high = 0.0, 1.0
    while power(high, 1.0, df, level) < chance:
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, 1.0, df, level) < chance else (low, middle)
    return high


def seeds_needed(
    difference: float, variances: tuple[float, float], level: float, chance: float = POWER
) -> int | None:
    """Return how many seeds per variant would find this difference often enough.

    Args:
        difference: the true difference.
        variances: of a score over seeds, for the two variants.
        level: as in `power`.
        chance: how often it is found.

    Returns:
        The number, at least 2; None if it is above `MOST_SEEDS` or the variances are unknown.
    """
    one, other = variances
    if not one + other > 0 or difference == 0:
        return None

    def enough(n: int) -> bool:
        df = (n - 1) * (one + other) ** 2 / (one**2 + other**2)
        return power(difference, math.sqrt((one + other) / n), df, level) >= chance

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST_SEEDS else None
