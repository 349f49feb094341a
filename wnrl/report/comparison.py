"""What a comparison found, as plain data: what tables, pictures and pages are made from.

Nothing here reads files or draws. `wnrl.report.analyze` makes it from results.

Dimension key: K grid points, M games, T thresholds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl.report.run_result import Result
from wnrl.stats.bootstrap import Bands, Coverage, Estimate
from wnrl.stats.intervals import Interval
from wnrl.stats.reference_scores import Reference

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """What is compared: a normalization, and a value of each swept setting."""

    norm: str
    values: tuple[str, ...] = ()  # in the order of `Comparison.swept`; `-` where it has none such

    @property
    def label(self) -> str:
        """`weight`, or `weight 0.0003`: short enough to stand beside its curve."""
        values = self.values if any(value != "-" for value in self.values) else ()
        return " ".join([self.norm, *values])


def variant_of(values: Mapping[str, Any], swept: Sequence[str]) -> Variant:
    """What a run is an instance of.

    Args:
        values: from `wnrl.compare.grid.compared`.
        swept: settings, some of which the run may not have.
    """
    return Variant(str(values["norm"]), tuple(str(values.get(name, "-")) for name in swept))


def plain_counterpart(variant: Variant, variants: Iterable[Variant]) -> Variant | None:
    """The plain network with a variant's settings, but for those that a plain one does not have."""
    for other in variants:
        pairs = zip(other.values, variant.values, strict=True)
        if other.norm == "none" and all(mine in (its, "-") for mine, its in pairs):
            return other
    return None


@dataclass(frozen=True)
class Curve:
    """The mean learning curve of a variant over seeds, with the interval at each point."""

    steps: Array  # (K,) agent steps
    mean: Array  # (K,) NaN before the first episode of every run has ended
    low: Array  # (K,) NaN where there is no interval
    high: Array  # (K,) NaN where there is no interval


@dataclass(frozen=True)
class Cost:
    """What a variant took, over its runs; NaN where no run recorded it."""

    act_ms: float  # one act of all environments: the median of the runs' own medians
    update_ms: float  # one step of the optimizer, likewise
    steps_per_s: float  # agent steps over training time, the median of the runs


@dataclass(frozen=True)
class Scored:
    """A variant in one game. Without runs there is no interval, curve or cost."""

    variant: Variant
    runs: tuple[Result, ...]  # done and with a score
    final: Interval | None  # of the final return, Student's t over seeds
    area: Interval | None  # of the area under the curve
    best_evaluation: float | None  # each run's best evaluation, averaged over seeds
    mean_evaluation: float | None  # each run's mean evaluation, averaged over seeds
    curve: Curve | None
    cost: Cost | None


@dataclass(frozen=True)
class Game:
    """One environment and all that was compared in it."""

    env: str
    protocol: str  # `-` where it is not Atari
    total_steps: int  # agent steps of each run in it
    scored: tuple[Scored, ...]  # in the order that was asked for
    verdict: str  # what so few seeds cannot say; empty from five on
    references: tuple[Reference, ...]  # published scores of this protocol at this frame budget


@dataclass(frozen=True)
class Improvement:
    """How probable it is that a run of one variant ends above one of another, over games."""

    better: Variant
    worse: Variant
    chance: Estimate


@dataclass(frozen=True)
class Total:
    """A variant over all games, in human-normalized final scores."""

    variant: Variant
    iqm: Estimate
    iqm_coverage: Coverage
    mean: Estimate
    median: Estimate
    optimality_gap: Estimate
    optimality_gap_coverage: Coverage
    profile: Bands  # (T,) over `Aggregate.thresholds`
    atari_5: Estimate | None  # where its five games are there
    curve: Curve | None  # the IQM over training


@dataclass(frozen=True)
class Aggregate:
    """All games that have a human score and runs of every variant together."""

    games: tuple[str, ...]  # M of them, at least two
    left_out: tuple[str, ...]  # environments without a human score, or without runs of a variant
    thresholds: Array  # (T,) human-normalized
    totals: tuple[Total, ...]
    improvements: tuple[Improvement, ...]  # each over `none` with its settings, else the first
    verdict: str  # of the smallest number of seeds


@dataclass(frozen=True)
class Comparison:
    """Everything that a report says."""

    agent: str
    swept: tuple[str, ...]  # settings, by name
    games: tuple[Game, ...]
    aggregate: Aggregate | None  # where there are at least two games for it
    # agent, protocol, agent steps, seeds, evaluations, settings, machine, commit, versions
    facts: dict[str, str]
    problems: dict[str, str]  # runs by name that are missing, failed or not done, and why
