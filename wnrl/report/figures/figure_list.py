"""List of a comparison's figures, with captions and text alternatives."""

from collections.abc import Sequence
from typing import NamedTuple

from wnrl._settings import flag_name
from wnrl.report.comparison import Aggregate, Comparison, Game
from wnrl.report.figures.aggregates import aggregates_sheet
from wnrl.report.figures.conditioning import conditioning_sheet, measured_games
from wnrl.report.figures.curves import curves_sheet
from wnrl.report.figures.differences import differences_sheet
from wnrl.report.figures.layout import Layout
from wnrl.report.figures.sheet import Sheet
from wnrl.report.figures.sweep import numeric_settings, range_sheet
from wnrl.report.number_format import compact, difference
from wnrl.stats.intervals import Interval

_CURVES = (
    "Raw return during training: the mean over seeds, with individual seeds as thin lines if there "
    "are fewer than ten. Shaded bands are 95% intervals; a single seed has none."
)
_RANGE = (
    "Final return against the value of the setting. The wider the plateau, the less tuning is "
    "needed."
)
_DIFFERENCES = (
    "Differences with 95% intervals: thick for each difference alone, thin simultaneous. Filled "
    "points are decided; grey is the margin."
)
_CONDITIONING = (
    "Condition of the Gauss-Newton matrix during training, where it was measured: largest over "
    "mean eigenvalue. A lower one is better conditioned."
)
_AGGREGATES = "Normalized final returns over all games, with 95% intervals."


class PlannedFigure(NamedTuple):
    """A figure before it is drawn."""

    stem: str  # file name without suffix
    sheet: Sheet
    caption: str
    alt: str


def figure_list(comparison: Comparison, layout: Layout, *, each_game: bool) -> list[PlannedFigure]:
    """Return the figures of a comparison.

    Args:
        comparison: what they show.
        layout: the medium that they are drawn for.
        each_game: add a figure for each game if there are several.
    """
    games = comparison.games
    figures: list[PlannedFigure] = []
    if comparison.contrasts:
        sheet = differences_sheet(comparison, layout)
        alt = _differences_alt(comparison)
        figures.append(PlannedFigure("differences", sheet, _DIFFERENCES, alt))
    if games:
        sheet = curves_sheet(comparison, games, layout, aggregated=True)
        figures.append(PlannedFigure("curves", sheet, _CURVES, _curves_alt(comparison, games)))
    if each_game and len(games) > 1:
        for game in games:
            stem = f"curves-{_file_name(game.env)}"
            sheet = curves_sheet(comparison, [game], layout, aggregated=False)
            figures.append(PlannedFigure(stem, sheet, _CURVES, _curves_alt(comparison, [game])))
    for setting in numeric_settings(comparison):
        stem = f"range-{_file_name(setting)}"
        sheet = range_sheet(comparison, setting, layout)
        name = flag_name(setting)
        alt = f"Final return of {comparison.title} against {name}."
        figures.append(PlannedFigure(stem, sheet, _RANGE, alt))
    if measured := measured_games(comparison):
        sheet = conditioning_sheet(comparison, layout)
        alt = f"Condition during training of {comparison.title_of(measured)}."
        figures.append(PlannedFigure("conditioning", sheet, _CONDITIONING, alt))
    if (aggregate := comparison.aggregate) is not None:
        sheet = aggregates_sheet(comparison, aggregate, layout)
        alt = _aggregates_alt(aggregate)
        figures.append(PlannedFigure("aggregates", sheet, _AGGREGATES, alt))
    return figures


def _differences_alt(comparison: Comparison) -> str:
    values = [
        f"{x.variant.label} against {x.baseline.label} in {x.env}: "
        f"{difference(x.difference.value, x.difference.low, x.difference.high)}"
        for x in comparison.contrasts
    ]
    return f"Differences of final return: {'; '.join(values)}."


def _aggregates_alt(aggregate: Aggregate) -> str:
    values = [f"{each.variant.label} {compact(each.iqm.value)}" for each in aggregate.variants]
    return f"Aggregates over {len(aggregate.games)} games. IQM: {', '.join(values)}."


def _curves_alt(comparison: Comparison, games: Sequence[Game]) -> str:
    start = f"Learning curves of {comparison.title_of(games)}"
    if len(games) > 1:
        return f"{start}."
    finals = [
        f"{scores.variant.label} {_interval(scores.final)}"
        for scores in games[0].variants
        if scores.final
    ]
    return f"{start}. Final return: {', '.join(finals) or 'none yet'}."


def _interval(interval: Interval) -> str:
    """Return `12.3 [10.1, 14.5]`."""
    value = compact(interval.value)
    if not interval.bounded:
        return value
    return f"{value} [{compact(interval.low)}, {compact(interval.high)}]"


def _file_name(name: str) -> str:
    """Return the name as run folders spell it."""
    return name.replace("/", "-").replace(":", "-")
