"""Which pictures a comparison has, and what they show in words."""

from collections.abc import Sequence
from typing import NamedTuple

from wnrl.report.comparison import Aggregate, Comparison, Game
from wnrl.report.figures.aggregates import aggregates_sheet
from wnrl.report.figures.curves import curves_sheet
from wnrl.report.figures.layout import Layout
from wnrl.report.figures.sheet import Sheet
from wnrl.report.figures.sweep import numeric_settings, range_sheet
from wnrl.report.number_format import compact
from wnrl.stats.intervals import Interval

_CURVES = "Raw return while training; shaded: the 95% interval, where there is more than one seed."
_RANGE = "Final return by value: the wider the plateau, the less there is to tune."
_AGGREGATES = "Final returns of all games together, human-normalized, with 95% intervals."


class Picture(NamedTuple):
    """A picture before it is drawn."""

    stem: str  # of its files
    sheet: Sheet
    caption: str
    alt: str


def pictures(comparison: Comparison, layout: Layout, *, each_game: bool) -> list[Picture]:
    """The pictures of a comparison.

    Args:
        comparison: what they are of.
        layout: where they are looked at.
        each_game: whether, where there are several games, each has a picture of its own, too.
    """
    games = comparison.games
    found: list[Picture] = []
    if games:
        sheet = curves_sheet(comparison, games, layout, aggregated=True)
        found.append(Picture("curves", sheet, _CURVES, _curves_alt(comparison, games)))
    if each_game and len(games) > 1:
        for game in games:
            stem = f"curves-{_file_name(game.env)}"
            sheet = curves_sheet(comparison, [game], layout, aggregated=False)
            found.append(Picture(stem, sheet, _CURVES, _curves_alt(comparison, [game])))
    for setting in numeric_settings(comparison):
        stem = f"range-{_file_name(setting)}"
        sheet = range_sheet(comparison, setting, layout)
        alt = f"Final return of {comparison.agent} against {setting}, in {_names(games)}."
        found.append(Picture(stem, sheet, _RANGE, alt))
    if (aggregate := comparison.aggregate) is not None:
        sheet = aggregates_sheet(comparison, aggregate, layout)
        found.append(Picture("aggregates", sheet, _AGGREGATES, _aggregates_alt(aggregate)))
    return found


def _aggregates_alt(aggregate: Aggregate) -> str:
    values = [f"{total.variant.label} {compact(total.iqm.value)}" for total in aggregate.totals]
    return f"Aggregates over {len(aggregate.games)} games. IQM: {', '.join(values)}."


def _curves_alt(comparison: Comparison, games: Sequence[Game]) -> str:
    start = f"Learning curves of {comparison.agent} in {_names(games)}"
    if len(games) > 1:
        return f"{start}."
    finals = [
        f"{each.variant.label} {_interval(each.final)}" for each in games[0].scored if each.final
    ]
    return f"{start}. Final return: {', '.join(finals) or 'none yet'}."


def _interval(interval: Interval) -> str:
    """`12.3 [10.1, 14.5]`; NaN compares unequal to itself."""
    if interval.low != interval.low:
        return compact(interval.mean)
    return f"{compact(interval.mean)} [{compact(interval.low)}, {compact(interval.high)}]"


def _names(games: Sequence[Game]) -> str:
    return ", ".join(game.env for game in games)


def _file_name(name: str) -> str:
    """As run folders are named."""
    return name.replace("/", "-").replace(":", "-")
