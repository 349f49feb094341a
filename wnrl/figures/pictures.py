"""Which pictures a comparison has, and what they show in words."""

from typing import NamedTuple

from matplotlib.figure import Figure

from wnrl.comparison import Aggregate, Comparison, Game
from wnrl.figures.aggregates import aggregates_sheet
from wnrl.figures.curves import curves_sheet
from wnrl.figures.layout import Layout
from wnrl.figures.sheet import Sheet, compose
from wnrl.figures.sweep import numeric_settings, range_sheet
from wnrl.figures.text import number
from wnrl.intervals import Interval

_CURVES = "Mean raw return while training, with 95% intervals over seeds."
_RANGE = "Mean final return by value, with 95% intervals over seeds: a plateau is easy to tune."
_AGGREGATES = "Human-normalized final returns over all games, with 95% bootstrap intervals."


class Picture(NamedTuple):
    """A picture before it is drawn."""

    stem: str  # of its files
    sheet: Sheet
    width_in: float
    caption: str
    alt: str

    @property
    def title(self) -> str:
        return self.sheet.title

    def draw(self) -> Figure:
        """Draw it; inside `style.drawing`."""
        return compose(self.sheet, self.width_in)


def pictures(comparison: Comparison, layout: Layout, *, each_game: bool) -> list[Picture]:
    """The pictures of a comparison.

    Args:
        comparison: what they are of.
        layout: where they are looked at.
        each_game: whether, where there are several games, each has a picture of its own, too.
    """
    games = comparison.games
    found: list[tuple[str, Sheet, str, str]] = []
    if games:
        sheet = curves_sheet(comparison, games, layout, aggregated=True)
        found.append(("curves", sheet, _CURVES, _curves_alt(comparison, games)))
    if each_game and len(games) > 1:
        for game in games:
            sheet = curves_sheet(comparison, [game], layout, aggregated=False)
            stem = f"curves-{_file_name(game.env)}"
            found.append((stem, sheet, _CURVES, _curves_alt(comparison, (game,))))
    for setting in numeric_settings(comparison):
        sheet = range_sheet(comparison, setting, layout)
        alt = f"Final return of {comparison.agent} against {setting}, in {_names(games)}."
        found.append((f"range-{_file_name(setting)}", sheet, _RANGE, alt))
    if comparison.aggregate is not None:
        sheet = aggregates_sheet(comparison, comparison.aggregate, layout)
        found.append(("aggregates", sheet, _AGGREGATES, _aggregates_alt(comparison.aggregate)))
    return [
        Picture(
            stem=stem,
            sheet=sheet,
            width_in=layout.width_in(len(sheet.rows[0])),
            caption=f"{what} {sheet.warning}".strip(),
            alt=alt,
        )
        for stem, sheet, what, alt in found
    ]


def _aggregates_alt(aggregate: Aggregate) -> str:
    values = [f"{total.variant.label} {number(total.iqm.value)}" for total in aggregate.totals]
    return f"Aggregates over {len(aggregate.games)} games. IQM: {', '.join(values)}."


def _curves_alt(comparison: Comparison, games: tuple[Game, ...]) -> str:
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
        return number(interval.mean)
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def _names(games: tuple[Game, ...]) -> str:
    return ", ".join(game.env for game in games)


def _file_name(name: str) -> str:
    """As run folders are named."""
    return name.replace("/", "-").replace(":", "-")
