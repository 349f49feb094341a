"""Tables of the report page as plain cells; report.html decides how they look."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wnrl.report.comparison import (
    Aggregate,
    Cost,
    Game,
    Variant,
    VariantAggregate,
    VariantScores,
    cost_baseline,
)
from wnrl.report.number_format import MISSING, counted, decimals, ends, listed, number
from wnrl.report.seed_dots import Scale, scale_of, seed_dots
from wnrl.report.sentences import NORMALIZED_DIGITS, return_digits
from wnrl.stats.bootstrap import Coverage
from wnrl.stats.intervals import Interval
from wnrl.train.speed import format_duration

Colours = Mapping[Variant, str]  # CSS colours, the same as those of the curves


class Column(NamedTuple):
    """Head of a column."""

    name: str
    note: str = ""  # second line in small type
    words: bool = False  # text, which is left-aligned and wrapped; numbers are right-aligned


class Cell(NamedTuple):
    """Contents of a cell."""

    text: str
    note: str = ""  # second line in small type
    swatch: str = ""  # colour shown before the text
    picture: str = ""  # inline SVG shown instead of the text


class Table(NamedTuple):
    """Rows under columns; the first cell of a row is its name."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def scores_table(game: Game, colours: Colours) -> Table:
    """Return a row for each variant in a game, with or without runs."""
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
    rows = tuple(_scores_row(scores, game, scale, digits, colours) for scores in game.variants)
    return Table(f"Scores in {game.env}", columns, rows)


def runs_table(game: Game) -> Table:
    """Return a row for each run that counts in a game."""
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
            Cell(f"{scores.variant.label}, seed {run.config.run.seed}"),
            Cell(number(run.final, digits)),
            Cell(number(run.area, digits)),
            Cell(number(run.best_evaluation, digits)),
            Cell(f"{run.episodes:,}"),
            Cell(MISSING if run.wall_s is None else format_duration(run.wall_s)),
        )
        for scores in game.variants
        for run in scores.runs
    )
    return Table(f"Runs in {game.env}", columns, rows)


def aggregate_table(aggregate: Aggregate, colours: Colours) -> Table:
    """Return a row for each variant over all games."""
    atari_5 = any(each.atari_5 is not None for each in aggregate.variants)
    columns = (
        Column("Variant", words=True),
        Column("Interquartile mean", "95% interval"),
        Column("Coverage", "simulated"),
        Column("Median", "95% interval"),
        Column("Mean", "95% interval"),
        Column("Optimality gap", "95% interval"),
        Column("Coverage", "simulated"),
        *([Column("Atari-5", "95% interval")] * atari_5),
    )
    rows = tuple(_aggregate_row(each, atari_5, colours) for each in aggregate.variants)
    return Table("Scores over all games", columns, rows)


def improvements_table(aggregate: Aggregate) -> Table:
    """Return a row for each pair of variants that is compared over all games."""
    columns = (Column("Pair", words=True), Column("Probability", "95% interval"))
    rows = tuple(
        (
            Cell(f"{each.better.label} above {each.worse.label}"),
            _interval(each.probability, NORMALIZED_DIGITS),
        )
        for each in aggregate.improvements
    )
    return Table("Probability of improvement", columns, rows)


def references_table(games: Sequence[Game]) -> Table:
    """Return a row for each published score of the games."""
    columns = (
        Column("Algorithm", words=True),
        Column("Score"),
        Column("Frames"),
        Column("Runs"),
        Column("Protocol, as described by the source", words=True),
        Column("Source", words=True),
    )
    rows = tuple(
        (
            Cell(f"{game.env}: {reference.algorithm}"),
            Cell(number(reference.score, decimals([reference.score]))),
            Cell(f"{reference.frames:,}"),
            Cell(MISSING if reference.runs is None else str(reference.runs)),
            Cell(reference.protocol),
            Cell(reference.source),
        )
        for game in games
        for reference in game.references
    )
    return Table("Published scores", columns, rows)


def _scores_row(
    scores: VariantScores, game: Game, scale: Scale | None, digits: int, colours: Colours
) -> tuple[Cell, ...]:
    colour = colours[scores.variant]
    seeds = counted(len(scores.runs), "seed")
    picture = ""
    if scores.runs and scale is not None:
        finals = listed([number(run.final, digits) for run in scores.runs])
        picture = seed_dots(scores, scale, colour, f"{seeds} with final returns {finals}")
    plain = cost_baseline(scores, game)
    return (
        Cell(scores.variant.label, seeds, swatch=colour),
        Cell("" if picture else MISSING, picture=picture),
        _interval(scores.final, digits),
        _interval(scores.area, digits),
        Cell(number(scores.mean_evaluation, digits)),
        Cell(number(scores.best_evaluation, digits)),
        *_cost_cells(scores.cost, None if plain is None else plain.cost),
    )


def _cost_cells(cost: Cost | None, plain: Cost | None) -> Iterator[Cell]:
    """Yield a cell per time, with its ratio to the plain network's."""
    for name, most_digits in (("act_ms", 3), ("update_ms", 3), ("steps_per_s", 0)):
        value = math.nan if cost is None else getattr(cost, name)
        ratio = math.nan if plain is None else value / getattr(plain, name)
        digits = min(most_digits, decimals([value], significant=3))
        yield Cell(number(value, digits), "" if math.isnan(ratio) else f"×{ratio:.2f}")


def _aggregate_row(variant: VariantAggregate, atari_5: bool, colours: Colours) -> tuple[Cell, ...]:
    return (
        Cell(variant.variant.label, swatch=colours[variant.variant]),
        _interval(variant.iqm, NORMALIZED_DIGITS),
        _coverage(variant.iqm_coverage),
        _interval(variant.median, NORMALIZED_DIGITS),
        _interval(variant.mean, NORMALIZED_DIGITS),
        _interval(variant.optimality_gap, NORMALIZED_DIGITS),
        _coverage(variant.optimality_gap_coverage),
        *([_interval(variant.atari_5, NORMALIZED_DIGITS)] if atari_5 else []),
    )


def _interval(interval: Interval | None, digits: int) -> Cell:
    if interval is None:
        return Cell(MISSING)
    note = ends(interval.low, interval.high, digits) or "no interval"
    return Cell(number(interval.value, digits), note)


def _coverage(coverage: Coverage) -> Cell:
    if math.isnan(coverage.share):
        return Cell(MISSING)
    return Cell(f"{coverage.share:.0%}", f"± {coverage.standard_error:.1%}")
