"""What every picture of a comparison has in common: widths, and what its small print says."""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from wnrl.report.comparison import Comparison, Game, Scored
from wnrl.report.figures.labels import PITCH_PT
from wnrl.report.figures.style import LABEL_PT
from wnrl.report.figures.text import width_in
from wnrl.report.number_format import counted

_WIDEST = 0.34  # of a panel, that labels at the ends of lines may take
_HIGHEST = 0.7  # of the axes

T = TypeVar("T")


class Layout(NamedTuple):
    """Where a picture is looked at."""

    single_in: float  # width of a picture with one column
    full_in: float  # width of a picture with several
    columns: int  # panels in a row, at most
    axes_in: float  # height of a panel that stands alone

    def width_in(self, columns: int) -> float:
        """Width of a picture with this many columns."""
        return self.single_in if columns == 1 else self.full_in

    def panel_in(self, columns: int) -> float:
        """Width that is left for a panel beside others."""
        return self.width_in(columns) / columns - 0.2

    def columns_of(self, panels: int) -> int:
        """Columns for this many panels."""
        return max(1, min(self.columns, panels))

    def height_in(self, columns: int) -> float:
        """Height of a panel's axes in a picture with this many columns."""
        return self.axes_in if columns == 1 else 0.55 * self.axes_in


WIDE = Layout(single_in=7.6, full_in=9.6, columns=3, axes_in=3.3)
NARROW = Layout(single_in=3.7, full_in=3.7, columns=1, axes_in=2.2)


def in_rows(panels: Sequence[T], columns: int) -> tuple[tuple[T | None, ...], ...]:
    """Panels in rows of one length; what is left of the last one stays empty."""
    cells: list[T | None] = [*panels, *[None] * (-len(panels) % columns)]
    return tuple(tuple(cells[i : i + columns]) for i in range(0, len(cells), columns))


def direct(labels: Sequence[str], *, panel_in: float, axes_in: float) -> bool:
    """Whether lines can be labelled at their ends; where there are too many a key explains them.

    Args:
        labels: of the lines.
        panel_in: width of the panel with what stands beside its axes.
        axes_in: height of the axes.
    """
    widest = max((width_in(label, LABEL_PT) for label in labels), default=0.0)
    return len(labels) * PITCH_PT / 72 <= _HIGHEST * axes_in and widest <= _WIDEST * panel_in


def seeds_text(scored: Sequence[Scored]) -> str:
    """`5 seeds`, or `3 to 5 seeds` where variants have different numbers of them."""
    counts = [len(each.runs) for each in scored]
    low, high = min(counts, default=0), max(counts, default=0)
    return counted(high, "seed") if low == high else f"{low} to {high} seeds"


def shared_verdict(games: Sequence[Game]) -> str:
    """The verdict that holds of all games; empty where they have different ones."""
    verdicts = {game.verdict for game in games}
    return verdicts.pop() if len(verdicts) == 1 else ""


def frames_text(games: Sequence[Game]) -> str:
    """What an agent step is in these games."""
    if any(game.protocol != "-" for game in games):
        return "Atari: 1 agent step = 4 emulator frames."
    return "Not Atari: there is no protocol."


def facts_text(comparison: Comparison) -> str:
    """What the comparison is of, with commits cut to seven digits; `-` says that there is none."""
    facts = {
        name: re.sub(r"\b([0-9a-f]{7})[0-9a-f]{33}\b", r"\1", value)
        for name, value in comparison.facts.items()
    }
    return " · ".join(f"{name}: {value}" for name, value in facts.items() if value != "-")
