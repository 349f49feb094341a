"""Levels of a test that is repeated in stages, so that all of its stages together keep one level.

Dimension key: K stages, X points of the quadrature.

Source: Lan & DeMets 1983; the integral is that of Armitage, McPherson & Rowe 1969.
"""

import functools
import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_POINTS = 40  # of the quadrature on each stage; its error is below 1e-6 of the level
_FAR = 9.0  # standard deviations beyond which nothing is left


def spent(level: float, information: float) -> float:
    """Return the part of the level that may be used up to a share of the seeds.

        level * log(1 + (e - 1) t)

    Pocock's function spends early. O'Brien and Fleming's would spend 0.002% of 5% at a quarter of
    the seeds, so that even the clearest difference could not end a comparison there.

    Args:
        level: of all stages together.
        information: t in (0, 1].

    Source: Lan & DeMets 1983, their function for Pocock's boundaries.
    """
    return level * math.log(1 + (math.e - 1) * information)


@functools.lru_cache(maxsize=4096)
def stage_levels(
    seeds: tuple[int, ...], level: float, skipped: frozenset[int] = frozenset()
) -> tuple[float, ...]:
    """Return the level of a two-sided test on each stage.

    They are exact for normal scores of a known spread. Student's p-values are compared with the
    same levels; `tests/stats/stages/test_decisions.py` simulates the error.

    Args:
        seeds: (K,) seeds per variant up to each stage, rising.
        level: of all stages together, in (0, 1).
        skipped: stages, from 0, on which nothing is tested. A later stage uses their part.

    Returns:
        (K,) levels; 0 on a skipped stage.

    Source: Jennison & Turnbull 2000, chapter 7; their section 4.4 for p-values of other tests.
    """
    times = [n / seeds[-1] for n in seeds]
    levels: list[float] = []
    points, weights = np.zeros(1), np.ones(1)  # of |B|, for Brownian motions inside the bounds
    used = time = 0.0
    for k, t in enumerate(times):
        step = math.sqrt(t - time)
        if k in skipped:
            bound = _FAR * math.sqrt(t)
            levels.append(0.0)
        else:
            bound = _bound(points, weights, step, spent(level, t) - used)
            levels.append(math.erfc(bound / math.sqrt(2 * t)))
            used = spent(level, t)
        points, weights = _advance(points, weights, step, bound)
        time = t
    return tuple(levels)


def _bound(points: Array, weights: Array, step: float, chance: float) -> float:
    """Return the bound that the motion crosses with this chance, on either side."""
    low, high = 0.0, _FAR
    while high - low > 1e-10:
        middle = (low + high) / 2
        if _crossing(points, weights, step, middle) > chance:
            low = middle
        else:
            high = middle
    return high


def _crossing(points: Array, weights: Array, step: float, bound: float) -> float:
    scale = 1 / (step * math.sqrt(2))
    beyond = [math.erfc((bound - x) * scale) + math.erfc((bound + x) * scale) for x in points]
    return float(weights @ np.array(beyond)) / 2


def _advance(points: Array, weights: Array, step: float, bound: float) -> tuple[Array, Array]:
    """Return points of |B| below the bound and their probabilities: (X,), (X,) -> (X,), (X,)."""
    nodes, lengths = np.polynomial.legendre.leggauss(_POINTS)
    below = bound * (1 + nodes) / 2
    near, far = ((below[:, None] + sign * points) / step for sign in (-1, 1))
    density = (np.exp(-(near**2) / 2) + np.exp(-(far**2) / 2)) / (step * math.sqrt(2 * math.pi))
    return below, bound * lengths / 2 * (density @ weights)
