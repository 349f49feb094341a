"""Comparisons with one baseline, made in stages of more and more seeds, each until it is decided.

All comparisons of a study are one family: with every stage counted, at most 5% of studies name a
difference that does not exist, and at most 5% miss one that is larger than its margin. A comparison
that ends early gives its part of the level to nobody, so that it may end for any reason.

Dimension key: S stages, K comparisons of the family; functions take a leading shape (...).

Source: Holm's method in stages is that of Maurer & Bretz 2013 ("Multiple testing in group
sequential trials using graphical approaches").
"""

import enum
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.stats.difference import least_p
from wnrl.stats.stages.spending import stage_levels
from wnrl.stats.student_t import two_sided_p, upper_p
from wnrl.stats.verdict import LEVEL, Verdict

Array = npt.NDArray[np.float64]
_Level = Callable[[int], float]
Decisions = npt.NDArray[np.int8]  # of `Decision`

MOST_STAGES = 5  # more hardly save runs, and every stage waits for its slowest run
OUT_OF_REACH_CHANCE = 0.05  # of a decision at the last stage, below which a comparison ends


class Decision(enum.IntEnum):
    """What a stage decides about a comparison."""

    GO_ON = 0
    BETTER = 1
    WORSE = 2
    WITHIN_MARGIN = 3  # no difference larger than the margin
    OUT_OF_REACH = 4  # it will hardly be decided with the most seeds either

    @property
    def verdict(self) -> Verdict:
        """The verdict that a report gives."""
        return _VERDICTS.get(self, Verdict.UNDECIDED)


_VERDICTS = {
    Decision.BETTER: Verdict.BETTER,
    Decision.WORSE: Verdict.WORSE,
    Decision.WITHIN_MARGIN: Verdict.WITHIN_MARGIN,
}


class Look(NamedTuple):
    """What the runs of a stage show about each comparison; every field is (..., K)."""

    value: Array  # variant minus baseline
    error: Array  # its standard error; NaN if there is nothing to estimate it from
    df: Array
    least_p: Array  # the least p-value that chance allows if seeds may collapse
    margin: Array  # largest difference that does not matter; NaN if unknown


@dataclass(frozen=True)
class Stages:
    """The plan of a study, made before its first run."""

    seeds: tuple[int, ...]  # (S,) seeds per variant up to each stage
    family: int  # K, all comparisons of the study

    @functools.cached_property
    def skipped(self) -> frozenset[int]:
        """Stages whose seeds are too few for any claim of a difference in this family."""
        levels = stage_levels(self.seeds, LEVEL / self.family)
        return frozenset(
            stage
            for stage, (n, level) in enumerate(zip(self.seeds, levels, strict=True))
            if least_p(n, n) > level
        )

    def difference_level(self, stage: int, left: int) -> float:
        """Return the level of a two-sided test while so many comparisons show no difference."""
        return stage_levels(self.seeds, LEVEL / left, self.skipped)[stage]

    def interval_level(self, stage: int, together: int) -> float:
        """Return the level of intervals that hold on every stage, for so many comparisons."""
        return stage_levels(self.seeds, LEVEL / together)[stage]

    def equivalence_level(self, stage: int, left: int) -> float:
        """Return the level of a one-sided test while so many comparisons are not within margin."""
        return stage_levels(self.seeds, 2 * LEVEL / left)[stage] / 2


def plan_stages(fewest: int, most: int, family: int) -> Stages:
    """Return at most `MOST_STAGES` stages of about as many new seeds each.

    Args:
        fewest: seeds of the first stage.
        most: seeds after the last one.
        family: comparisons of the study.
    """
    count = min(MOST_STAGES, most - fewest + 1)
    seeds = np.linspace(fewest, most, count).round().astype(int).tolist()
    return Stages(tuple(seeds), family)


def decide(stages: Stages, stage: int, look: Look, before: Decisions) -> Decisions:
    """Return the decisions after a stage: (..., K) -> (..., K).

    A decision is final: later stages never look at its comparison again.

    Args:
        stages: the plan.
        stage: number of the stage, from 0.
        look: results of all runs up to the stage; only undecided comparisons are used.
        before: decisions of the stage before; all `GO_ON` at first.
    """
    active = before == Decision.GO_ON
    claimed = (before == Decision.BETTER) | (before == Decision.WORSE)
    p = np.maximum(two_sided_p(look.value / look.error, look.df), look.least_p)
    differs = _step_down(p, active, claimed, functools.partial(stages.difference_level, stage))
    outside = upper_p((look.margin - np.abs(look.value)) / look.error, look.df)
    same = before == Decision.WITHIN_MARGIN
    within = _step_down(outside, active, same, functools.partial(stages.equivalence_level, stage))
    after = np.select(
        [~active, differs & (look.value > 0), differs & (look.value < 0), within],
        [before, Decision.BETTER, Decision.WORSE, Decision.WITHIN_MARGIN],
        Decision.GO_ON,
    )
    if stage < len(stages.seeds) - 1:
        hopeless = _chance(stages, stage, look, after) < OUT_OF_REACH_CHANCE
        after = np.where(hopeless & (after == Decision.GO_ON), Decision.OUT_OF_REACH, after)
    return np.asarray(after, dtype=np.int8)


def _step_down(
    p: Array, active: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_], level: _Level
) -> npt.NDArray[np.bool_]:
    """Return the tests that Holm's method rejects at this stage, besides those found before.

    Args:
        p: (..., K)
        active: (..., K) tests that may be rejected now.
        found: (..., K) tests that an earlier stage rejected.
        level: of a test, by the number of tests that are not rejected yet.
    """
    tested = np.where(active, p, math.nan)
    order = np.argsort(tested, axis=-1)  # NaN last
    ranked = np.take_along_axis(tested, order, axis=-1)
    left = p.shape[-1] - found.sum(axis=-1, keepdims=True) - np.arange(p.shape[-1])
    left = np.maximum(left, 1)
    levels = np.array([0.0, *map(level, range(1, int(left.max()) + 1))])
    passed = np.logical_and.accumulate(ranked <= levels[left], axis=-1)
    rejected = np.empty_like(passed)
    np.put_along_axis(rejected, order, passed, axis=-1)
    return rejected


def _chance(stages: Stages, stage: int, look: Look, after: Decisions) -> Array:
    """Return the predicted chance that the last stage decides each comparison: (..., K).

    The mean difference at the last stage is D + e sqrt(1 - t) T, with D and e the difference and
    its standard error now, T a Student t, and t the share of the seeds that are done.

    Source: predictive power, Spiegelhalter, Freedman & Blackburn 1986.
    """
    t = stages.seeds[stage] / stages.seeds[-1]
    last_error = look.error * math.sqrt(t)
    spread = look.error * math.sqrt(1 - t)
    left = [
        after.shape[-1] - found.sum(axis=-1, keepdims=True)
        for found in (
            (after == Decision.BETTER) | (after == Decision.WORSE),
            after == Decision.WITHIN_MARGIN,
        )
    ]
    last = len(stages.seeds) - 1
    differs = _quantiles(left[0], lambda m: stages.difference_level(last, m) / 2) * last_error
    within = look.margin - _quantiles(left[1], lambda m: stages.equivalence_level(last, m)) * (
        last_error
    )
    size = np.abs(look.value)
    chance = upper_p((differs - size) / spread, look.df) + upper_p(
        (differs + size) / spread, look.df
    )
    inside = upper_p((size - within) / spread, look.df) - upper_p((size + within) / spread, look.df)
    return np.asarray(chance + np.where(within > 0, inside, 0.0))


def _quantiles(left: npt.NDArray[np.int64], tail: _Level) -> Array:
    """Return normal quantiles of an upper tail, by the number of tests that are left.

    Student's would be larger by a few percent with the degrees of freedom of the last stage.
    """
    unique = np.unique(np.maximum(left, 1))
    known = {m: NormalDist().inv_cdf(1 - tail(m)) for m in unique.tolist()}
    return np.asarray(np.vectorize(known.__getitem__, otypes=[np.float64])(np.maximum(left, 1)))
