"""Tables of the report page as plain cells; report.html decides how they look."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from wnrl.report.comparison import (
    Aggregate,
    Comparison,
    Contrast,
    Game,
    OverallContrast,
    Sensitivity,
    Variant,
    VariantAggregate,
    VariantScores,
    cost_baseline,
    has_cost,
    total_counts,
)
from wnrl.report.number_format import (
    MISSING,
    compact,
    counted,
    decimals,
    difference,
    ends,
    justified_digits,
    listed,
    number,
    p_value,
)
from wnrl.report.seed_dots import Scale, scale_of, seed_dots
from wnrl.report.verdicts.sensitivity_text import (
    HOW_TO_READ,
    HOW_TO_READ_NORMS,
    NORM_COLUMNS,
    RANGE_COLUMNS,
    norm_row,
    range_row,
)
from wnrl.report.verdicts.sentences import VERDICT_WORDS, runs_text
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
    axis = scale and f"{compact(scale.low)} to {compact(scale.high)}"
    columns: tuple[Column, ...] = (
        Column("Variant", words=True),
        Column("Final return by seed", axis or "", words=True),
        Column("Final return", "95% interval"),
        Column("Area", "95% interval"),
        Column("Evaluations", "mean"),
        Column("Evaluations", "maximum"),
    )
    rows = [_scores_row(scores, scale, colours) for scores in game.variants]
    if has_cost(game):
        columns += (Column("Act", "ms"), Column("Update", "ms"), Column("Speed", "agent steps/s"))
        costs = (_cost_cells(scores, game) for scores in game.variants)
        rows = [(*row, *cost) for row, cost in zip(rows, costs, strict=True)]
    return Table(f"Scores in {game.env}", columns, tuple(rows))


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
    rows = tuple(
        (
            Cell(f"{scores.variant.label}, seed {run.config.run.seed}"),
            Cell(number(run.final, _digits(scores.final))),
            Cell(number(run.area, _digits(scores.area))),
            Cell(number(run.best_evaluation, _digits(scores.final))),
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


def verdicts_table(comparison: Comparison, colours: Colours) -> Table:
    """Return a row for each verdict that a reader needs at once.

    They are those over all games, or if there are none those of each game.
    """
    runs = Column("Runs", "finished of planned", words=True)
    variant = Column("Variant", "compared with", words=True)
    aggregate = comparison.aggregate
    if aggregate is None or not aggregate.contrasts:
        difference = Column("Difference of final return", "95% interval")
        rows = tuple(_verdict_row(x, colours) for x in comparison.contrasts)
        return Table("Verdicts", (variant, Column("Verdict", words=True), difference, runs), rows)
    together = f"{len(aggregate.games)} games together"
    columns = (
        variant,
        Column("Verdict", together, words=True),
        Column("Difference", "of interquartile means, 95%"),
        Column("In each game", words=True),
        runs,
    )
    rows = tuple(_overall_row(x, comparison, colours) for x in aggregate.contrasts)
    return Table("Verdicts", columns, rows)


def _verdict_row(contrast: Contrast, colours: Colours) -> tuple[Cell, ...]:
    return (
        Cell(contrast.variant.label, contrast.baseline.label, swatch=colours[contrast.variant]),
        Cell(VERDICT_WORDS[contrast.verdict], contrast.env),
        _difference_cell(contrast.difference),
        Cell(runs_text(contrast.counts), f"against {runs_text(contrast.baseline_counts)}"),
    )


def _overall_row(
    contrast: OverallContrast, comparison: Comparison, colours: Colours
) -> tuple[Cell, ...]:
    pair = contrast.variant, contrast.baseline
    of_pair = [x for x in comparison.contrasts if (x.variant, x.baseline) == pair]
    games = {
        words: [x.env for x in of_pair if x.verdict is verdict]
        for verdict, words in VERDICT_WORDS.items()
    }
    each = "; ".join(f"{words}: {listed(envs)}" for words, envs in games.items() if envs)
    counts = total_counts(x.counts for x in of_pair)
    against = total_counts(x.baseline_counts for x in of_pair)
    return (
        Cell(contrast.variant.label, contrast.baseline.label, swatch=colours[contrast.variant]),
        Cell(VERDICT_WORDS[contrast.verdict]),
        _difference_cell(contrast.iqm),
        Cell(each),
        Cell(runs_text(counts), f"against {runs_text(against)}"),
    )


def contrasts_table(contrasts: Sequence[Contrast], name: str, colours: Colours) -> Table:
    """Return a row with all numbers of each contrast."""
    columns = (
        Column("Variant", "compared with", words=True),
        Column("Game", words=True),
        Column("Difference", "95% interval"),
        Column("Simultaneous", "95% interval"),
        Column("Hedges’ g", "95% interval"),
        Column("p", "adjusted"),
        Column("Margin"),
        Column("Detectable", "80% power"),
        Column("Seeds needed", "80% power"),
    )
    rows = tuple(
        (
            Cell(x.variant.label, x.baseline.label, swatch=colours[x.variant]),
            Cell(x.env, VERDICT_WORDS[x.verdict]),
            _difference_cell(x.difference),
            _ends_cell(x.simultaneous),
            _difference_cell(x.effect),
            Cell(p_value(x.p), f"of {x.family}"),
            Cell(MISSING if math.isnan(x.margin) else compact(x.margin, significant=2)),
            Cell(MISSING if math.isnan(x.detectable) else compact(x.detectable, significant=2)),
            Cell(MISSING if x.seeds_needed is None else f"{x.seeds_needed:,}"),
        )
        for x in contrasts
    )
    return Table(name, columns, rows)


def overall_table(aggregate: Aggregate, colours: Colours) -> Table:
    """Return a row for each contrast over all games."""
    columns = (
        Column("Variant", "compared with", words=True),
        Column("Verdict", words=True),
        Column("Interquartile mean", "difference, simultaneous 95%"),
        Column("Optimality gap", "difference, simultaneous 95%"),
        Column("Probability of improvement", "simultaneous 95%"),
    )
    rows = tuple(
        (
            Cell(x.variant.label, x.baseline.label, swatch=colours[x.variant]),
            Cell(VERDICT_WORDS[x.verdict]),
            _difference_cell(x.iqm),
            _difference_cell(x.optimality_gap),
            _interval(x.improvement),
        )
        for x in aggregate.contrasts
    )
    return Table("Differences over all games", columns, rows)


def sensitivity_tables(found: Sensitivity) -> list[tuple[Table, str]]:
    """Return the tables of sensitivity to swept settings, each with how to read it."""
    tables = []
    if found.ranges:
        columns = tuple(Column(name.capitalize(), words=True) for name in RANGE_COLUMNS)
        rows = tuple(tuple(map(Cell, range_row(x))) for x in found.ranges)
        tables.append((Table("Ranges of good values", columns, rows), HOW_TO_READ))
    if found.norms:
        columns = tuple(Column(name.capitalize(), words=True) for name in NORM_COLUMNS)
        rows = tuple(tuple(map(Cell, norm_row(x))) for x in found.norms)
        name = f"Sensitivity over {listed(found.games)}"
        tables.append((Table(name, columns, rows), HOW_TO_READ_NORMS))
    return tables


def _difference_cell(interval: Interval) -> Cell:
    text, space, tail = difference(interval.value, interval.low, interval.high).partition(" ")
    return Cell(text, tail if space else "no interval")


def _ends_cell(interval: Interval) -> Cell:
    _, space, tail = difference(interval.value, interval.low, interval.high).partition(" ")
    return Cell(tail if space else MISSING)


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


def _scores_row(scores: VariantScores, scale: Scale | None, colours: Colours) -> tuple[Cell, ...]:
    digits = _digits(scores.final)
    colour = colours[scores.variant]
    counts = scores.counts
    seeds = counted(counts.finished, "seed")
    if counts.finished < counts.asked:
        seeds = runs_text(counts)
    picture = ""
    if scores.runs and scale is not None:
        finals = listed([number(run.final, digits) for run in scores.runs])
        picture = seed_dots(scores, scale, colour, f"{seeds} with final returns {finals}")
    return (
        Cell(scores.variant.label, seeds, swatch=colour),
        Cell("" if picture else MISSING, picture=picture),
        _interval(scores.final),
        _interval(scores.area),
        Cell(number(scores.mean_evaluation, digits)),
        Cell(number(scores.best_evaluation, digits)),
    )


def _cost_cells(scores: VariantScores, game: Game) -> Iterator[Cell]:
    """Yield a cell per time, with its ratio to the plain network's."""
    baseline = cost_baseline(scores, game)
    cost, plain = scores.cost, None if baseline is None else baseline.cost
    for name, most_digits in (("act_ms", 3), ("update_ms", 3), ("steps_per_s", 0)):
        value = math.nan if cost is None else getattr(cost, name)
        ratio = math.nan if plain is None else value / getattr(plain, name)
        digits = min(most_digits, decimals([value], significant=3))
        yield Cell(number(value, digits), "" if math.isnan(ratio) else f"×{ratio:.2f}")


def _aggregate_row(variant: VariantAggregate, atari_5: bool, colours: Colours) -> tuple[Cell, ...]:
    return (
        Cell(variant.variant.label, swatch=colours[variant.variant]),
        _interval(variant.iqm),
        _coverage(variant.iqm_coverage),
        _interval(variant.median),
        _interval(variant.mean),
        _interval(variant.optimality_gap),
        _coverage(variant.optimality_gap_coverage),
        *([_interval(variant.atari_5)] if atari_5 else []),
    )


def _digits(interval: Interval | None) -> int:
    """Return the decimals of a variant's scores; 0 without any."""
    if interval is None:
        return 0
    if not interval.bounded:
        return decimals([interval.value], significant=3)
    return justified_digits(interval.low, interval.high, interval.value)


def _interval(interval: Interval | None) -> Cell:
    if interval is None:
        return Cell(MISSING)
    digits = _digits(interval)
    note = ends(interval.low, interval.high, digits) or "no interval"
    return Cell(number(interval.value, digits), note)


def _coverage(coverage: Coverage) -> Cell:
    if math.isnan(coverage.share):
        return Cell(MISSING)
    return Cell(f"{coverage.share:.0%}", f"± {coverage.standard_error:.1%}")
