"""Sizes and texts that the figures of a comparison share."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from wnrl.report.comparison import Comparison, Game
from wnrl.report.figures.end_labels import PITCH_PT
from wnrl.report.figures.style import LABEL_PT
from wnrl.report.figures.text import width_in
from wnrl.report.number_format import counted
from wnrl.report.sentences import game_warning, without_an_episode

_WIDEST = 0.34  # share of a panel's width that labels at the ends of lines may take
_HIGHEST = 0.7  # share of the axes' height that they may take

T = TypeVar("T")


class Layout(NamedTuple):
    """The medium that a figure is drawn for."""

    single_in: float  # width of a figure with one column
    full_in: float  # width of a figure with several columns
    columns: int  # most panels in a row
    axes_in: float  # height of a single panel's axes

    def width_in(self, columns: int) -> float:
        """Return the width of a figure with this many columns."""
        return self.single_in if columns == 1 else self.full_in

    def panel_in(self, columns: int) -> float:
        """Return the width of a panel in a row of this many."""
        return self.width_in(columns) / columns - 0.2

    def columns_of(self, panels: int) -> int:
        """Return the number of columns for this many panels."""
        return max(1, min(self.columns, panels))

    def height_in(self, columns: int) -> float:
        """Return the height of a panel's axes in a figure with this many columns."""
        return self.axes_in if columns == 1 else 0.55 * self.axes_in


WIDE = Layout(single_in=7.6, full_in=9.6, columns=3, axes_in=3.3)
NARROW = Layout(single_in=3.7, full_in=3.7, columns=1, axes_in=2.2)


def in_rows(panels: Sequence[T], columns: int) -> tuple[tuple[T | None, ...], ...]:
    """Return panels in rows of equal length; the last row is filled with None."""
    cells: list[T | None] = [*panels, *[None] * (-len(panels) % columns)]
    return tuple(tuple(cells[i : i + columns]) for i in range(0, len(cells), columns))


def fit_at_line_ends(labels: Sequence[str], *, panel_in: float, axes_in: float) -> bool:
    """Return whether lines can be labelled at their ends; otherwise the figure needs a key.

    Args:
        labels: one per line.
        panel_in: width of the panel, including the space around its axes.
        axes_in: height of the axes.
    """
    widest = max((width_in(label, LABEL_PT) for label in labels), default=0.0)
    return len(labels) * PITCH_PT / 72 <= _HIGHEST * axes_in and widest <= _WIDEST * panel_in


def game_notes(game: Game, quantity: str) -> list[str]:
    """Return the small type above a game's panel: what is drawn, and which variants are missing."""
    protocol = [] if game.protocol == "-" else [game.protocol]
    silent = without_an_episode(game)
    labels = [scores.variant.label for scores in game.variants if not scores.runs]
    missing = [label for label in labels if label not in silent]
    return [
        " · ".join([quantity, *protocol, *_seeds_text(game)]),
        *([f"no finished run: {', '.join(missing)}"] if missing else []),
        *([f"no episode ended: {', '.join(silent)}"] if silent else []),
    ]


def shared_warning(games: Sequence[Game]) -> str:
    """Return the warning about few seeds that applies to all games; empty if games differ."""
    warnings = {game_warning(game) for game in games}
    return warnings.pop() if len(warnings) == 1 else ""


def panel_warning(warning: str, shared: str) -> str:
    """Return a panel's warning about few seeds; empty if the whole figure has the same."""
    return "" if warning == shared else warning


def frames_text(games: Sequence[Game]) -> str:
    """Return what an agent step is in these games."""
    frames = {game.frame_skip for game in games if game.protocol != "-"}
    if not frames:
        return "Not Atari, so no protocol applies."
    if len(frames) > 1 or 0 in frames:
        return "Atari: runs differ in the emulator frames of an agent step."
    return f"Atari: 1 agent step = {counted(frames.pop(), 'emulator frame')}."


def facts_text(comparison: Comparison) -> str:
    """Return the known facts but the command, with commits cut to seven digits."""
    facts = {
        name: re.sub(r"\b([0-9a-f]{7})[0-9a-f]{33}\b", r"\1", value)
        for name, value in comparison.facts.items()
    }
    shown = {name: text for name, text in facts.items() if text != "-" and name != "command"}
    return " · ".join(f"{name}: {text}" for name, text in shown.items())


def _seeds_text(game: Game) -> Iterator[str]:
    """Yield `5 seeds`, or `3 to 5 seeds` if the variants with runs have different numbers."""
    counts = [len(scores.runs) for scores in game.variants if scores.runs]
    if counts:
        low, high = min(counts), max(counts)
        yield counted(high, "seed") if low == high else f"{low} to {high} seeds"
