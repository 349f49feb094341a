"""Scores across games: interquartile mean, mean, median, optimality gap, improvement, profiles.

`Scores` are a sequence with an array per game: (..., n_m) the scores of game m's n_m runs, one per
seed, in comparable units (human-normalized: 0 is random play, 1 a human's). The leading dimensions
are those of resamples. Games may have different numbers of seeds: every game has the same weight
in every aggregate. For a (runs, games) matrix pass `list(matrix.T)`.

How sure they are is in `wnrl.stats.bootstrap`; what one game's seeds say, in
`wnrl.stats.intervals`.

Dimension key: M games, n_m seeds of game m, N runs of all games, K thresholds.

Source: Agarwal et al. 2021 (2108.13264) and its library rliable 1.2.0, whose numbers the tests
repeat.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Scores = Sequence[npt.ArrayLike]  # M of (..., n_m)
Aggregate = Callable[[Scores], Array]  # M of (..., n_m) -> (...)


def mean_score(scores: Scores) -> Array:
    """The mean over games of each game's mean: M of (..., n_m) -> (...)."""
    return np.asarray(_game_means(scores).mean(axis=0))


def median_score(scores: Scores) -> Array:
    """The median over games of each game's mean: M of (..., n_m) -> (...)."""
    return np.asarray(np.median(_game_means(scores), axis=0))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """How far runs fall short of a target on average: M of (..., n_m) -> (...).

    target - mean over games and runs of min(score, target)
    """
    short = [np.minimum(game, target).mean(axis=-1) for game in checked_scores(scores)]
    return np.asarray(target - np.stack(short).mean(axis=0))


def interquartile_mean(scores: Scores) -> Array:
    """The mean of the middle half of all runs of all games: M of (..., n_m) -> (...).

    As in scipy's `trim_mean(x, 0.25)` over all N runs, floor(N / 4) are left out at each end: whole
    runs, so that of N not divisible by four more than half remain. Where games have different
    numbers of seeds, each run counts L / n_m times, L their least common multiple.
    """
    games = checked_scores(scores)
    common = math.lcm(*(game.shape[-1] for game in games))
    times = np.concatenate([np.full(g.shape[-1], common // g.shape[-1]) for g in games])  # (N,)
    runs = np.concatenate(games, axis=-1)  # (..., N)
    order = np.argsort(runs, axis=-1)
    ends = np.cumsum(times[order], axis=-1)  # (..., N) copies up to and with each run
    total = common * len(games)
    cut = total // 4
    inside = np.clip(ends, cut, total - cut)
    kept = np.diff(inside, axis=-1, prepend=cut)  # (..., N) copies of each run in the middle
    middle = np.take_along_axis(runs, order, axis=-1) * kept
    return np.asarray(middle.sum(axis=-1) / (total - 2 * cut))


def probability_of_improvement(x: Scores, y: Scores) -> Array:
    """P(X > Y), averaged over games: (M of (..., n_m), M of (..., n'_m)) -> (...).

    For each game the share of all pairs of runs in which x is higher, a tie counting half: the
    Mann-Whitney U statistic over n_m n'_m.

    Raises:
        ValueError: if x and y have different numbers of games, or are not scores.
    """
    xs, ys = checked_scores(x), checked_scores(y)
    if len(xs) != len(ys):
        raise ValueError(f"x and y must be of the same games, not of {len(xs)} and {len(ys)}")
    if xs[0].shape[:-1] != ys[0].shape[:-1]:
        raise ValueError(
            f"x and y must have the same leading shape, not {xs[0].shape} and {ys[0].shape}"
        )
    wins = [
        (np.sign(a[..., :, None] - b[..., None, :]) / 2 + 0.5).mean(axis=(-2, -1))
        for a, b in zip(xs, ys, strict=True)
    ]
    return np.asarray(np.stack(wins).mean(axis=0))


def performance_profile(scores: Scores, thresholds: npt.ArrayLike) -> Array:
    """The share of runs whose score is above each threshold: M of (..., n_m) -> (..., K).

    Args:
        scores: of every game, which all have the same weight.
        thresholds: (K,) in units of the scores.
    """
    taus = np.asarray(thresholds, dtype=np.float64)
    if taus.ndim != 1:
        raise ValueError(f"thresholds must be (K,), not {taus.shape}")
    above = [(game[..., None] > taus).mean(axis=-2) for game in checked_scores(scores)]
    return np.asarray(np.stack(above).mean(axis=0))


def checked_scores(scores: Scores) -> list[Array]:
    """Scores as float64 arrays.

    Raises:
        ValueError: if there is no game, one has no run or another leading shape, or a score is NaN
            or infinite.
    """
    games = [np.asarray(game, dtype=np.float64) for game in scores]
    if not games:
        raise ValueError("scores must be of at least one game")
    for m, game in enumerate(games):
        if game.ndim == 0 or game.shape[-1] == 0 or game.shape[:-1] != games[0].shape[:-1]:
            raise ValueError(
                f"scores of game {m} must be (..., n) with n >= 1 and the leading shape of game 0, "
                f"not {game.shape} beside {games[0].shape}"
            )
        if not np.isfinite(game).all():
            bad = game[~np.isfinite(game)][0]
            raise ValueError(f"scores of game {m} must be finite, not {bad}")
    return games


def _game_means(scores: Scores) -> Array:
    return np.stack([game.mean(axis=-1) for game in checked_scores(scores)])  # (M, ...)
