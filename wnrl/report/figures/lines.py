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
from wnrl.report.figures.end_labels import EndLabel, draw_end_labels
from wnrl.report.figures.style import INK, REFERENCE_DASHES, Look
from wnrl.report.figures.text import tick_format
from wnrl.report.number_format import compact

_BAND_ROOM = 0.75  # most that intervals widen the axis on each side, as a share of the lines' span
_MARK_ROOM = 1.5  # most that published scores widen it
_SAME = 0.005  # lines closer than this share of the axis cover each other


class Line(NamedTuple):
    """A line and its band; NaN where there is none."""

    label: str
    look: Look
    x: Array  # (K,)
    y: Array  # (K,)
    low: Array  # (K,)
    high: Array  # (K,)
    seeds: tuple[Array, ...] = ()  # (K,) each: thin lines

    @property
    def finite(self) -> bool:
        """Return whether the line has a visible point."""
        return bool(np.isfinite(self.y).any())

    @property
    def end(self) -> tuple[float, float]:
        """The last visible point."""
        last = int(np.flatnonzero(np.isfinite(self.y))[-1])
        return float(self.x[last]), float(self.y[last])


class Mark(NamedTuple):
    """A score to compare with, and its name, which the small print explains."""

    name: str
    score: float

    @property
    def label(self) -> str:
        return f"{self.name} {compact(self.score)}"


def y_limits(lines: Sequence[Line], marks: Sequence[Mark] = ()) -> tuple[float, float]:
    """Return limits that show all lines, and intervals and marks unless these flatten the lines.

    The interval of two seeds can be a hundred times as wide as all curves; such a band is clipped
    at the panel's edge. A mark that is too far away is labelled at that edge.
    """
    means = np.concatenate([each for line in lines for each in (line.y, *line.seeds)])
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
    """Draw lines, bands and marks, and label them on the right.

    Args:
        ax: axes of their final size.
        lines: lines with at least one visible point.
        x_limits: ends of the x axis.
        y_limits: ends of the y axis.
        x_name: label of the x axis.
        labelled: label lines at their ends; marks are always labelled.
        marks: scores to compare with.
    """
    ax.set_xlim(*x_limits)
    ax.set_ylim(*y_limits)
    dress(ax, x_name)
    for mark in marks:
        if y_limits[0] <= mark.score <= y_limits[1]:
            ax.axhline(mark.score, color=INK, alpha=0.6, linewidth=0.7, linestyle=REFERENCE_DASHES)
    band_alpha = min(0.16, 0.64 / max(1, len(lines)))  # many overlapping bands stay light
    span = y_limits[1] - y_limits[0]
    for i, line in enumerate(lines):
        covered = sum(_coincide(line, other, _SAME * span) for other in lines[:i])
        _draw_line(ax, line, band_alpha, 1 / (1 + covered))  # thinner, to show covered lines
    labels = [EndLabel(x.label, *x.end, x.look.color) for x in lines] if labelled else []
    for mark in sorted(marks, key=lambda mark: -mark.score):
        arrow = "↑" if mark.score > y_limits[1] else "↓" if mark.score < y_limits[0] else ""
        labels.append(EndLabel(mark.label + arrow, x_limits[1], mark.score, INK, muted=True))
    draw_end_labels(ax, labels)


def draw_nothing(ax: Axes) -> None:
    """Say that there is no data."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no data yet", transform=ax.transAxes, ha="center", va="center")


def dress(ax: Axes, x_name: str) -> None:
    """Set ticks with their units, grid lines and the label of the x axis; limits must be final."""
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


def _draw_line(ax: Axes, line: Line, band_alpha: float, thickness: float) -> None:
    color = line.look.color
    ax.fill_between(line.x, line.low, line.high, color=color, alpha=band_alpha, linewidth=0)
    for heights in line.seeds:
        ax.plot(line.x, heights, color=color, linewidth=0.5, alpha=0.45)
    ax.plot(line.x, line.y, color=color, linestyle=line.look.dashes, linewidth=1.6 * thickness)
    x, y = line.end
    ax.plot(
        [x],
        [y],
        color=color,
        marker=line.look.marker,
        markersize=4.5 * thickness,
        clip_on=False,
    )


def _coincide(line: Line, other: Line, distance: float) -> bool:
    """Return whether one line covers the other."""
    return bool(
        np.array_equal(line.x, other.x)
        and np.array_equal(np.isnan(line.y), np.isnan(other.y))
        and np.nanmax(np.abs(line.y - other.y)) <= distance
    )
