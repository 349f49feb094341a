"""What a comparison's numbers allow to say, in sentences: never more than its intervals show.

Nothing is said of which variant is better where intervals overlap, or where seeds are fewer than
three.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from wnrl.report.comparison import Aggregate, Comparison, Game, Scored, plain_counterpart
from wnrl.report.number_format import counted, decimals, ends, listed, number
from wnrl.stats.intervals import CONCLUSIVE_SEEDS, INDICATIVE_SEEDS

NORMALIZED_DIGITS = 3  # after the point of human-normalized scores and probabilities
_IQM = "human-normalized interquartile mean"
_NAMED = 4  # more than these are counted, not named


class Finding(NamedTuple):
    """A sentence or two."""

    subject: str  # games of which it holds, all of them together, or the cost
    sentence: str


class Ranged(NamedTuple):
    """A number of a variant and the interval around it."""

    label: str
    value: float
    low: float  # NaN where there is no interval
    high: float  # NaN where there is no interval


def verdicts(comparison: Comparison) -> list[str]:
    """What so few seeds cannot say: a sentence, or one for each set of games that differ in it."""
    games: dict[str, list[str]] = {}
    for game in comparison.games:
        games.setdefault(game.verdict, []).append(game.env)
    if not games:
        return ["No run has a score: nothing can be concluded."]
    enough = (
        f"{CONCLUSIVE_SEEDS} or more seeds of each: "
        "intervals of one game may be read as they stand."
    )
    said = {verdict or enough: envs for verdict, envs in games.items()}
    if len(said) == 1:
        return list(said)
    return [f"{listed(envs)}: {sentence}" for sentence, envs in said.items()]


def findings(comparison: Comparison) -> list[Finding]:
    """What the final returns of each game, the aggregate and the costs say.

    Only of games in which something was scored.
    """
    alike: dict[str, list[str]] = {}
    for game in comparison.games:
        if any(x.runs for x in game.scored):
            alike.setdefault(_of_game(game), []).append(game.env)
    found = [Finding(listed(envs), sentence) for sentence, envs in alike.items()]
    aggregate = comparison.aggregate
    if aggregate is not None:
        over = f"{len(aggregate.games)} games together"
        found.append(Finding(over, _of_aggregate(aggregate, comparison.games)))
    costs = _of_costs(comparison.games)
    return [*found, Finding("Cost", costs)] if costs else found


def return_digits(game: Game) -> int:
    """Digits after the point of all returns in a game, whether in a sentence or a table."""
    values: list[float | None] = []
    for x in game.scored:
        values += [x.mean_evaluation, x.best_evaluation, *(run.final for run in x.runs)]
        for interval in (x.final, x.area):
            values += [] if interval is None else [interval.low, interval.mean, interval.high]
    return decimals(values)


def plain_rival(scored: Scored, game: Game) -> Scored | None:
    """The same without a normalization, to hold a cost against.

    None for that itself, where it has no run, and where it ran on another machine.
    """
    there = {x.variant: x for x in game.scored if x.runs}
    variant = plain_counterpart(scored.variant, there)
    if variant in (None, scored.variant) or machines([there[variant]]) != machines([scored]):
        return None
    return there[variant]


def machines(scored: Iterable[Scored]) -> set[str]:
    """What runs were made on."""
    return {run.machine for x in scored for run in x.runs}


def maximum_over_mean(game: Game) -> str:
    """How far maxima over evaluations stand above means in this game; empty where none are."""
    above = [
        x.best_evaluation - x.mean_evaluation
        for x in game.scored
        if x.best_evaluation is not None and x.mean_evaluation is not None
    ]
    if not above:
        return ""
    digits = return_digits(game)
    low, high = number(min(above), digits), number(max(above), digits)
    how_far = low if low == high else f"{low} to {high}"
    return f"The maximum over evaluations stands {how_far} above their mean."


def _of_game(game: Game) -> str:
    seeds = min(len(x.runs) for x in game.scored)
    if seeds < INDICATIVE_SEEDS:
        few = [x.variant.label for x in game.scored if len(x.runs) < INDICATIVE_SEEDS]
        who = "every variant"
        if len(few) < len(game.scored):
            who = listed(few) if len(few) <= _NAMED else counted(len(few), "variant")
        has = "has" if len(few) in (1, len(game.scored)) else "have"
        return (
            f"Nothing can be concluded, since {who} {has} fewer than "
            f"{counted(INDICATIVE_SEEDS, 'seed')}."
        )
    finals = [
        Ranged(x.variant.label, x.final.mean, x.final.low, x.final.high)
        for x in game.scored
        if x.final is not None
    ]
    return _what_intervals_show(finals, "mean final return", seeds, return_digits(game))


def _of_aggregate(aggregate: Aggregate, games: Sequence[Game]) -> str:
    seeds = min(len(x.runs) for game in games if game.env in aggregate.games for x in game.scored)
    iqms = [Ranged(x.variant.label, x.iqm.value, x.iqm.low, x.iqm.high) for x in aggregate.totals]
    if seeds < INDICATIVE_SEEDS or any(math.isnan(x.low) for x in iqms):
        return "Nothing can be concluded from so few seeds."
    shares = [x.iqm_coverage.share for x in aggregate.totals]
    return (
        f"{_what_intervals_show(iqms, _IQM, seeds, NORMALIZED_DIGITS)} Simulated, such intervals "
        f"hold the truth in {_percent(shares)} of experiments; 95% is asked for."
    )


def _what_intervals_show(of: Sequence[Ranged], what: str, seeds: int, digits: int) -> str:
    top = max(of, key=lambda x: x.value)
    said = f"{number(top.value, digits)} {ends(top.low, top.high, digits)}"
    if len(of) == 1:
        return f"{top.label} has a {what} of {said}, and there is nothing to hold it against."
    apart = [(a, b) for a, b in itertools.permutations(of, 2) if a.low > b.high]
    if not apart:
        who = listed([x.label for x in of]) if len(of) <= _NAMED else f"all {len(of)} variants"
        return f"The intervals of {who} overlap, so no difference is shown."
    below = [b.label for a, b in apart if a is top]
    level = [x.label for x in of if x is not top and x.label not in below]
    where = []
    if below:
        where.append(f"lies above {_those(below)}")
    if level:
        where.append(f"overlaps {_those(level)}, than which it is not shown to be better")
    sentence = f"{top.label} has the highest {what}, {said}: its interval {listed(where)}."
    rest = [f"{a.label} stands above {b.label}" for a, b in apart if a is not top]
    if len(rest) > _NAMED:
        pairs = len(of) * (len(of) - 1) // 2
        sentence += f" Of all {pairs} pairs of intervals {len(apart)} do not overlap."
    elif rest:
        sentence += f" Apart from it, {listed(rest)}."
    if seeds < CONCLUSIVE_SEEDS:
        sentence += f" With {counted(seeds, 'seed')} that is indicative only."
    return sentence


def _of_costs(games: Sequence[Game]) -> str:
    """How long an update takes against one without normalization.

    Over games, swept values and seeds: a range tells what other work on the machine does to it.
    """
    times: dict[str, list[float]] = {}
    for game in games:
        for scored in game.scored:
            for ratio in _update_ratios(scored, game):
                times.setdefault(scored.variant.norm, []).append(ratio)
    if not times:
        return ""
    each = [f"{_range(x)} with {norm}" for norm, x in times.items()]
    return (
        f"An update takes, as a multiple of its time with none and the same seed, {listed(each)}."
    )


def _update_ratios(scored: Scored, game: Game) -> Iterator[float]:
    plain = plain_rival(scored, game)
    if plain is None:
        return
    times_ms = {run.config.run.seed: run.update_ms for run in plain.runs}
    for run in scored.runs:
        against_ms = times_ms.get(run.config.run.seed)
        if run.update_ms is not None and against_ms is not None:
            yield run.update_ms / against_ms


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _percent(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return low if low == high else f"{low[:-1]} to {high}"


def _those(labels: Sequence[str]) -> str:
    return f"{'that' if len(labels) == 1 else 'those'} of {_some(labels)}"


def _some(labels: Sequence[str]) -> str:
    return listed(labels) if len(labels) <= _NAMED else f"{len(labels)} others"
