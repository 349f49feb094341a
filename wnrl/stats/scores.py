"""Scores across games: interquartile mean, mean, median, optimality gap, improvement, profiles.

`Scores` is a sequence with one array (..., n_m) per game: the scores of its n_m runs, one per seed,
in comparable units (human-normalized: 0 is random play, 1 is a human's score). Leading dimensions
hold resamples. Games may have different numbers of seeds; every game has the same weight in every
statistic. For a (runs, games) matrix pass `list(matrix.T)`.

Intervals around these statistics are in `wnrl.stats.bootstrap`, those of a single game in
`wnrl.stats.intervals`.

Dimension key: M games, n_m seeds of game m, N runs of all games, K thresholds.

Source: Agarwal et al. 2021 (2108.13264) and its library rliable 1.2.0, whose numbers the tests
reproduce.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Scores = Sequence[npt.ArrayLike]  # M of (..., n_m)
Statistic = Callable[[Scores], Array]  # M of (..., n_m) -> (...)


def mean_score(scores: Scores) -> Array:
    """Return the mean over games of each game's mean: M of (..., n_m) -> (...)."""
    return np.asarray(_game_means(scores).mean(axis=0))


def median_score(scores: Scores) -> Array:
    """Return the median over games of each game's mean: M of (..., n_m) -> (...)."""
    return np.asarray(np.median(_game_means(scores), axis=0))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """Return how far runs fall short of a target on average: M of (..., n_m) -> (...).

    target - mean over games and runs of min(score, target)
    """
    short = [np.minimum(game, target).mean(axis=-1) for game in checked_scores(scores)]
    return np.asarray(target - np.stack(short).mean(axis=0))


def interquartile_mean(scores: Scores) -> Array:
    """Return the mean of the middle half of all runs of all games: M of (..., n_m) -> (...).

    Like scipy's `trim_mean(x, 0.25)` over all N runs, it drops floor(N / 4) whole runs at each end,
    so that more than half remain if N is not divisible by four. If games have different numbers of
    seeds, each run counts L / n_m times, with L the least common multiple of the n_m.
    """
    games = checked_scores(scores)
    sizes = {game.shape[-1] for game in games}
    if len(sizes) == 1:  # every run counts once, and sorting alone is fast
        ordered = np.sort(np.concatenate(games, axis=-1), axis=-1)
        dropped = ordered.shape[-1] // 4
        return np.asarray(ordered[..., dropped : ordered.shape[-1] - dropped].mean(axis=-1))
    common = math.lcm(*sizes)
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
    """Return P(X > Y), averaged over games: (M of (..., n_m), M of (..., n'_m)) -> (...).

    For each game it is the share of all pairs of runs in which x is higher, a tie counting half:
    the Mann-Whitney U statistic over n_m n'_m.

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
    """Return the share of runs with a score above each threshold: M of (..., n_m) -> (..., K).

    Args:
        scores: M of (..., n_m); every game has the same weight.
        thresholds: (K,) in units of the scores.
    """
    taus = np.asarray(thresholds, dtype=np.float64)
    if taus.ndim != 1:
        raise ValueError(f"thresholds must be (K,), not {taus.shape}")
    above = [(game[..., None] > taus).mean(axis=-2) for game in checked_scores(scores)]
    return np.asarray(np.stack(above).mean(axis=0))


def checked_scores(scores: Scores) -> list[Array]:
    """Return scores as float64 arrays.

    Raises:
        ValueError: if there is no game, a game has no run or another leading shape than the first,
            or a score is NaN or infinite.
    """
    games = [np.asarray(game, dtype=np.float64) for game in scores]
    if not games:
        raise ValueError("scores must contain at least one game")
    for m, game in enumerate(games):
        if game.ndim == 0 or game.shape[-1] == 0 or game.shape[:-1] != games[0].shape[:-1]:
            raise ValueError(
                f"scores of game {m} must be (..., n) with n >= 1 and the leading shape of game 0, "
                f"{games[0].shape[:-1]}, not {game.shape}"
            )
        if not np.isfinite(game).all():
            bad = game[~np.isfinite(game)][0]
            raise ValueError(f"scores of game {m} must be finite, not {bad}")
    return games


def _game_means(scores: Scores) -> Array:
    return np.stack([game.mean(axis=-1) for game in checked_scores(scores)])  # (M, ...)
