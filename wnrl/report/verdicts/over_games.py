"""Every pair of variants compared over all games together."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wnrl.report.comparison import (
    FamilyError,
    Game,
    Obstacle,
    OverallContrast,
    Question,
    Variant,
    VariantScores,
)
from wnrl.report.verdicts.scale import Scale, worst_score
from wnrl.stats.intervals import INDICATIVE_SEEDS, Interval
from wnrl.stats.scores import interquartile_mean, optimality_gap
from wnrl.stats.simultaneous import Differences, Runs, differences, improvements
from wnrl.stats.verdict import Verdict

_NOTHING = Interval(math.nan, math.nan, math.nan)
_MOST_SIMULATIONS = 1_000
_DRAWS = 6_000  # simulated studies times variants, so that many variants do not take minutes


class OverGames(NamedTuple):
    """The contrasts, and the error of their intervals; None if there are no intervals."""

    contrasts: tuple[OverallContrast, ...]
    iqm_error: FamilyError | None
    optimality_gap_error: FamilyError | None


def over_games(
    games: Sequence[Game],
    scales: Mapping[str, Scale],
    pairs: Sequence[tuple[Variant, Variant]],
    question: Question,
    generator: np.random.Generator,
) -> OverGames:
    """Compare every pair over the games that have a scale here.

    Args:
        games: all games.
        scales: of the games that are used, in which every variant of `pairs` has runs.
        pairs: variants and what they are compared with; those without runs are skipped.
        question: for the margin.
        generator: draws resamples and simulated studies.
    """
    used = {game.env: {x.variant: x for x in game.variants} for game in games if game.env in scales}
    by_variant = {
        variant: [of_game[variant] for of_game in used.values()]
        for pair in pairs
        for variant in pair
        if all(variant in of_game and of_game[variant].runs for of_game in used.values())
    }
    pairs = [pair for pair in pairs if by_variant.keys() >= set(pair)]
    if not pairs:
        return OverGames((), None, None)
    fewest = min(len(x.runs) for scores in by_variant.values() for x in scores)
    if fewest < INDICATIVE_SEEDS:
        return OverGames(tuple(_undecided(pair) for pair in pairs), None, None)
    observed = _study(by_variant, scales, worst=False)
    places = list(by_variant)
    indices = [(places.index(one), places.index(other)) for one, other in pairs]
    few_draws = {"simulations": min(_MOST_SIMULATIONS, max(100, _DRAWS // len(places)))}
    iqm = differences(observed, indices, interquartile_mean, generator, **few_draws)
    gap = differences(observed, indices, optimality_gap, generator, **few_draws)
    better = improvements(observed, indices, generator)
    margins = [
        question.margin * float(interquartile_mean(observed[other].scores)) for _, other in indices
    ]
    claims = [_claim(x, margin) for x, margin in zip(iqm.intervals, margins, strict=True)]
    at_worst = claims
    if any(sum(x.lost) for scores in by_variant.values() for x in scores):
        pessimistic = _study(by_variant, scales, worst=True)
        low = differences(pessimistic, indices, interquartile_mean, generator, **few_draws)
        at_worst = [_claim(x, margin) for x, margin in zip(low.intervals, margins, strict=True)]
    intervals = list(zip(iqm.intervals, gap.intervals, better, strict=True))
    contrasts = [
        _contrast(pair, intervals[k], margins[k], claims[k], at_worst[k])
        for k, pair in enumerate(pairs)
    ]
    return OverGames(tuple(contrasts), _error(iqm), _error(gap))


def _undecided(pair: tuple[Variant, Variant]) -> OverallContrast:
    nothing = (_NOTHING, _NOTHING, _NOTHING)
    return OverallContrast(*pair, *nothing, math.nan, Verdict.UNDECIDED, Obstacle.FEW_SEEDS)


def _study(
    by_variant: Mapping[Variant, Sequence[VariantScores]],
    scales: Mapping[str, Scale],
    *,
    worst: bool,
) -> list[Runs]:
    """Return the normalized scores; with `worst`, lost runs count as the worst in their game."""
    ordered = list(scales.values())
    lowest = [
        worst_score((run.final for of in by_variant.values() for run in of[m].runs), scale.zero)
        for m, scale in enumerate(ordered)
    ]
    return [
        Runs(
            [
                scale.normalized(
                    [*(run.final for run in x.runs), *([low] * sum(x.lost) if worst else [])]
                )
                for scale, x, low in zip(ordered, scores, lowest, strict=True)
            ],
            [_floor(scale, x) for scale, x in zip(ordered, scores, strict=True)],
        )
        for scores in by_variant.values()
    ]


def _floor(scale: Scale, scores: VariantScores) -> float:
    """Return the variance that the final returns have from their episodes; 0 if unknown."""
    known = [run.final_variance for run in scores.runs if not math.isnan(run.final_variance)]
    return sum(known) / len(known) / (scale.one - scale.zero) ** 2 if known else 0.0


def _claim(interval: Interval, margin: float) -> Verdict:
    if interval.low > 0:
        return Verdict.BETTER
    if interval.high < 0:
        return Verdict.WORSE
    within = -margin < interval.low and interval.high < margin
    return Verdict.WITHIN_MARGIN if within else Verdict.UNDECIDED


def _contrast(
    pair: tuple[Variant, Variant],
    intervals: tuple[Interval, Interval, Interval],
    margin: float,
    claim: Verdict,
    at_worst: Verdict,
) -> OverallContrast:
    obstacle = Obstacle.NONE if intervals[0].bounded else Obstacle.NO_SPREAD
    if claim is not Verdict.UNDECIDED and claim is not at_worst:
        claim, obstacle = Verdict.UNDECIDED, Obstacle.LOST_RUNS
    known = margin if margin > 0 else math.nan
    return OverallContrast(*pair, *intervals, known, claim, obstacle)


def _error(found: Differences) -> FamilyError | None:
    if not any(interval.bounded for interval in found.intervals):
        return None
    return FamilyError(found.bootstrap_error, found.error, found.widened)
