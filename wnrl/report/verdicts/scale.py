"""The scale of a game's scores: what random play and a good player reach."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wnrl.report.run_result import Result
from wnrl.stats.published.levels import Levels, published_levels
from wnrl.stats.scores import Array


@dataclass(frozen=True)
class Scale:
    """Raw returns that are 0 and 1 after normalization."""

    zero: float  # random play
    one: float  # a good player, or the baseline where no score of one is published

    def normalized(self, raw: npt.ArrayLike) -> Array:
        """Return (raw - zero) / (one - zero), in the same shape."""
        return (np.asarray(raw, dtype=np.float64) - self.zero) / (self.one - self.zero)


def levels_of(env: str, runs: Iterable[Result]) -> Levels | None:
    """Return the published levels of a game; None without them, or if a run played another one.

    Args:
        env: the game.
        runs: all of its runs, finished or not.
    """
    return None if any(run.custom for run in runs) else published_levels(env)


def random_score(env: str, runs: Iterable[Result]) -> float:
    """Return the score of random play in a game.

    Where none is published it is the mean return of the first episodes of all runs, in which they
    have hardly learned yet.

    Args:
        env: the game.
        runs: all of its runs, finished or not.

    Returns:
        The raw return; NaN if it is not published and no episode ended.
    """
    runs = list(runs)
    if levels := levels_of(env, runs):
        return levels.random
    first = [run.untrained for run in runs if not math.isnan(run.untrained)]
    return statistics.fmean(first) if first else math.nan


def worst_score(scores: Iterable[float], random: float) -> float:
    """Return the worst score seen in a game, which is what a lost run counts as.

    Random play is one of them: a run that fails at once has learned nothing.

    Args:
        scores: of runs; NaN for a run without one.
        random: score of random play; NaN if unknown.

    Returns:
        The score; NaN if there is none.
    """
    return min((x for x in (*scores, random) if not math.isnan(x)), default=math.nan)


def scale_of(env: str, runs: Sequence[Result], baseline: Sequence[Result]) -> Scale | None:
    """Return the scale on which a game's scores are comparable with those of other games.

    Args:
        env: the game.
        runs: all of its runs, finished or not.
        baseline: finished runs of the baseline, whose mean is 1 where no score is published.

    Returns:
        The scale; None if no score is published and the baseline is not above random play.
    """
    if levels := levels_of(env, runs):
        return Scale(levels.random, levels.good)
    zero = random_score(env, runs)
    if not baseline or math.isnan(zero):
        return None
    one = statistics.fmean(run.final for run in baseline)
    return Scale(zero, one) if one > zero else None
