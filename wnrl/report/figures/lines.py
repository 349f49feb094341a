"""Lines with shaded intervals in one panel: learning curves and performance profiles.

Dimension key: K points of a line.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wnrl.report.comparison import Array
from wnrl.report.figures.labels import EndLabel, draw_end_labels
from wnrl.report.figures.style import INK, REFERENCE_DASHES, Look
from wnrl.report.figures.text import tick_format
from wnrl.report.number_format import compact

_BAND_ROOM = 0.75  # intervals may widen the axis by this share of what the lines span, on each side
_MARK_ROOM = 1.5  # and published scores by this share
_SAME = 0.005  # of the axis: lines that are nowhere further apart cover one another


class Line(NamedTuple):
    """A line and its band; NaN where there is none."""

    label: str
    look: Look
    x: Array  # (K,)
    y: Array  # (K,)
    low: Array  # (K,)
    high: Array  # (K,)

    @property
    def finite(self) -> bool:
        """Whether anything of it can be seen."""
        return bool(np.isfinite(self.y).any())


class Mark(NamedTuple):
    """A published score, and the letter by which the small print explains it."""

    letter: str
    score: float

    @property
    def label(self) -> str:
        return f"{self.letter} {compact(self.score)}"


def y_limits(lines: Sequence[Line], marks: Sequence[Mark] = ()) -> tuple[float, float]:
    """Limits that show all lines, and of intervals and marks what does not flatten the lines.

    The interval of two seeds can be a hundred times as wide as all the curves; such a band is cut
    at the edge of the panel. A mark that is too far away is named at that edge.
    """
    means = np.concatenate([line.y for line in lines])
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    span = high - low or max(1.0, 0.1 * abs(high))
    lows = np.concatenate([line.low for line in lines])
    highs = np.concatenate([line.high for line in lines])
    if np.isfinite(lows).any():
        low, high = (
            min(low, max(float(np.nanmin(lows)), low - _BAND_ROOM * span)),
            max(high, min(float(np.nanmax(highs)), high + _BAND_ROOM * span)),
        )
    near = [
        m.score for m in marks if low - _MARK_ROOM * span <= m.score <= high + _MARK_ROOM * span
    ]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.05 * (high - low or span)
    return low - pad, high + pad


def draw_lines(
    ax: Axes,
    lines: Sequence[Line],
    *,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    x_name: str,
    labelled: bool,
    marks: Sequence[Mark] = (),
) -> None:
    """Draw lines, bands and marks, and label them at the right.

    Args:
        ax: axes of their final size.
        lines: those with something to see.
        x_limits: ends of the x axis.
        y_limits: ends of the y axis.
        x_name: what the x axis is.
        labelled: whether lines are named at their ends; marks always are.
        marks: published scores.
    """
    ax.set_xlim(*x_limits)
    ax.set_ylim(*y_limits)
    dress(ax, x_name)
    for mark in marks:
        if y_limits[0] <= mark.score <= y_limits[1]:
            ax.axhline(mark.score, color=INK, alpha=0.6, linewidth=0.7, linestyle=REFERENCE_DASHES)
    band_alpha = min(0.16, 0.64 / max(1, len(lines)))  # many bands one over another stay clear
    labels = []
    span = y_limits[1] - y_limits[0]
    for i, line in enumerate(lines):
        shown = np.isfinite(line.y)
        below = sum(_coincide(line, other, _SAME * span) for other in lines[:i])
        thinner = 1 / (1 + below)  # so that what is below can be seen
        ax.fill_between(
            line.x, line.low, line.high, color=line.look.color, alpha=band_alpha, linewidth=0
        )
        ax.plot(
            line.x,
            line.y,
            color=line.look.color,
            linestyle=line.look.dashes,
            linewidth=1.6 * thinner,
        )
        last = int(np.flatnonzero(shown)[-1])
        x, y = float(line.x[last]), float(line.y[last])
        ax.plot(
            [x],
            [y],
            color=line.look.color,
            marker=line.look.marker,
            markersize=4.5 * thinner,
            clip_on=False,
        )
        if labelled:
            labels.append(EndLabel(line.label, x, y, line.look.color))
    for mark in sorted(marks, key=lambda mark: -mark.score):
        beyond = "↑" if mark.score > y_limits[1] else "↓" if mark.score < y_limits[0] else ""
        labels.append(EndLabel(mark.label + beyond, x_limits[1], mark.score, INK, muted=True))
    draw_end_labels(ax, labels)


def draw_nothing(ax: Axes) -> None:
    """Say that there is nothing to see."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, "nothing to draw yet", transform=ax.transAxes, ha="center", va="center")


def dress(ax: Axes, x_name: str) -> None:
    """Ticks, their units, grid lines and the name of the x axis; limits must be final."""
    ax.set_xlabel(x_name)
    ax.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
    ax.set_axisbelow(True)
    inches = ax.bbox.transformed(ax.figure.dpi_scale_trans.inverted())
    for axis, length, limits in (
        (ax.xaxis, inches.width / 0.75, ax.get_xlim()),
        (ax.yaxis, inches.height / 0.4, ax.get_ylim()),
    ):
        axis.set_major_locator(
            MaxNLocator(max(2, min(6, math.floor(length))), steps=[1, 2, 2.5, 5, 10])
        )
        axis.set_major_formatter(tick_format(max(map(abs, limits))))


def _coincide(line: Line, other: Line, distance: float) -> bool:
    """Whether one line covers the other."""
    return bool(
        np.array_equal(line.x, other.x)
        and np.array_equal(np.isnan(line.y), np.isnan(other.y))
        and np.nanmax(np.abs(line.y - other.y)) <= distance
    )
