"""Composition of a figure: title, warning, key, rows of panels, small print.

The height follows from the text. Lengths are inches, measured from the top left corner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wnrl.report.figures.style import (
    INK,
    LABEL_PT,
    MUTED,
    PANEL_PT,
    SMALL_PT,
    TITLE_PT,
    WARNING,
    Look,
)
from wnrl.report.figures.text import width_in, wrap

_MARGIN_IN = 0.12
_GAP_IN = 0.12  # between blocks, rows and neighbouring panels
_TICKS_IN = 0.42  # below the axes: tick labels and the axis label
_SAMPLE_IN = 0.48  # a line in the key, long enough to show its dashes
_KEY_GAP_IN = 0.09  # between a line in the key and its label
_LEADING = 1.35  # from one baseline to the next, in font sizes


@dataclass(frozen=True)
class Panel:
    """Axes and the text around them."""

    title: str
    notes: tuple[str, ...]  # small type below the title
    warning: str  # says that its seeds are too few; may be empty
    draw: Callable[[Axes], None]  # called with axes of their final size
    height_in: float  # height of the axes
    left_in: float  # space left of the axes, for tick labels
    right_in: float  # space right of the axes, for labels of lines


@dataclass(frozen=True)
class KeyEntry:
    """An entry of the key."""

    label: str
    look: Look


@dataclass(frozen=True)
class Sheet:
    """A whole figure."""

    title: str
    warning: str  # says that the seeds of all panels are too few; may be empty
    key: tuple[KeyEntry, ...]
    rows: tuple[tuple[Panel | None, ...], ...]  # panels of equal width; None leaves a gap
    small_print: tuple[str, ...]
    width_in: float


class _Font(NamedTuple):
    """Appearance of a piece of text."""

    size_pt: float
    bold: bool = False
    color: str = INK
    alpha: float | None = None


_TITLE = _Font(TITLE_PT, bold=True)
_WARNING = _Font(PANEL_PT, bold=True, color=WARNING)
_PANEL_TITLE = _Font(PANEL_PT, bold=True)
_PANEL_WARNING = _Font(LABEL_PT, bold=True, color=WARNING)
_SMALL = _Font(SMALL_PT, alpha=MUTED)


class _TextLine(NamedTuple):
    """A line of text and the position of its top left corner."""

    text: str
    x: float
    y: float
    font: _Font


class _Box(NamedTuple):
    """The axes of a panel."""

    panel: Panel
    x: float
    y: float
    width: float


def compose(sheet: Sheet) -> Figure:
    """Draw a figure of the necessary height; call it inside `style.drawing`."""
    width = sheet.width_in
    inner = width - 2 * _MARGIN_IN
    lines: list[_TextLine] = []
    y = _write(lines, sheet.title, _TITLE, _MARGIN_IN, _MARGIN_IN, inner)
    y = _write(lines, sheet.warning, _WARNING, _MARGIN_IN, y, inner)
    key, y = _place_key(sheet.key, y + 0.03, inner)
    boxes: list[_Box] = []
    for row in sheet.rows:
        y = _place_row(row, lines, boxes, y + _GAP_IN, inner)
    y += _GAP_IN
    for text in sheet.small_print:
        y = _write(lines, text, _SMALL, _MARGIN_IN, y, inner)
    height = y + _MARGIN_IN
    figure = Figure(figsize=(width, height), facecolor="white")
    for line in lines:
        _draw_text(figure, line)
    for entry, x, top in key:
        _draw_key(figure, entry, x, top)
    for panel, x, top, axes_width in boxes:
        box = (x, height - top - panel.height_in, axes_width, panel.height_in)
        panel.draw(figure.add_axes(tuple(np.divide(box, (width, height, width, height)))))
    return figure


def _place_row(
    row: Sequence[Panel | None], lines: list[_TextLine], boxes: list[_Box], y: float, inner: float
) -> float:
    """Append the text and axes of a row of panels, and return the row's bottom."""
    share = (inner - (len(row) - 1) * _GAP_IN) / len(row)
    cells = [
        (panel, _MARGIN_IN + column * (share + _GAP_IN))
        for column, panel in enumerate(row)
        if panel is not None
    ]
    axes_top = 0.06 + max(_write_head(lines, panel, x, y, share) for panel, x in cells)
    for panel, x in cells:
        axes_width = share - panel.left_in - panel.right_in
        boxes.append(_Box(panel, x + panel.left_in, axes_top, axes_width))
    return axes_top + max(panel.height_in for panel, _ in cells) + _TICKS_IN


def _write(
    lines: list[_TextLine], text: str, font: _Font, x: float, y: float, width: float
) -> float:
    """Append text, wrapped to this width, and return its bottom."""
    for part in wrap(text, width, font.size_pt, bold=font.bold):
        lines.append(_TextLine(part, x, y, font))
        y += font.size_pt * _LEADING / 72
    return y


def _draw_text(figure: Figure, line: _TextLine) -> None:
    width, height = figure.get_size_inches()
    font = line.font
    figure.text(
        line.x / width,
        1 - (line.y + font.size_pt / 72) / height,
        line.text,
        va="baseline",
        fontsize=font.size_pt,
        fontweight="bold" if font.bold else "normal",
        color=font.color,
        alpha=font.alpha,
    )


def _write_head(lines: list[_TextLine], panel: Panel, x: float, y: float, width: float) -> float:
    """Append the text above a panel's axes, and return its bottom."""
    y = _write(lines, panel.title, _PANEL_TITLE, x, y, width)
    y = _write(lines, panel.warning, _PANEL_WARNING, x, y, width)
    for note in panel.notes:
        y = _write(lines, note, _SMALL, x, y, width)
    return y


def _place_key(
    entries: Sequence[KeyEntry], y: float, width: float
) -> tuple[list[tuple[KeyEntry, float, float]], float]:
    """Return the left end and top of each entry, wrapped into lines, and the bottom of the key."""
    placed = []
    x = 0.0
    for entry in entries:
        needed = _SAMPLE_IN + _KEY_GAP_IN + width_in(entry.label, LABEL_PT)
        if x > 0 and x + needed > width:
            x, y = 0.0, y + LABEL_PT * 1.5 / 72
        placed.append((entry, _MARGIN_IN + x, y))
        x += needed + 0.22
    return placed, y + LABEL_PT * 1.5 / 72 if placed else y


def _draw_key(figure: Figure, entry: KeyEntry, x: float, top: float) -> None:
    width, height = figure.get_size_inches()
    middle = 1 - (top + LABEL_PT * 0.6 / 72) / height
    figure.add_artist(
        Line2D(
            [x / width, (x + _SAMPLE_IN) / width],
            [middle, middle],
            color=entry.look.color,
            linestyle=entry.look.dashes,
            linewidth=1.6,
            marker=entry.look.marker,
            markersize=4.5,
            markevery=[1],  # at the line's end, as in the panels
        )
    )
    figure.text(
        (x + _SAMPLE_IN + _KEY_GAP_IN) / width,
        middle,
        entry.label,
        va="center_baseline",
        fontsize=LABEL_PT,
    )
