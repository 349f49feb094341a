"""Sentences about a comparison, which never claim more than its intervals show.

No variant is called better if the intervals overlap or if there are fewer than three seeds.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wnrl.report.comparison import Aggregate, Comparison, Game, VariantScores, cost_baseline
from wnrl.report.number_format import counted, decimals, ends, listed, number
from wnrl.stats.intervals import (
    CONCLUSIVE_SEEDS,
    INDICATIVE_SEEDS,
    Evidence,
    Interval,
    evidence,
)

NORMALIZED_DIGITS = 3  # decimals of human-normalized scores and probabilities
_IQM = "human-normalized interquartile mean"
_MOST_NAMED = 4  # longer lists are replaced by their length


class Finding(NamedTuple):
    """One or two sentences about a subject."""

    subject: str  # the games for which it holds, all games together, or the cost
    sentence: str


class _Labelled(NamedTuple):
    """The interval of a variant, with the variant's label."""

    label: str
    interval: Interval


def evidence_sentence(seeds: int) -> str:
    """Return the warning that a comparison with this many seeds needs; empty if it needs none."""
    match evidence(seeds):
        case Evidence.NONE:
            return (
                f"{counted(seeds, 'seed')}: nothing can be concluded. "
                f"Run at least {INDICATIVE_SEEDS}."
            )
        case Evidence.INDICATIVE:
            return (
                f"{counted(seeds, 'seed')}: differences are indicative only. "
                f"Run at least {CONCLUSIVE_SEEDS}."
            )
        case Evidence.CONCLUSIVE:
            return ""


def game_warning(game: Game) -> str:
    """Return the warning that the seeds of a game need; it names the variants with the fewest."""
    warning = evidence_sentence(game.fewest_seeds)
    labels = [x.variant.label for x in game.variants if len(x.runs) == game.fewest_seeds]
    if not warning or len(labels) == len(game.variants):
        return warning
    subject = listed(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} variants"
    verb = "has" if len(labels) == 1 else "have"
    seeds = counted(game.fewest_seeds, "seed") if game.fewest_seeds else "no seeds"
    return f"{subject} {verb} {seeds}: {warning.partition(': ')[2]}"


def evidence_sentences(comparison: Comparison) -> list[str]:
    """Return what the numbers of seeds allow to conclude: one sentence per set of equal games."""
    if not comparison.games:
        return ["No run has a score: nothing can be concluded."]
    enough = (
        f"{CONCLUSIVE_SEEDS} or more seeds of each variant: the intervals of each game can be "
        "taken at face value."
    )
    games: dict[str, list[str]] = {}
    for game in comparison.games:
        games.setdefault(game_warning(game) or enough, []).append(game.env)
    if len(games) == 1:
        return list(games)
    return [f"{listed(envs)}: {sentence}" for sentence, envs in games.items()]


def findings(comparison: Comparison) -> list[Finding]:
    """Return what the final returns of each game, the aggregate and the costs show.

    Games without a score are left out. Games with the same finding share it.
    """
    games: dict[str, list[str]] = {}
    for game in comparison.games:
        if any(scores.runs for scores in game.variants):
            games.setdefault(_game_finding(game), []).append(game.env)
    found = [Finding(listed(envs), sentence) for sentence, envs in games.items()]
    if (aggregate := comparison.aggregate) is not None:
        subject = f"{len(aggregate.games)} games together"
        found.append(Finding(subject, _aggregate_finding(aggregate, comparison.games)))
    costs = _cost_finding(comparison.games)
    return [*found, Finding("Cost", costs)] if costs else found


def return_digits(game: Game) -> int:
    """Return the number of decimals of all returns in a game, in sentences and tables alike."""
    values: list[float | None] = []
    for scores in game.variants:
        values += [scores.mean_evaluation, scores.best_evaluation]
        values += [run.final for run in scores.runs]
        for interval in (scores.final, scores.area):
            values += [] if interval is None else [interval.low, interval.value, interval.high]
    return decimals(values)


def maximum_over_mean(game: Game) -> str:
    """Return how far maxima over evaluations exceed their means; empty without evaluations."""
    above = [
        scores.best_evaluation - scores.mean_evaluation
        for scores in game.variants
        if scores.best_evaluation is not None and scores.mean_evaluation is not None
    ]
    if not above:
        return ""
    digits = return_digits(game)
    low, high = number(min(above), digits), number(max(above), digits)
    distance = low if low == high else f"{low} to {high}"
    return f"The maximum over evaluations is {distance} above their mean."


def _game_finding(game: Game) -> str:
    if evidence(game.fewest_seeds) is Evidence.NONE:
        return _too_few_seeds(game)
    finals = [
        _Labelled(scores.variant.label, scores.final)
        for scores in game.variants
        if scores.final is not None
    ]
    return _compare(finals, "mean final return", game.fewest_seeds, return_digits(game))


def _too_few_seeds(game: Game) -> str:
    labels = [x.variant.label for x in game.variants if len(x.runs) < INDICATIVE_SEEDS]
    if len(labels) == len(game.variants):
        subject = "every variant has"
    elif len(labels) > _MOST_NAMED:
        subject = f"{counted(len(labels), 'variant')} have"
    else:
        subject = f"{listed(labels)} {'has' if len(labels) == 1 else 'have'}"
    return f"Nothing can be concluded: {subject} fewer than {INDICATIVE_SEEDS} seeds."


def _aggregate_finding(aggregate: Aggregate, games: Sequence[Game]) -> str:
    seeds = min(game.fewest_seeds for game in games if game.env in aggregate.games)
    iqms = [_Labelled(each.variant.label, each.iqm) for each in aggregate.variants]
    if evidence(seeds) is Evidence.NONE or not all(iqm.interval.bounded for iqm in iqms):
        return "Nothing can be concluded from so few seeds."
    coverage = _percent([each.iqm_coverage.share for each in aggregate.variants])
    return (
        f"{_compare(iqms, _IQM, seeds, NORMALIZED_DIGITS)} In simulated experiments of this size, "
        f"such intervals contain the true value in {coverage} of cases instead of the nominal 95%."
    )


def _compare(variants: Sequence[_Labelled], quantity: str, seeds: int, digits: int) -> str:
    """Describe which intervals lie apart.

    Args:
        variants: at least one, all with bounded intervals.
        quantity: name of the quantity, for example "mean final return".
        seeds: the smallest number of seeds.
        digits: decimals of the numbers.
    """
    top = max(variants, key=lambda each: each.interval.value)
    low, high = top.interval.low, top.interval.high
    value = f"{number(top.interval.value, digits)} {ends(low, high, digits)}"
    if len(variants) == 1:
        return f"{top.label} has a {quantity} of {value}. There is no variant to compare it with."
    apart = [
        (a, b) for a, b in itertools.permutations(variants, 2) if a.interval.low > b.interval.high
    ]
    if not apart:
        labels = [each.label for each in variants]
        who = listed(labels) if len(labels) <= _MOST_NAMED else f"all {len(labels)} variants"
        return f"The intervals of {who} overlap, so no difference is shown."
    below = [b.label for a, b in apart if a is top]
    overlapping = [x.label for x in variants if x is not top and x.label not in below]
    sentences = [
        f"{top.label} has the highest {quantity}, {value}.",
        *_highest(below, overlapping),
        *_others_apart(
            [(a.label, b.label) for a, b in apart if a is not top], len(variants), len(apart)
        ),
    ]
    if evidence(seeds) is Evidence.INDICATIVE:
        sentences.append(f"With {counted(seeds, 'seed')}, this is indicative only.")
    return " ".join(sentences)


def _highest(below: Sequence[str], overlapping: Sequence[str]) -> Iterator[str]:
    """Compare the highest interval with those that lie below it and those that overlap it."""
    if below:
        yield f"Its interval lies above {_those(below)}."
    if overlapping:
        subject = "It" if below else "Its interval"
        pair = "between the two" if len(overlapping) == 1 else "from these"
        yield f"{subject} overlaps {_those(overlapping)}, so no difference {pair} is shown."


def _others_apart(pairs: Sequence[tuple[str, str]], variants: int, apart: int) -> Iterator[str]:
    """Name the pairs of other intervals that lie apart, or count all pairs if these are many.

    Args:
        pairs: labels of the higher and the lower one, without the highest of all.
        variants: number of variants.
        apart: number of pairs that lie apart, with the highest of all.
    """
    if len(pairs) > _MOST_NAMED:
        total = variants * (variants - 1) // 2
        yield f"Of all {total} pairs of intervals, {apart} do not overlap."
    elif pairs:
        each = [f"{higher} is above {lower}" for higher, lower in pairs]
        yield f"Among the others, {listed(each)}."


def _cost_finding(games: Sequence[Game]) -> str:
    """Compare the time of an update with that of none; empty without measurements.

    The ranges are over games, swept values and seeds: they show how much other work on the machine
    changes the times.
    """
    ratios: dict[str, list[float]] = {}
    for game in games:
        for scores in game.variants:
            for ratio in _update_ratios(scores, game):
                ratios.setdefault(scores.variant.norm, []).append(ratio)
    if not ratios:
        return ""
    each = [f"{_range(values)} times as long with {norm}" for norm, values in ratios.items()]
    return f"Relative to none with the same seed, an update takes {listed(each)}."


def _update_ratios(scores: VariantScores, game: Game) -> Iterator[float]:
    plain = cost_baseline(scores, game)
    if plain is None:
        return
    plain_ms = {run.config.run.seed: run.update_ms for run in plain.runs}
    for run in scores.runs:
        reference_ms = plain_ms.get(run.config.run.seed)
        if run.update_ms is not None and reference_ms is not None:
            yield run.update_ms / reference_ms


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _percent(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low[:-1]} to {high}"


def _those(labels: Sequence[str]) -> str:
    """Return `that of none`, `those of none and weight` or `those of 5 others`."""
    names = listed(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} others"
    return f"{'that' if len(labels) == 1 else 'those'} of {names}"
