"""How sure an aggregate over games is: stratified bootstrap intervals, and what they cover.

Seeds are resampled within each game and the games kept: the intervals speak of other seeds of the
same games, not of other games. A game with one seed has nothing to resample, so there is no
interval then. Games may have different numbers of seeds.

Dimension key: M games, n_m seeds of game m, R resamples, K thresholds.

Source: Agarwal et al. 2021 (2108.13264), section 4 and appendix A.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from wnrl.stats.intervals import percentile_ends
from wnrl.stats.scores import (
    Aggregate,
    Array,
    Scores,
    checked_scores,
    performance_profile,
    probability_of_improvement,
)

_CHUNK = 1000  # resamples held at once
_POPULATION = 1000  # quantiles that stand for a game's infinitely many seeds


@dataclass(frozen=True)
class Estimate:
    """An aggregate of the scores as they are, and its bootstrap interval."""

    value: float
    low: float  # NaN where there is no interval
    high: float  # NaN where there is no interval
    reason: str = ""  # why there is no interval


@dataclass(frozen=True)
class Bands:
    """A performance profile and its pointwise bootstrap intervals, each (K,)."""

    profile: Array
    low: Array  # NaN where there is no interval
    high: Array  # NaN where there is no interval
    reason: str = ""  # why there are no intervals


@dataclass(frozen=True)
class Coverage:
    """How often an interval holds the truth, in simulated experiments."""

    share: float  # NaN where it cannot be simulated
    standard_error: float  # of the share, from the number of experiments
    reason: str = ""  # why it cannot be simulated


def stratified_interval(
    scores: Scores,
    aggregate: Aggregate,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Estimate:
    """An aggregate with its percentile interval over resamples of the seeds within each game.

    Print `simulated_coverage` beside it: of few seeds and games the interval is too narrow.

    Args:
        scores: M of (n_m,).
        aggregate: `interquartile_mean`, `mean_score`, `median_score`, `optimality_gap`, or another.
        generator: draws the resamples.
        confidence: in (0, 1).
        resamples: R.

    Returns:
        The estimate; where a game has one seed its ends are NaN and `reason` says why.

    Raises:
        ValueError: if scores are not M >= 1 arrays (n_m,) of finite numbers with n_m >= 1.
    """
    games = _runs(scores)
    value = float(aggregate(games))
    if reason := _too_few(games):
        return Estimate(value, math.nan, math.nan, reason)
    resampled = np.concatenate([aggregate(s) for s in _resamples(games, generator, resamples)])
    low, high = percentile_ends(resampled, confidence)  # (R,) -> (2,)
    return Estimate(value, float(low), float(high))


def improvement_interval(
    x: Scores,
    y: Scores,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Estimate:
    """`probability_of_improvement` with its interval; the seeds of x and y are resampled apart.

    Args:
        x: M of (n_m,).
        y: M of (n'_m,), the same games in the same order.
        generator: draws the resamples.
        confidence: in (0, 1).
        resamples: R.

    Returns:
        The estimate; where a game has one seed its ends are NaN and `reason` says why. Where every
        run of x is above every run of y it is [1, 1], however few the seeds.

    Raises:
        ValueError: if x and y are not scores (see `stratified_interval`) of the same games.
    """
    xs, ys = _runs(x), _runs(y)
    value = float(probability_of_improvement(xs, ys))
    if reason := _too_few([*xs, *ys]):
        return Estimate(value, math.nan, math.nan, reason)
    pairs = _resamples([*xs, *ys], generator, resamples)
    chances = [probability_of_improvement(s[: len(xs)], s[len(xs) :]) for s in pairs]
    low, high = percentile_ends(np.concatenate(chances), confidence)  # (R,) -> (2,)
    return Estimate(value, float(low), float(high))


def profile_bands(
    scores: Scores,
    thresholds: npt.ArrayLike,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
) -> Bands:
    """`performance_profile` with a percentile interval at each threshold.

    Args:
        scores: M of (n_m,).
        thresholds: (K,) in units of the scores.
        generator: draws the resamples.
        confidence: in (0, 1), at each threshold by itself.
        resamples: R.

    Returns:
        The profile and its bands; where a game has one seed they are NaN and `reason` says why.

    Raises:
        ValueError: as `stratified_interval` does, or if thresholds are not (K,).
    """
    games = _runs(scores)
    profile = performance_profile(games, thresholds)
    if reason := _too_few(games):
        none = np.full_like(profile, math.nan)
        return Bands(profile, none, none.copy(), reason)
    parts = [performance_profile(s, thresholds) for s in _resamples(games, generator, resamples)]
    low, high = percentile_ends(np.concatenate(parts), confidence)  # (R, K) -> (2, K)
    return Bands(profile, low, high)


def simulated_coverage(
    scores: Scores,
    aggregate: Aggregate,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    simulations: int = 400,
) -> Coverage:
    """How often `stratified_interval` would hold the truth in experiments like this one.

    Each simulated experiment draws as many seeds per game as there are, from normal distributions
    with each game's mean and standard deviation. The truth is the aggregate of infinitely many
    seeds of those distributions. Real scores are not normal: take it as an estimate.

    Args:
        scores: M of (n_m,), from which the experiments take their shape.
        aggregate: as in `stratified_interval`.
        generator: draws experiments and resamples.
        confidence: of the interval.
        resamples: R of each interval; 500 cost it well under 1% of coverage.
        simulations: experiments.

    Returns:
        The share and its standard error; NaN with a reason where a game has one seed.

    Raises:
        ValueError: as `stratified_interval` does, or if resamples or simulations is below 1.
    """
    games = _runs(scores)
    if simulations < 1:
        raise ValueError(f"simulations must be at least 1, not {simulations}")
    if reason := _too_few(games):
        return Coverage(math.nan, math.nan, reason)
    levels = (np.arange(_POPULATION) + 0.5) / _POPULATION
    normal = np.array([NormalDist().inv_cdf(level) for level in levels])
    laws = [(game.mean(), game.std(ddof=1), len(game)) for game in games]
    truth = float(aggregate([mean + deviation * normal for mean, deviation, _ in laws]))
    slack = 1e-9 * (1 + abs(truth))  # rounding, where all seeds of a game are equal
    held = 0
    for _ in range(simulations):
        drawn = [generator.normal(*law) for law in laws]
        interval = stratified_interval(
            drawn, aggregate, generator, confidence=confidence, resamples=resamples
        )
        held += interval.low - slack <= truth <= interval.high + slack
    share = held / simulations
    return Coverage(share, math.sqrt(share * (1 - share) / simulations))


def _resamples(
    games: Sequence[Array], generator: np.random.Generator, resamples: int
) -> Iterator[list[Array]]:
    """Resamples of the seeds within each game, some at a time: M of (n_m,) -> M of (<=R, n_m)."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    for begun in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - begun)
        yield [game[generator.integers(len(game), size=(count, len(game)))] for game in games]


def _too_few(games: Sequence[Array]) -> str:
    single = [m for m, game in enumerate(games) if len(game) == 1]
    if not single:
        return ""
    return f"one seed in {len(single)} of {len(games)} sets of runs: it cannot be resampled"


def _runs(scores: Scores) -> list[Array]:
    games = checked_scores(scores)
    if games[0].ndim != 1:
        raise ValueError(f"scores must be an array (n,) per game, not {games[0].shape}")
    return games
