"""Comparisons whose intervals and costs are written by hand, for tests of what is said of them."""

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
    Game,
    Improvement,
    Scored,
    Total,
    Variant,
)
from wnrl.stats.bootstrap import Bands, Coverage, Estimate
from wnrl.stats.intervals import Interval, verdict
from wnrl.stats.reference_scores import Reference

NO_COST = Cost(math.nan, math.nan, math.nan)
NOTHING = np.zeros(0)


def scored(
    norm: str,
    ends: tuple[float, float] | None,
    *,
    seeds: int = 5,
    values: tuple[str, ...] = (),
    cost: Cost = NO_COST,
    evaluations: tuple[float, float] | None = None,
    **run: Any,
) -> Scored:
    """A variant with this interval of the final return; without runs if it is None.

    `evaluations` are their mean and their maximum; `run` is what its runs are made with.
    """
    variant = Variant(norm, values)
    if ends is None:
        return Scored(variant, (), None, None, None, None, None, None)
    middle = sum(ends) / 2
    low, high = ends if seeds > 1 else (math.nan, math.nan)
    runs = tuple(made_result([middle], seed=seed, norm=norm, **run) for seed in range(1, seeds + 1))
    mean, maximum = evaluations or (None, None)
    return Scored(
        variant=variant,
        runs=runs,
        final=Interval(middle, low, high),
        area=Interval(middle / 2, low / 2, high / 2),
        best_evaluation=maximum,
        mean_evaluation=mean,
        curve=Curve(np.array([500.0, 1000.0]), *(np.array([x, x]) for x in (middle, low, high))),
        cost=cost,
    )


def game(env: str, *of: Scored, references: tuple[Reference, ...] = ()) -> Game:
    """All that was compared in a game, with the verdict on so many seeds."""
    return Game(env, "classic", 1_000, of, verdict(min(len(x.runs) for x in of)), references)


def comparison(
    *games: Game,
    aggregate: Aggregate | None = None,
    swept: tuple[str, ...] = (),
    facts: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
) -> Comparison:
    """Games together."""
    return Comparison("dqn", swept, games, aggregate, dict(facts or {}), dict(problems or {}))


def aggregate(
    games: Sequence[str], iqms: Mapping[str, tuple[float, float]], left_out: Sequence[str] = ()
) -> Aggregate:
    """Variants with these intervals of the IQM, held by 83% and more."""
    totals = []
    for k, (norm, (low, high)) in enumerate(iqms.items()):
        iqm = Estimate((low + high) / 2, low, high)
        held = Coverage(0.83 + 0.02 * k, 0.01)
        bands = Bands(NOTHING, NOTHING, NOTHING)
        totals.append(
            Total(Variant(norm), iqm, held, iqm, iqm, iqm, Coverage(0.9, 0.01), bands, None, None)
        )
    first, *others = (total.variant for total in totals)
    improvements = tuple(Improvement(x, first, Estimate(0.75, 0.5, 1.0)) for x in others)
    return Aggregate(
        tuple(games), tuple(left_out), NOTHING, tuple(totals), improvements, verdict(5)
    )
