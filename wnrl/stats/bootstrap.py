"""Uncertainty of statistics over games: stratified bootstrap intervals and their true coverage.

Seeds are resampled within each game and the games are kept: the intervals describe other seeds of
the same games, not other games. A game with one seed cannot be resampled, so there is no interval
then. Games may have different numbers of seeds.

Dimension key: M games, n_m seeds of game m, R resamples, K thresholds.

Source: Agarwal et al. 2021 (2108.13264), section 4 and appendix A.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from wnrl.stats.intervals import Interval, percentile_ends
from wnrl.stats.scores import (
    Array,
    Scores,
    Statistic,
    checked_scores,
    performance_profile,
)

_CHUNK = 1000  # resamples held at once
_POPULATION = 1000  # quantiles that represent a game's infinitely many seeds


@dataclass(frozen=True)
class Bands:
    """A performance profile and its pointwise bootstrap intervals, each (K,)."""

    profile: Array
    low: Array  # NaN if a game has one seed
    high: Array  # NaN if a game has one seed


@dataclass(frozen=True)
class Coverage:
    """The share of simulated experiments whose interval has the true value; NaN if unknown."""

    share: float
    standard_error: float  # error of the share, from the number of experiments


def stratified_interval(
    scores: Scores,
    statistic: Statistic,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Interval:
    """Return a statistic with its percentile interval over resamples of the seeds of each game.

    Print `simulated_coverage` next to it: with few seeds and games the interval is too narrow.

    Args:
        scores: M of (n_m,).
        statistic: `interquartile_mean`, `mean_score`, `median_score`, `optimality_gap`, or another.
        generator: draws the resamples.
        confidence: in (0, 1).
        resamples: R.

    Returns:
        The interval; its ends are NaN if a game has one seed.

    Raises:
        ValueError: if scores are not M >= 1 arrays (n_m,) of finite numbers with n_m >= 1.
    """
    games = _runs(scores)
    value = float(statistic(games))
    if _any_single_seed(games):
        return Interval(value, math.nan, math.nan)
    resampled = np.concatenate([statistic(s) for s in _resamples(games, generator, resamples)])
    low, high = percentile_ends(resampled, confidence)  # (R,) -> (2,)
    return Interval(value, float(low), float(high))


def profile_bands(
    scores: Scores,
    thresholds: npt.ArrayLike,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
) -> Bands:
    """Return `performance_profile` with a percentile interval at each threshold.

    Args:
        scores: M of (n_m,).
        thresholds: (K,) in units of the scores.
        generator: draws the resamples.
        confidence: in (0, 1), at each threshold separately.
        resamples: R.

    Returns:
        The profile and its bands; the bands are NaN if a game has one seed.

    Raises:
        ValueError: as `stratified_interval` does, or if thresholds are not (K,).
    """
    games = _runs(scores)
    profile = performance_profile(games, thresholds)
    if _any_single_seed(games):
        none = np.full_like(profile, math.nan)
        return Bands(profile, none, none.copy())
    parts = [performance_profile(s, thresholds) for s in _resamples(games, generator, resamples)]
    low, high = percentile_ends(np.concatenate(parts), confidence)  # (R, K) -> (2, K)
    return Bands(profile, low, high)


def simulated_coverage(
    scores: Scores,
    statistic: Statistic,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    simulations: int = 400,
) -> Coverage:
    """Estimate how often `stratified_interval` contains the truth in experiments like this one.

    Each simulated experiment draws as many seeds per game as `scores` has, from a normal
    distribution with the game's mean and standard deviation. The truth is the statistic of
    infinitely many seeds of those distributions. Real scores are not normal, so this is an
    approximation.

    Args:
        scores: M of (n_m,); they set the experiments' sizes, means and deviations.
        statistic: as in `stratified_interval`.
        generator: draws experiments and resamples.
        confidence: nominal coverage of the interval, in (0, 1).
        resamples: R of each interval; 500 change the coverage by well under 1%.
        simulations: number of experiments.

    Returns:
        The share and its standard error; NaN if a game has one seed.

    Raises:
        ValueError: as `stratified_interval` does, or if resamples or simulations is below 1.
    """
    games = _runs(scores)
    if simulations < 1:
        raise ValueError(f"simulations must be at least 1, not {simulations}")
    if _any_single_seed(games):
        return Coverage(math.nan, math.nan)
    levels = (np.arange(_POPULATION) + 0.5) / _POPULATION
    normal = np.array([NormalDist().inv_cdf(level) for level in levels])
    laws = [(game.mean(), game.std(ddof=1), len(game)) for game in games]
    truth = float(statistic([mean + deviation * normal for mean, deviation, _ in laws]))
    slack = 1e-9 * (1 + abs(truth))  # rounding, if all seeds of a game are equal
    covered = 0
    for _ in range(simulations):
        drawn = [generator.normal(*law) for law in laws]
        interval = stratified_interval(
            drawn, statistic, generator, confidence=confidence, resamples=resamples
        )
        covered += interval.low - slack <= truth <= interval.high + slack
    share = covered / simulations
    return Coverage(share, math.sqrt(share * (1 - share) / simulations))


def _resamples(
    games: Sequence[Array], generator: np.random.Generator, resamples: int
) -> Iterator[list[Array]]:
    """Yield resamples of each game's seeds in chunks: M of (n_m,) -> M of (<=R, n_m)."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    for start in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - start)
        yield [game[generator.integers(len(game), size=(count, len(game)))] for game in games]


def _any_single_seed(games: Sequence[Array]) -> bool:
    return any(len(game) == 1 for game in games)


def _runs(scores: Scores) -> list[Array]:
    games = checked_scores(scores)
    if games[0].ndim != 1:
        raise ValueError(f"scores must be an array (n,) per game, not {games[0].shape}")
    return games
