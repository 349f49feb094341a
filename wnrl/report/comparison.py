"""Results of a comparison as plain data, from which tables, figures and pages are made.

`wnrl.report.analyze` computes them from the results of runs.

Dimension key: K grid points, M games, T thresholds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl.report.run_result import Result
from wnrl.stats.bootstrap import Bands, Coverage
from wnrl.stats.intervals import Interval
from wnrl.stats.reference_scores import Reference

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """A normalization with one value of each swept setting."""

    norm: str
    values: tuple[str, ...] = ()  # in the order of `Comparison.swept`; `-` if it has no such one

    @property
    def label(self) -> str:
        """`weight`, or `weight 0.0003`: short enough for the end of its curve."""
        values = self.values if any(value != "-" for value in self.values) else ()
        return " ".join([self.norm, *values])


def variant_of(values: Mapping[str, Any], swept: Sequence[str]) -> Variant:
    """Return the variant that a run belongs to.

    Args:
        values: from `wnrl.report.run_differences.variant_settings`.
        swept: names of the swept settings, some of which the run may not have.
    """
    return Variant(str(values["norm"]), tuple(str(values.get(name, "-")) for name in swept))


def plain_counterpart(variant: Variant, variants: Iterable[Variant]) -> Variant | None:
    """Return the variant without normalization that has the same values of the swept settings.

    Settings that networks without normalization do not have are ignored.
    """
    for other in variants:
        pairs = zip(other.values, variant.values, strict=True)
        if other.norm == "none" and all(plain in (value, "-") for plain, value in pairs):
            return other
    return None


@dataclass(frozen=True)
class Curve:
    """The mean learning curve of a variant over seeds, with the interval at each point."""

    steps: Array  # (K,) agent steps
    mean: Array  # (K,) NaN before the first episode of every run has ended
    low: Array  # (K,) NaN without an interval
    high: Array  # (K,) NaN without an interval


@dataclass(frozen=True)
class Cost:
    """Times of a variant, each a median over its runs; NaN if no run recorded it."""

    act_ms: float  # one batched action selection over all environments
    update_ms: float  # one optimizer step
    steps_per_s: float  # agent steps per second of training


@dataclass(frozen=True)
class VariantScores:
    """Scores and times of a variant in one game; without runs there are none."""

    variant: Variant
    runs: tuple[Result, ...]  # finished, with a score
    final: Interval | None  # final return, Student's t over seeds
    area: Interval | None  # area under the curve, Student's t over seeds
    best_evaluation: float | None  # each run's best evaluation, averaged over seeds
    mean_evaluation: float | None  # each run's mean evaluation, averaged over seeds
    curve: Curve | None
    cost: Cost | None


@dataclass(frozen=True)
class Game:
    """One environment and the scores of every variant in it."""

    env: str
    protocol: str  # `-` if it is not Atari
    total_steps: int  # agent steps of each run
    variants: tuple[VariantScores, ...]  # in the order in which they were requested
    references: tuple[Reference, ...]  # published scores of this protocol at this frame budget

    @property
    def fewest_seeds(self) -> int:
        """Smallest number of runs of any variant."""
        return min(len(scores.runs) for scores in self.variants)


def cost_baseline(scores: VariantScores, game: Game) -> VariantScores | None:
    """Return the plain network with the same settings, to compare a variant's cost with.

    None for the plain network itself, if it has no run, and if it ran on another machine.
    """
    with_runs = {each.variant: each for each in game.variants if each.runs}
    variant = plain_counterpart(scores.variant, with_runs)
    if variant in (None, scores.variant) or machines([with_runs[variant]]) != machines([scores]):
        return None
    return with_runs[variant]


def machines(variants: Iterable[VariantScores]) -> set[str]:
    """Return the machines on which the runs were made."""
    return {run.machine for scores in variants for run in scores.runs}


@dataclass(frozen=True)
class Improvement:
    """Probability that a run of one variant ends above a run of another, averaged over games."""

    better: Variant
    worse: Variant
    probability: Interval


@dataclass(frozen=True)
class VariantAggregate:
    """Statistics of a variant over all games, from human-normalized final returns."""

    variant: Variant
    iqm: Interval
    iqm_coverage: Coverage
    mean: Interval
    median: Interval
    optimality_gap: Interval
    optimality_gap_coverage: Coverage
    profile: Bands  # (T,) over `Aggregate.thresholds`
    atari_5: Interval | None  # if its five games were played
    curve: Curve | None  # IQM over training


@dataclass(frozen=True)
class Aggregate:
    """All games together that have a human score and runs of every variant."""

    games: tuple[str, ...]  # M >= 2 environments
    left_out: tuple[str, ...]  # environments without a human score, or without runs of a variant
    thresholds: Array  # (T,) human-normalized
    variants: tuple[VariantAggregate, ...]
    improvements: tuple[Improvement, ...]  # over `none` with the same settings, else over the first
    fewest_seeds: int  # smallest number of runs of any variant in any of the games


@dataclass(frozen=True)
class Comparison:
    """Everything that a report shows."""

    agent: str
    swept: tuple[str, ...]  # names of settings
    games: tuple[Game, ...]
    aggregate: Aggregate | None  # None with fewer than two games for it
    # agent, protocol, agent steps, seeds, evaluations, settings, machine, commit, versions
    facts: dict[str, str]
    problems: dict[str, str]  # runs that are missing, failed or unfinished: name to reason

    @property
    def agent_label(self) -> str:
        """`DQN`, for titles."""
        return self.agent.upper()
