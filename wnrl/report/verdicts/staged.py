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

from wnrl.report.comparison import Comparison, Contrast, Obstacle
from wnrl.report.number_format import listed
from wnrl.stats.difference import Difference
from wnrl.stats.intervals import Interval
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
    contrasts = tuple(_judged(each, record.decisions) for each in comparison.contrasts)
    aggregate = comparison.aggregate
    if aggregate is not None:
        aggregate = dataclasses.replace(aggregate, contrasts=(), iqm_error=None)
    stages = listed([str(n) for n in record.seeds])
    return dataclasses.replace(
        comparison,
        contrasts=contrasts,
        areas=(),
        aggregate=aggregate,
        facts={
            **comparison.facts,
            "stages": f"decided after {stages} seeds, with 5% over all stages; p, intervals and "
            "verdicts of final return allow for it; no claims about area or all games together",
        },
    )


def _judged(contrast: Contrast, decisions: Sequence[StagedDecision]) -> Contrast:
    for decision in decisions:
        if (decision.env, decision.variant) == (contrast.env, contrast.variant.label):
            intervals = [_interval(decision, level) for level in decision.levels]
            verdict = Verdict[decision.verdict]
            return dataclasses.replace(
                contrast,
                difference=intervals[0],
                simultaneous=intervals[1],
                p=math.nan if decision.p is None else decision.p,
                verdict=verdict,
                obstacle=contrast.obstacle if verdict is Verdict.UNDECIDED else Obstacle.NONE,
            )
    return dataclasses.replace(contrast, verdict=Verdict.UNDECIDED)


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
