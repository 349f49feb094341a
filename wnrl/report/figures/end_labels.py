"""Labels at the ends of lines, close to the lines and never overlapping."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from wnrl.report.figures.style import LABEL_PT, MUTED
from wnrl.report.figures.text import width_in

PITCH_PT = 10.5  # distance between the middles of neighbouring labels
_GAP_IN = 0.15  # from the axes to the text, including the leader line
_LEADER_IN = 0.11


class EndLabel(NamedTuple):
    """A label to the right of the axes, and its point in data units."""

    text: str
    x: float
    y: float
    color: str  # colour of the leader line
    muted: bool = False


def margin_in(texts: Sequence[str]) -> float:
    """Return the width in inches that these labels need to the right of the axes."""
    return _GAP_IN + max((width_in(text, LABEL_PT) for text in texts), default=0.0)


def draw_end_labels(ax: Axes, labels: Sequence[EndLabel]) -> None:
    """Write labels right of the axes, each as close to the height of its point as possible.

    The size and limits of the axes must be final. A point beyond the limits is moved to their edge,
    without a leader line.
    """
    if not labels:
        return
    box = ax.bbox.transformed(ax.figure.dpi_scale_trans.inverted())  # in inches
    points = ax.transAxes.inverted().transform(
        ax.transData.transform([(label.x, label.y) for label in labels])
    )  # (L, 2) in fractions of the axes
    heights = np.clip(points[:, 1], 0, 1)
    pitch = PITCH_PT / 72 / box.height
    middles = spread(heights, pitch, low=0.0, high=1.0)
    for label, (x, y), height, middle in zip(labels, points, heights, middles, strict=True):
        if y == height:
            ax.plot(
                [x, 1, 1 + _LEADER_IN / box.width],
                [y, y, middle],
                transform=ax.transAxes,
                clip_on=False,
                color=label.color,
                linewidth=0.7,
                alpha=0.7,
            )
        ax.text(
            1 + _GAP_IN / box.width,
            middle,
            label.text,
            transform=ax.transAxes,
            va="center_baseline",
            fontsize=LABEL_PT,
            alpha=MUTED if label.muted else None,
        )


def spread(wanted: Sequence[float], pitch: float, *, low: float, high: float) -> list[float]:
    """Return positions at least a pitch apart, as close to the wanted ones as possible.

    Closeness is least squares, so this is an isotonic regression: with x_i sorted and
    t_i = x_i - i pitch, find the nearest u_i that never fall; the position is u_i + i pitch. Equal
    positions keep their order, the first on top.

    Args:
        wanted: positions, in any order.
        pitch: the smallest distance.
        low: the lowest position, unless there is no room.
        high: the highest position.

    Returns:
        The positions, in the order of `wanted`.

    Source: the pool-adjacent-violators algorithm; Ayer et al. 1955.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))
    blocks: list[tuple[float, int]] = []  # mean and size of each block of equal u_i
    for place, i in enumerate(order):
        mean, count = wanted[i] - place * pitch, 1
        while blocks and blocks[-1][0] > mean:
            before, number = blocks.pop()
            mean = (before * number + mean * count) / (number + count)
            count += number
        blocks.append((mean, count))
    levels = [mean for mean, count in blocks for _ in range(count)]
    highest = high - (len(wanted) - 1) * pitch
    positions = [0.0] * len(wanted)
    for place, (i, level) in enumerate(zip(order, levels, strict=True)):
        positions[i] = min(max(level, low), highest) + place * pitch
    return positions
