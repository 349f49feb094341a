"""Differences over several games, for several variants at once, with a calibrated error.

Bootstrap intervals of few seeds are too narrow, and the more variants are compared, the sooner one
of them looks different by chance. Here both are measured: studies of the same shape in which all
variants are equal are simulated, and the intervals are widened until at most 5% of those studies
name any difference.

Dimension key: V variants, M games, n_m seeds of game m, P pairs, R resamples, S simulated studies.

Source: stratified bootstrap as in Agarwal et al. 2021 (2108.13264); simultaneous intervals by the
maximum of studentized differences, Romano & Wolf 2005.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wnrl.stats.intervals import Interval
from wnrl.stats.scores import Array, Statistic, checked_scores, probability_of_improvement
from wnrl.stats.verdict import LEVEL

Pair = tuple[int, int]  # places of a variant and of the one that it is compared with
Law = Callable[[np.random.Generator, tuple[int, ...]], Array]

_NUMBERS = 4_000_000  # held at once
_ROUNDING = 1e-9
_COLLAPSED = 0.3  # share of seeds that fail in the simulated studies in which seeds collapse


class Runs(NamedTuple):
    """The scores of a variant in every game, and the least variance that they can have."""

    scores: Sequence[Array]  # M of (n_m,), comparable over games
    floors: Sequence[float]  # M variances of a score from its own episodes; 0 if unknown


@dataclass(frozen=True)
class Differences:
    """Differences of a statistic between pairs of variants, with simultaneous intervals."""

    intervals: tuple[Interval, ...]  # P; NaN ends without any spread
    bootstrap_error: float  # share of simulated studies without a difference that name one
    error: float  # the same after widening
    widened: float  # factor by which the bootstrap's intervals were widened, at least 1


def differences(
    variants: Sequence[Runs],
    pairs: Sequence[Pair],
    statistic: Statistic,
    generator: np.random.Generator,
    *,
    resamples: int = 2_000,
    simulations: int = 1_000,
) -> Differences:
    """Return the differences of a statistic, with intervals that hold for all pairs together.

        d ± c sqrt(e² + e'²)

    with e and e' the bootstrap's standard errors of the two variants. The bootstrap's c is the 95%
    quantile of max over pairs |d* - d| / error. The simulated c is the same quantile over studies
    in which all variants are equal; the larger one is used.

    Args:
        variants: V variants in the same M games, each with at least 2 seeds per game.
        pairs: P pairs of places in `variants`.
        statistic: of the scores of all games, such as `interquartile_mean`.
        generator: draws resamples and simulated studies.
        resamples: R of the study itself.
        simulations: S for each shape of the scores: normal, skewed, and collapsing seeds.

    Raises:
        ValueError: if scores are not finite, or a game has fewer than two seeds.
    """
    games = [checked_scores(each.scores) for each in variants]
    if any(len(game) < 2 for of_variant in games for game in of_variant):
        raise ValueError("every game needs at least 2 seeds of every variant")
    jitters = _jitters(variants)
    values = np.array([float(statistic(of_variant)) for of_variant in games])
    drawn = np.stack(
        [
            _resampled([game[None] for game in of_variant], jitter, statistic, generator, resamples)
            for of_variant, jitter in zip(games, jitters, strict=True)
        ]
    )[:, 0]  # (V, R)
    errors = drawn.std(axis=-1)
    own = _largest(drawn - values[:, None], np.broadcast_to(errors[:, None], drawn.shape), pairs)
    bootstrap = float(np.quantile(own, 1 - LEVEL))
    largest = [
        _largest(*simulated, pairs)
        for law in LAWS
        for simulated in [_simulated(games, law, statistic, generator, simulations)]
    ]  # L of (S,)
    critical = max(bootstrap, *(float(np.quantile(each, 1 - LEVEL)) for each in largest))
    return Differences(
        tuple(_interval(values[i] - values[j], errors[[i, j]], critical) for i, j in pairs),
        bootstrap_error=max(float((each > bootstrap).mean()) for each in largest),
        error=max(float((each > critical).mean()) for each in largest),
        widened=critical / bootstrap if bootstrap > 0 else 1.0,
    )


def improvements(
    variants: Sequence[Runs],
    pairs: Sequence[Pair],
    generator: np.random.Generator,
    *,
    simulations: int = 2_000,
) -> tuple[Interval, ...]:
    """Return the probability of improvement of each pair, with intervals that hold for all.

        {θ : |estimate - θ| <= c sd(θ)}
        sd(θ)² = mean over games of θ (1-θ) (1 + (N-1) ((1-θ)/(2-θ) + θ/(1+θ))) / (n n') / M

    with N = (n + n') / 2 and c the 95% quantile of max over pairs |estimate - 1/2| / sd(1/2) in
    simulated studies without a difference; only ranks matter, so their distribution does not. Runs
    that are all above the others have an interval below 1, unlike with a bootstrap.

    Args:
        variants: as in `differences`; one seed per game is enough.
        pairs: P pairs of places in `variants`.
        generator: draws the simulated studies.
        simulations: S.

    Source: Newcombe 2006, method 5; at θ = 1/2 it is the variance of Mann and Whitney's U.
    """
    games = [checked_scores(each.scores) for each in variants]
    drawn = [
        [generator.normal(size=(simulations, len(game))) for game in of_variant]
        for of_variant in games
    ]
    sizes = [(_sizes(games[i]), _sizes(games[j])) for i, j in pairs]
    largest = np.zeros(simulations)
    for (i, j), size in zip(pairs, sizes, strict=True):
        away = np.abs(probability_of_improvement(drawn[i], drawn[j]) - 0.5)
        largest = np.maximum(largest, away / math.sqrt(_improvement_variance(0.5, *size)))
    critical = float(np.quantile(largest, 1 - LEVEL)) * (1 + _ROUNDING)  # ranks often tie
    return tuple(
        _score_interval(float(probability_of_improvement(games[i], games[j])), critical, *size)
        for (i, j), size in zip(pairs, sizes, strict=True)
    )


def _interval(value: float, errors: Array, critical: float) -> Interval:
    half = critical * math.hypot(*errors.tolist())
    if half <= 0:
        return Interval(float(value), math.nan, math.nan)
    return Interval(float(value), float(value - half), float(value + half))


def _largest(values: Array, errors: Array, pairs: Sequence[Pair]) -> Array:
    """Return the largest studentized difference of each study: (V, S), (V, S) -> (S,)."""
    largest = np.zeros(values.shape[-1])
    for i, j in pairs:
        error = np.hypot(errors[i], errors[j])
        distance = np.abs(values[i] - values[j])
        ratio = np.divide(distance, error, out=np.zeros_like(error), where=error > 0)
        largest = np.maximum(largest, ratio)
    return largest


def _jitters(variants: Sequence[Runs]) -> list[list[float]]:
    """Return standard deviations of noise for the resamples: V of M.

    With it, the scores vary at least as much as their own episodes make them. Scores without any
    spread vary as much as those of the other variants in that game.
    """
    spread = np.array([[np.var(game, ddof=1) for game in each.scores] for each in variants])
    least = np.maximum(spread, np.array([each.floors for each in variants]))  # (V, M)
    known = np.where(least > 0, least, math.nan)
    counts = (~np.isnan(known)).sum(axis=0)
    typical = np.nansum(known, axis=0) / np.maximum(counts, 1)
    least = np.where(least > 0, least, typical)
    rows: list[list[float]] = np.sqrt(np.maximum(0, least - spread)).tolist()
    return rows


def _resampled(
    games: Sequence[Array],
    jitters: Sequence[float],
    statistic: Statistic,
    generator: np.random.Generator,
    resamples: int,
) -> Array:
    """Return the statistic of resampled seeds, the same resamples in all studies.

    M of (S, n_m) -> (S, R).
    """
    chosen = [
        generator.integers(game.shape[-1], size=(resamples, game.shape[-1])) for game in games
    ]
    noise = [
        jitter * generator.standard_normal(places.shape) if jitter > 0 else 0.0
        for jitter, places in zip(jitters, chosen, strict=True)
    ]
    step = max(1, _NUMBERS // (resamples * sum(game.shape[-1] for game in games)))
    parts = [
        statistic(
            [
                game[start : start + step][:, places] + added
                for game, places, added in zip(games, chosen, noise, strict=True)
            ]
        )
        for start in range(0, len(games[0]), step)
    ]
    return np.concatenate(parts)


def _simulated(
    variants: Sequence[Sequence[Array]],
    law: Law,
    statistic: Statistic,
    generator: np.random.Generator,
    simulations: int,
    resamples: int = 100,
) -> tuple[Array, Array]:
    """Return values and bootstrap errors in studies in which all variants are equal.

    Every game has the mean and the spread that the variants have in it on average.

    Returns:
        Statistic (V, S) and its standard error (V, S).
    """
    means = [float(np.mean([game.mean() for game in of])) for of in zip(*variants, strict=True)]
    spreads = [
        math.sqrt(np.mean([game.var(ddof=1) for game in of])) for of in zip(*variants, strict=True)
    ]
    values, errors = [], []
    for of_variant in variants:
        drawn = [
            mean + spread * law(generator, (simulations, len(game)))
            for mean, spread, game in zip(means, spreads, of_variant, strict=True)
        ]
        values.append(statistic(drawn))
        still = [0.0] * len(drawn)
        errors.append(_resampled(drawn, still, statistic, generator, resamples).std(axis=-1))
    return np.stack(values), np.stack(errors)


def _skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return generator.exponential(size=shape) - 1


def _collapsing(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Most seeds are close to one score, and the rest have collapsed to another."""
    alive = generator.random(shape) >= _COLLAPSED
    two_values = (alive - (1 - _COLLAPSED)) / math.sqrt(_COLLAPSED * (1 - _COLLAPSED))
    return np.asarray(two_values + 0.1 * generator.standard_normal(shape))


LAWS: tuple[Law, ...] = (
    lambda generator, shape: generator.standard_normal(shape),
    _skewed,
    _collapsing,
)  # of scores with mean 0 and a standard deviation of 1


def _sizes(games: Sequence[Array]) -> list[int]:
    return [len(game) for game in games]


def _improvement_variance(theta: float, x: Sequence[int], y: Sequence[int]) -> float:
    """Return the variance of the estimate; x and y are numbers of seeds in each game."""
    shape = (1 - theta) / (2 - theta) + theta / (1 + theta)
    each = [
        theta * (1 - theta) * (1 + ((n + k) / 2 - 1) * shape) / (n * k)
        for n, k in zip(x, y, strict=True)
    ]
    return sum(each) / len(each) ** 2


def _score_interval(
    estimate: float, critical: float, x: Sequence[int], y: Sequence[int]
) -> Interval:
    def end(outside: float) -> float:
        """Return the farthest value in the interval on the side of `outside`, 0 or 1."""
        inside = estimate
        for _ in range(50):
            middle = (inside + outside) / 2
            if abs(estimate - middle) <= critical * math.sqrt(_improvement_variance(middle, x, y)):
                inside = middle
            else:
                outside = middle
        return inside

    return Interval(estimate, end(0.0), end(1.0))
