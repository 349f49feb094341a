"""A picture's page: title, verdict, key, panels in rows, small print. Sizes follow from the text.

Nothing here knows what a comparison is. All lengths are inches, from the top left corner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
_TICKS_IN = 0.42  # below the axes: tick labels and the axis' name
_SAMPLE_IN = 0.48  # a line in the key, long enough to tell its dashes
_KEY_GAP_IN = 0.09  # between a line in the key and its label
_LEADING = 1.35  # from one baseline to the next, in font sizes


@dataclass(frozen=True)
class Panel:
    """Axes with what stands around them."""

    title: str
    notes: tuple[str, ...]  # in small type below the title
    warning: str  # what cannot be concluded from it; may be empty
    draw: Callable[[Axes], None]  # the axes have their final size
    height_in: float  # of the axes
    left_in: float  # beside the axes, for tick labels
    right_in: float  # beside the axes, for labels of lines


@dataclass(frozen=True)
class KeyEntry:
    """A line of the key."""

    label: str
    look: Look


@dataclass(frozen=True)
class Sheet:
    """A whole picture."""

    title: str
    warning: str  # what cannot be concluded from any panel; may be empty
    key: tuple[KeyEntry, ...]
    rows: tuple[tuple[Panel | None, ...], ...]  # which share the width evenly; None is left empty
    small_print: tuple[str, ...]
    width_in: float


@dataclass(frozen=True)
class _Line:
    """A line of text in its place; y is that of its top."""

    text: str
    x: float
    y: float
    size_pt: float
    bold: bool = False
    color: str = INK
    alpha: float | None = None


def compose(sheet: Sheet) -> Figure:
    """Draw a picture, as high as it has to be; inside `style.drawing`."""
    width = sheet.width_in
    inner = width - 2 * _MARGIN_IN
    lines: list[_Line] = []
    y = _MARGIN_IN
    y = _write(lines, sheet.title, _MARGIN_IN, y, inner, TITLE_PT, bold=True)
    y = _write(lines, sheet.warning, _MARGIN_IN, y, inner, PANEL_PT, bold=True, color=WARNING)
    key, y = _place_key(sheet.key, y + 0.03, inner)
    boxes: list[tuple[Panel, float, float, float]] = []  # with left, top and width of the axes
    for row in sheet.rows:
        share = (inner - (len(row) - 1) * _GAP_IN) / len(row)
        top = y + _GAP_IN
        cells = [
            (panel, _MARGIN_IN + column * (share + _GAP_IN))
            for column, panel in enumerate(row)
            if panel is not None
        ]
        axes_top = 0.06 + max(_write_head(lines, panel, x, top, share) for panel, x in cells)
        for panel, x in cells:
            axes_width = share - panel.left_in - panel.right_in
            boxes.append((panel, x + panel.left_in, axes_top, axes_width))
        y = axes_top + max(panel.height_in for panel, _ in cells) + _TICKS_IN
    y += _GAP_IN
    for text in sheet.small_print:
        y = _write(lines, text, _MARGIN_IN, y, inner, SMALL_PT, alpha=MUTED)
    height = y + _MARGIN_IN
    figure = Figure(figsize=(width, height), facecolor="white")
    for line in lines:
        _draw_line(figure, line)
    for entry, x, top in key:
        _draw_key(figure, entry, x, top)
    for panel, x, top, axes_width in boxes:
        box = (x, height - top - panel.height_in, axes_width, panel.height_in)
        panel.draw(figure.add_axes(tuple(np.divide(box, (width, height, width, height)))))
    return figure


def _write(
    lines: list[_Line],
    text: str,
    x: float,
    y: float,
    width: float,
    size_pt: float,
    *,
    bold: bool = False,
    color: str = INK,
    alpha: float | None = None,
) -> float:
    """Append text, broken to this width, and return where it ends."""
    for part in wrap(text, width, size_pt, bold=bold):
        lines.append(_Line(part, x, y, size_pt, bold, color, alpha))
        y += size_pt * _LEADING / 72
    return y


def _draw_line(figure: Figure, line: _Line) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        line.x / width,
        1 - (line.y + line.size_pt / 72) / height,
        line.text,
        va="baseline",
        fontsize=line.size_pt,
        fontweight="bold" if line.bold else "normal",
        color=line.color,
        alpha=line.alpha,
    )


def _write_head(lines: list[_Line], panel: Panel, x: float, y: float, width: float) -> float:
    """Append what stands above a panel's axes, and return where it ends."""
    y = _write(lines, panel.title, x, y, width, PANEL_PT, bold=True)
    y = _write(lines, panel.warning, x, y, width, LABEL_PT, bold=True, color=WARNING)
    for note in panel.notes:
        y = _write(lines, note, x, y, width, SMALL_PT, alpha=MUTED)
    return y


def _place_key(
    entries: Sequence[KeyEntry], y: float, width: float
) -> tuple[list[tuple[KeyEntry, float, float]], float]:
    """Left end and top of each entry, as many to a line as fit, and where the key ends."""
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
            markevery=[1],  # at its end, as in the panels
        )
    )
    figure.text(
        (x + _SAMPLE_IN + _KEY_GAP_IN) / width,
        middle,
        entry.label,
        va="center_baseline",
        fontsize=LABEL_PT,
    )
