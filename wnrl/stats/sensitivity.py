"""How much a score depends on the values of settings.

Scores are means over seeds. To say how sure a statistic is, it is computed for many draws of these
means from their Student's t distributions. The largest of several noisy means is too large, so
with few seeds ranges look narrower and losses larger than they are.

Dimension key: D draws, V values of a setting, E environments, H... one axis for each setting.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wnrl.stats.intervals import Group, Interval, percentile_ends

Array = npt.NDArray[np.float64]

RETAINED = 0.95  # share of the tuned score that the settings of the effective dimension retain
PERCENTILES = (5.0, 95.0)  # of the scores of an environment, which are 0 and 1 when normalized


def draw_means(groups: Sequence[Group], draws: int, generator: np.random.Generator) -> Array:
    """Return means (D, V) that are as likely as the observed ones.

        mean + t sqrt(s² / n)       t from Student's distribution with n - 1 degrees of freedom

    Args:
        groups: (V,) the scores of each value, at least two each.
        draws: D.
        generator: draws them.
    """
    return np.stack(
        [
            float(each.mean)
            + math.sqrt(float(each.variance) / each.count)
            * generator.standard_t(each.count - 1, draws)
            for each in groups
        ],
        axis=-1,
    )


def interval_of(value: float, drawn: Array, confidence: float = 0.95) -> Interval:
    """Return a statistic with the percentile interval of its draws (D,)."""
    low, high = percentile_ends(drawn, confidence)
    return Interval(value, min(value, float(low)), max(value, float(high)))


def width_above(scores: Array, places: Array, least: Array) -> Array:
    """Return the length of the range of a setting in which the score is at least a threshold.

    Between two values the score is interpolated linearly.

    Args:
        scores: (..., V) at the values.
        places: (V,) where the values lie, rising; decades for a setting on a log scale.
        least: (...) the threshold.

    Returns:
        (...) lengths in units of `places`, up to their whole range.
    """
    threshold = np.asarray(least)[..., None]
    high = np.maximum(scores[..., :-1], scores[..., 1:])
    rise = np.abs(np.diff(scores, axis=-1))
    above = (high - threshold) / np.where(rise > 0, rise, 1.0)
    share = np.where(rise > 0, np.clip(above, 0.0, 1.0), high >= threshold)
    return np.asarray((share * np.diff(places)).sum(axis=-1))


def sensitivity(scores: Array) -> Array:
    """Return how much an algorithm gains if its settings are tuned for each environment.

        mean_e max_h Gamma(e, h) - max_h mean_e Gamma(e, h)

    Args:
        scores: (..., E, H) normalized, of every combination of values in every environment.

    Returns:
        (...), at least 0; 0 if one combination is best everywhere, and with one environment.

    Source: Adkins et al. 2024 (arXiv 2412.07165), hyperparameter sensitivity.
    """
    tuned_everywhere = scores.max(axis=-1).mean(axis=-1)
    return np.asarray(tuned_everywhere - scores.mean(axis=-2).max(axis=-1))


def effective_dimension(scores: Array) -> int:
    """Return how many settings must be tuned for each environment to keep 95% of the best score.

    The others have the values of the combination that is best over all environments.

    Args:
        scores: (E, H...) normalized, with an axis for each setting.

    Source: Adkins et al. 2024 (arXiv 2412.07165), effective hyperparameter dimensionality.
    """
    environments, *sizes = scores.shape
    flat = scores.reshape(environments, -1)
    wanted = RETAINED * flat.max(axis=-1).mean()
    shared = np.unravel_index(int(flat.mean(axis=0).argmax()), sizes)
    for count in range(len(sizes)):
        for free in itertools.combinations(range(len(sizes)), count):
            fixed = tuple(
                slice(None) if axis in free else int(shared[axis]) for axis in range(len(sizes))
            )
            kept = scores[(slice(None), *fixed)].reshape(environments, -1)
            if kept.max(axis=-1).mean() >= wanted:
                return count
    return len(sizes)


def percentile_range(scores: Array) -> tuple[float, float]:
    """Return the scores of an environment that are 0 and 1 when normalized.

    Args:
        scores: (...) of all algorithms and combinations in the environment.

    Returns:
        The 5th and the 95th percentile.

    Source: Adkins et al. 2024 (arXiv 2412.07165), performance normalization.
    """
    low, high = np.percentile(scores, PERCENTILES)
    return float(low), float(high)
