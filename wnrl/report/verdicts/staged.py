"""Verdicts of a comparison whose seeds were added in stages.

Tests that suppose a fixed number of seeds would be wrong too often here: the runs ended because of
what they showed. Their verdicts are replaced by those of the stages, and claims about other
measures are left out.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wnrl.report.comparison import Comparison, Contrast, Obstacle, StagesSoFar
from wnrl.report.number_format import listed
from wnrl.stats.difference import Difference
from wnrl.stats.intervals import Interval
from wnrl.stats.power import detectable_difference, seeds_needed
from wnrl.stats.stages.decisions import MOST_STAGES, Stages
from wnrl.stats.verdict import Verdict


@dataclass(frozen=True)
class StagedDecision:
    """The newest decision about a variant in a game, as compare.json keeps it."""

    env: str
    variant: str  # label
    seeds: int  # of each of the two, on which it rests
    verdict: str  # name of a `Verdict`
    final: bool  # no more seeds will be added
    value: float | None  # difference to the baseline; null without enough finished runs
    error: float | None  # its standard error; null without any spread
    df: float | None
    p: float | None  # at most 5% if and only if the difference is shown, over all stages
    levels: list[float]  # of the intervals that hold over all stages: of one, of the whole family

    def __post_init__(self) -> None:
        """Raise ValueError if a file holds what no stage decides."""
        numbers = [x for x in (self.value, self.error, self.df, self.p) if x is not None]
        known = all(map(math.isfinite, numbers)) and self.verdict in Verdict.__members__
        positive = all(x is None or x > 0 for x in (self.error, self.df))
        positive &= self.error is None or self.seeds > 1
        if not (known and positive and len(self.levels) == 2 and _are_levels(self.levels)):
            raise ValueError(f"stages: the decision about {self.variant!r} cannot be one")


@dataclass(frozen=True)
class StagedRecord:
    """The stages of a comparison and their decisions, as compare.json keeps them."""

    seeds: list[int]  # seeds per variant up to each stage
    variants: list[str]  # labels, which with the games make the family
    envs: list[str]
    margin: float  # as a share of the baseline's score above random play
    steps: int  # agent steps of each run
    decisions: list[StagedDecision]

    def __post_init__(self) -> None:
        """Raise ValueError if a file holds no stage."""
        if not self.seeds:
            raise ValueError("stages: there are no seeds")
        rising = self.seeds[0] > 0 and self.seeds == sorted(set(self.seeds))
        if not rising or len(self.seeds) > MOST_STAGES or not (self.variants and self.envs):
            raise ValueError("stages: these are no stages of a study")

    @property
    def plan(self) -> Stages:
        """The plan of the study."""
        return Stages(tuple(self.seeds), len(self.variants) * len(self.envs))

    def same_plan(self, other: "StagedRecord") -> bool:
        """Return whether both plan the same stages of the same family."""
        plans = [
            (x.seeds, sorted(x.variants), sorted(x.envs), x.margin, x.steps) for x in (self, other)
        ]
        return plans[0] == plans[1]


def _are_levels(levels: Sequence[float]) -> bool:
    return all(0 < level < 1 for level in levels)


def with_stages(comparison: Comparison, record: StagedRecord | None) -> Comparison:
    """Return a comparison with the verdicts of its stages; without stages, itself.

    Args:
        comparison: made as if the number of seeds had been fixed.
        record: from compare.json.
    """
    if record is None:
        return comparison
    contrasts = tuple(_judged(each, record.decisions, record.plan) for each in comparison.contrasts)
    aggregate = comparison.aggregate
    if aggregate is not None:
        aggregate = dataclasses.replace(aggregate, contrasts=(), iqm_error=None)
    stages = listed([str(n) for n in record.seeds])
    return dataclasses.replace(
        comparison,
        contrasts=contrasts,
        areas=(),
        stages=tuple(record.seeds),
        aggregate=aggregate,
        facts={
            **comparison.facts,
            "stages": f"decided after {stages} seeds, with 5% over all stages; p, intervals and "
            "verdicts of final return allow for it; no claims about area or all games together",
        },
    )


def _judged(contrast: Contrast, decisions: Sequence[StagedDecision], plan: Stages) -> Contrast:
    for decision in decisions:
        if (decision.env, decision.variant) == (contrast.env, contrast.variant.label):
            intervals = [_interval(decision, level) for level in decision.levels]
            verdict = Verdict[decision.verdict]
            detectable, needed = _power(decision, plan)
            return dataclasses.replace(
                contrast,
                difference=intervals[0],
                simultaneous=intervals[1],
                effect=Interval(contrast.effect.value, math.nan, math.nan),
                p=math.nan if decision.p is None else decision.p,
                equivalence_p=math.nan,
                family=plan.family,
                verdict=verdict,
                obstacle=_obstacle(contrast, verdict, plan),
                detectable=detectable,
                seeds_needed=needed,
                stages=StagesSoFar(decision.seeds, plan.seeds[-1], decision.final),
            )
    return dataclasses.replace(
        contrast, verdict=Verdict.UNDECIDED, stages=StagesSoFar(0, plan.seeds[-1], final=False)
    )


def _obstacle(contrast: Contrast, verdict: Verdict, plan: Stages) -> Obstacle:
    if verdict is not Verdict.UNDECIDED:
        return Obstacle.NONE
    if contrast.obstacle not in (Obstacle.NONE, Obstacle.FAMILY):
        return contrast.obstacle
    return Obstacle.FAMILY if len(plan.seeds) - 1 in plan.skipped else Obstacle.NONE


def _power(decision: StagedDecision, plan: Stages) -> tuple[float, int | None]:
    """Return the difference that the study detects, and the seeds for the observed one.

    Both are those of the last stage's test, with the most seeds. The stages before it find the
    difference a little more often, so that both are slightly too large.
    """
    most = plan.seeds[-1]
    level = plan.difference_level(len(plan.seeds) - 1, plan.family)
    if decision.value is None or decision.error is None or decision.df is None or not level:
        return math.nan, None
    last = Difference(
        np.asarray(decision.value),
        np.asarray(decision.error * math.sqrt(decision.seeds / most)),
        np.asarray(decision.df * (most - 1) / (decision.seeds - 1)),
        (most, most),
    )
    variance = decision.error**2 * decision.seeds / 2
    needed = seeds_needed(decision.value, (variance, variance), level)
    return detectable_difference(last, level), needed


def _interval(decision: StagedDecision, level: float) -> Interval:
    if decision.value is None or decision.error is None or decision.df is None:
        value = math.nan if decision.value is None else decision.value
        return Interval(value, math.nan, math.nan)
    found = Difference(
        np.asarray(decision.value),
        np.asarray(decision.error),
        np.asarray(decision.df),
        (decision.seeds, decision.seeds),
    )
    return found.interval(1 - level)
