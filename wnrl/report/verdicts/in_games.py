"""Every pair of variants compared in every game, as one family of tests."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wnrl.report.comparison import (
    Contrast,
    Game,
    Obstacle,
    Question,
    RunCounts,
    Variant,
)
from wnrl.report.run_result import Result
from wnrl.report.verdicts.scale import random_score, worst_score
from wnrl.stats.difference import Difference, effect_size, least_p, welch
from wnrl.stats.intervals import INDICATIVE_SEEDS, Group, Interval, group
from wnrl.stats.power import MOST_SEEDS, detectable_difference, seeds_needed
from wnrl.stats.verdict import LEVEL, Judged, Verdict, judge

_NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Measure:
    """A score of a run and the square of its own standard error, NaN if unknown."""

    score: Callable[[Result], float]
    sampling_variance: Callable[[Result], float]


FINAL = Measure(lambda run: run.final, lambda run: run.final_variance)
AREA = Measure(lambda run: run.area, lambda run: math.nan)


@dataclass(frozen=True)
class _Pair:
    """One test of the family, before it is adjusted."""

    env: str
    variants: tuple[Variant, Variant]
    counts: tuple[RunCounts, RunCounts]
    groups: tuple[Group, Group] | None  # None without runs
    margin: float

    @property
    def difference(self) -> Difference | None:
        return None if self.groups is None else welch(*self.groups)

    @property
    def testable(self) -> bool:
        return min(each.finished for each in self.counts) >= INDICATIVE_SEEDS


def contrasts(
    games: Sequence[Game],
    pairs: Sequence[tuple[Variant, Variant]],
    results: Sequence[Result],
    measure: Measure,
    question: Question,
) -> tuple[Contrast, ...]:
    """Compare every pair in every game that has both.

    Args:
        games: all games.
        pairs: variants and what they are compared with.
        results: all runs, finished or not.
        measure: what is compared.
        question: for the margin.

    Returns:
        The contrasts, game by game.
    """
    observed = _family(games, pairs, results, measure, question, worst=False)
    judged = _judged(observed)
    if any(sum(each.lost) for pair in observed for each in pair.counts):
        # A lost run may be one that learned nothing: claims have to survive that.
        pessimistic = _judged(_family(games, pairs, results, measure, question, worst=True))
    else:
        pessimistic = judged
    family = sum(not math.isnan(each.p) for each in judged)
    return tuple(
        _contrast(pair, found, at_worst.verdict, max(1, family))
        for pair, found, at_worst in zip(observed, judged, pessimistic, strict=True)
    )


def _family(
    games: Sequence[Game],
    pairs: Sequence[tuple[Variant, Variant]],
    results: Sequence[Result],
    measure: Measure,
    question: Question,
    *,
    worst: bool,
) -> list[_Pair]:
    """Return the tests; with `worst`, lost runs count as the worst score seen in their game."""
    family = []
    for game in games:
        in_game = [result for result in results if result.config.run.env == game.env]
        by_variant = {scores.variant: scores for scores in game.variants}
        zero = random_score(game.env, in_game)
        lowest = worst_score(map(measure.score, in_game), zero)
        for pair in pairs:
            if not by_variant.keys() >= set(pair):
                continue
            both = [by_variant[each] for each in pair]
            known = worst and not math.isnan(lowest)
            added = [[lowest] * sum(x.lost) if known else [] for x in both]
            groups = [
                scored_group(x.runs, more, measure) for x, more in zip(both, added, strict=True)
            ]
            one, other = groups
            above = math.nan if other is None else float(other.mean) - zero
            family.append(
                _Pair(
                    game.env,
                    pair,
                    (
                        RunCounts(len(both[0].runs) + len(added[0]), both[0].lost),
                        RunCounts(len(both[1].runs) + len(added[1]), both[1].lost),
                    ),
                    None if one is None or other is None else (one, other),
                    margin=question.margin * above if above > 0 else math.nan,
                )
            )
    return family


def scored_group(runs: Sequence[Result], added: Sequence[float], measure: Measure) -> Group | None:
    """Return the scores of runs, and of lost ones, as a group; None without any.

    Args:
        runs: with a score.
        added: scores that the lost runs count as.
        measure: what is compared.
    """
    scores = [*(measure.score(run) for run in runs), *added]
    own = [*(measure.sampling_variance(run) for run in runs), *(math.nan for _ in added)]
    return group(scores, own) if scores else None


def _judged(family: Sequence[_Pair]) -> list[Judged]:
    return judge([(pair.difference if pair.testable else None, pair.margin) for pair in family])


def _contrast(pair: _Pair, judged: Judged, at_worst: Verdict, family: int) -> Contrast:
    claim, p, equivalence_p = judged
    level = LEVEL / family
    found = pair.difference
    detectable, needed = math.nan, None
    obstacle = _obstacle(pair, p, level)
    if obstacle in (Obstacle.NONE, Obstacle.FAMILY) and found is not None and pair.groups:
        variances = [float(each.variance) for each in pair.groups]
        known = max(variances)
        needed = seeds_needed(
            float(found.value), (variances[0] or known, variances[1] or known), level
        )
        if needed is not None:
            needed = max(needed, fewest_seeds(family))
        if obstacle is Obstacle.NONE:
            detectable = detectable_difference(found, level)
    if claim is not Verdict.UNDECIDED and claim is not at_worst:
        claim, obstacle = Verdict.UNDECIDED, Obstacle.LOST_RUNS
    return Contrast(
        env=pair.env,
        variant=pair.variants[0],
        baseline=pair.variants[1],
        difference=_NOTHING if found is None else found.interval(),
        simultaneous=_NOTHING if found is None else found.interval(1 - level),
        effect=_NOTHING if pair.groups is None else effect_size(*pair.groups),
        p=p,
        equivalence_p=equivalence_p,
        family=family,
        margin=pair.margin,
        verdict=claim,
        obstacle=obstacle,
        detectable=detectable,
        seeds_needed=needed,
        counts=pair.counts[0],
        baseline_counts=pair.counts[1],
    )


def _obstacle(pair: _Pair, p: float, level: float) -> Obstacle:
    if pair.groups is None:
        return Obstacle.NO_RUNS
    if not pair.testable:
        return Obstacle.FEW_SEEDS
    if math.isnan(p):
        return Obstacle.NO_SPREAD
    if least_p(*(each.finished for each in pair.counts)) > level:
        return Obstacle.FAMILY
    return Obstacle.NONE


def fewest_seeds(family: int) -> int:
    """Return the fewest seeds per variant that can show a difference in a family of this size."""
    return next(n for n in range(INDICATIVE_SEEDS, MOST_SEEDS) if least_p(n, n) <= LEVEL / family)
