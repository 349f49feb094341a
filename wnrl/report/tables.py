"""The tables of a report page as plain cells: what stands where, not how it looks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wnrl.report.comparison import Aggregate, Cost, Game, Scored, Total, Variant
from wnrl.report.number_format import MISSING, counted, decimals, ends, listed, number
from wnrl.report.seed_dots import Scale, scale_of, seed_strip
from wnrl.report.sentences import NORMALIZED_DIGITS, plain_rival, return_digits
from wnrl.stats.bootstrap import Coverage, Estimate
from wnrl.stats.intervals import Interval
from wnrl.train.speed import format_duration

Colours = Mapping[Variant, str]  # in CSS, those of the curves


class Column(NamedTuple):
    """What a column holds."""

    name: str
    note: str = ""  # a second, quieter line
    words: bool = False  # set flush left, and wrapped; else numbers, set flush right


class Cell(NamedTuple):
    """What stands at one place."""

    text: str
    note: str = ""  # a second, quieter line
    swatch: str = ""  # a colour before the text
    picture: str = ""  # inline SVG instead of text


class Table(NamedTuple):
    """Rows under columns; the first cell of a row says what the row is of."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def scores_table(game: Game, colours: Colours) -> Table:
    """A row for each variant in a game, whether it has runs or not."""
    scale = scale_of(game)
    digits = return_digits(game)
    axis = scale and f"{number(scale.low, digits)} to {number(scale.high, digits)}"
    columns = (
        Column("Variant", words=True),
        Column("Final return by seed", axis or "", words=True),
        Column("Final return", "95% interval"),
        Column("Area", "95% interval"),
        Column("Evaluations", "mean"),
        Column("Evaluations", "maximum"),
        Column("Act", "ms"),
        Column("Update", "ms"),
        Column("Speed", "agent steps/s"),
    )
    rows = tuple(_scores_row(x, game, scale, digits, colours) for x in game.scored)
    return Table(f"Scores in {game.env}", columns, rows)


def runs_table(game: Game) -> Table:
    """A row for each run that counts in a game."""
    columns = (
        Column("Run", words=True),
        Column("Final return"),
        Column("Area under curve"),
        Column("Best evaluation"),
        Column("Episodes"),
        Column("Wall time"),
    )
    digits = return_digits(game)
    rows = tuple(
        (
            Cell(f"{scored.variant.label}, seed {run.config.run.seed}"),
            Cell(number(run.final, digits)),
            Cell(number(run.area, digits)),
            Cell(number(run.best_evaluation, digits)),
            Cell(f"{run.episodes:,}"),
            Cell(MISSING if run.wall_s is None else format_duration(run.wall_s)),
        )
        for scored in game.scored
        for run in scored.runs
    )
    return Table(f"Runs in {game.env}", columns, rows)


def aggregate_table(aggregate: Aggregate, colours: Colours) -> Table:
    """A row for each variant over all games."""
    atari_5 = any(total.atari_5 is not None for total in aggregate.totals)
    columns = (
        Column("Variant", words=True),
        Column("Interquartile mean", "95% interval"),
        Column("its coverage", "simulated"),
        Column("Median", "95% interval"),
        Column("Mean", "95% interval"),
        Column("Optimality gap", "95% interval"),
        Column("its coverage", "simulated"),
        *([Column("Atari-5", "95% interval")] * atari_5),
    )
    rows = tuple(_total_row(total, atari_5, colours) for total in aggregate.totals)
    return Table("Scores over all games", columns, rows)


def improvements_table(aggregate: Aggregate) -> Table:
    """A row for each pair of variants that is held against each other over all games."""
    columns = (Column("Pair", words=True), Column("Probability", "95% interval"))
    rows = tuple(
        (Cell(f"{x.better.label} above {x.worse.label}"), _estimate(x.chance))
        for x in aggregate.improvements
    )
    return Table("Probability of improvement", columns, rows)


def references_table(games: Sequence[Game]) -> Table:
    """A row for each published score that the games may be held against."""
    columns = (
        Column("Algorithm", words=True),
        Column("Score"),
        Column("Frames"),
        Column("Runs"),
        Column("Protocol, in the source's words", words=True),
        Column("Source", words=True),
    )
    rows = tuple(
        (
            Cell(f"{game.env}: {x.algorithm}"),
            Cell(number(x.score, decimals([x.score]))),
            Cell(f"{x.frames:,}"),
            Cell(MISSING if x.runs is None else str(x.runs)),
            Cell(x.protocol),
            Cell(x.source),
        )
        for game in games
        for x in game.references
    )
    return Table("Published scores", columns, rows)


def _scores_row(
    scored: Scored, game: Game, scale: Scale | None, digits: int, colours: Colours
) -> tuple[Cell, ...]:
    own = colours[scored.variant]
    picture = ""
    if scored.runs and scale is not None:
        each = listed([number(run.final, digits) for run in scored.runs])
        description = f"{counted(len(scored.runs), 'seed')} with final returns {each}"
        picture = seed_strip(scored, scale, own, description)
    plain = plain_rival(scored, game)
    return (
        Cell(scored.variant.label, counted(len(scored.runs), "seed"), swatch=own),
        Cell("" if picture else MISSING, picture=picture),
        _interval(scored.final, digits),
        _interval(scored.area, digits),
        Cell(number(scored.mean_evaluation, digits)),
        Cell(number(scored.best_evaluation, digits)),
        *_cost_cells(scored.cost, None if plain is None else plain.cost),
    )


def _cost_cells(cost: Cost | None, base: Cost | None) -> Iterator[Cell]:
    own = (math.nan,) * 3 if cost is None else (cost.act_ms, cost.update_ms, cost.steps_per_s)
    of_base = own if base is None else (base.act_ms, base.update_ms, base.steps_per_s)
    for value, reference, digits in zip(own, of_base, (3, 3, 0), strict=True):
        ratio = "" if base is None or math.isnan(value / reference) else f"×{value / reference:.2f}"
        yield Cell(number(value, min(digits, decimals([value], significant=3))), ratio)


def _total_row(total: Total, atari_5: bool, colours: Colours) -> tuple[Cell, ...]:
    last = () if not atari_5 else (_estimate(total.atari_5),)
    return (
        Cell(total.variant.label, swatch=colours[total.variant]),
        _estimate(total.iqm),
        _coverage(total.iqm_coverage),
        _estimate(total.median),
        _estimate(total.mean),
        _estimate(total.optimality_gap),
        _coverage(total.optimality_gap_coverage),
        *last,
    )


def _interval(interval: Interval | None, digits: int) -> Cell:
    if interval is None:
        return Cell(MISSING)
    said = ends(interval.low, interval.high, digits) or "no interval"
    return Cell(number(interval.mean, digits), said)


def _estimate(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell(MISSING)
    said = ends(estimate.low, estimate.high, NORMALIZED_DIGITS) or "no interval"
    return Cell(number(estimate.value, NORMALIZED_DIGITS), said)


def _coverage(coverage: Coverage) -> Cell:
    if math.isnan(coverage.share):
        return Cell(MISSING)
    return Cell(f"{coverage.share:.0%}", f"± {coverage.standard_error:.1%}")
