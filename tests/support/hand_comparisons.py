"""Comparisons with intervals and costs written by hand, for tests of sentences and tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from made_results import made_result

from wnrl.report.comparison import (
    Aggregate,
    Comparison,
    Cost,
    Curve,
    FamilyError,
    Game,
    Obstacle,
    OverallContrast,
    Variant,
    VariantAggregate,
    VariantScores,
)
from wnrl.stats.bootstrap import Bands, Coverage
from wnrl.stats.intervals import Interval
from wnrl.stats.reference_scores import Reference
from wnrl.stats.verdict import Verdict

NO_COST = Cost(math.nan, math.nan, math.nan)
NOTHING = np.zeros(0)


def variant(
    norm: str,
    ends: tuple[float, float] | None,
    *,
    seeds: int = 5,
    values: tuple[str, ...] = (),
    cost: Cost = NO_COST,
    evaluations: tuple[float, float] | None = None,
    **run: Any,
) -> VariantScores:
    """Return a variant with this interval of the final return, or without runs if it is None.

    Args:
        norm: its normalization.
        ends: of the interval.
        seeds: number of runs.
        values: of the swept settings.
        cost: its times.
        evaluations: their mean and maximum.
        run: further arguments of `made_result`.
    """
    name = Variant(norm, values)
    if ends is None:
        return VariantScores(name, (), None, None, None, None, None, None)
    middle = sum(ends) / 2
    low, high = ends if seeds > 1 else (math.nan, math.nan)
    runs = tuple(made_result([middle], seed=seed, norm=norm, **run) for seed in range(1, seeds + 1))
    mean, maximum = evaluations or (None, None)
    return VariantScores(
        variant=name,
        runs=runs,
        final=Interval(middle, low, high),
        area=Interval(middle / 2, low / 2, high / 2),
        best_evaluation=maximum,
        mean_evaluation=mean,
        curve=Curve(np.array([500.0, 1000.0]), *(np.array([x, x]) for x in (middle, low, high))),
        cost=cost,
    )


def game(env: str, *variants: VariantScores, references: tuple[Reference, ...] = ()) -> Game:
    """Return a game of 1,000 agent steps with these variants."""
    return Game(env, "classic", 1_000, variants, references)


def comparison(
    *games: Game,
    aggregate: Aggregate | None = None,
    swept: tuple[str, ...] = (),
    facts: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
) -> Comparison:
    """Return a comparison of games."""
    return Comparison("dqn", swept, games, aggregate, dict(facts or {}), dict(problems or {}))


def aggregate(
    games: Sequence[str], iqms: Mapping[str, tuple[float, float]], left_out: Sequence[str] = ()
) -> Aggregate:
    """Return variants with these intervals of the IQM, with a coverage of 83% and more."""
    variants = []
    for k, (norm, (low, high)) in enumerate(iqms.items()):
        iqm = Interval((low + high) / 2, low, high)
        variants.append(
            VariantAggregate(
                variant=Variant(norm),
                iqm=iqm,
                iqm_coverage=Coverage(0.83 + 0.02 * k, 0.01),
                mean=iqm,
                median=iqm,
                optimality_gap=iqm,
                optimality_gap_coverage=Coverage(0.9, 0.01),
                profile=Bands(NOTHING, NOTHING, NOTHING),
                atari_5=None,
                curve=None,
            )
        )
    first, *others = (each.variant for each in variants)
    contrasts = tuple(
        OverallContrast(
            variant=x,
            baseline=first,
            iqm=Interval(0.25, 0.05, 0.45),
            optimality_gap=Interval(-0.2, -0.5, 0.1),
            improvement=Interval(0.75, 0.5, 1.0),
            margin=0.015,
            verdict=Verdict.BETTER,
            obstacle=Obstacle.NONE,
        )
        for x in others
    )
    return Aggregate(
        tuple(games),
        tuple(left_out),
        NOTHING,
        tuple(variants),
        fewest_seeds=5,
        contrasts=contrasts,
        iqm_error=FamilyError(0.18, 0.05, 1.5),
    )
