"""Pictures of a study: training loss against steps and against CPU time.

Dimension key: S seeds, K points of a curve.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from study import POINTS, Row, Variant
from verdicts import Runs

from wnrl.report.figures.lines import Line
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet, compose
from wnrl.report.figures.style import INK, drawing, look_of
from wnrl.report.number_format import compact
from wnrl.stats.intervals import t_interval
from wnrl.train.storage.atomic_files import replacing

_DPI = 100
_MARKED = 5  # points from one marker to the next
_SMALL_PRINT = (
    "Lines: mean over seeds of the logarithm of the training loss in a fortieth of the steps. "
    "Bands: 95% intervals, Student's t over seeds. Against time, a point is at the mean CPU time "
    "of its variant's runs, in one thread.",
)


def curves(runs: Runs, steps: int) -> dict[Variant, tuple[Line, Line]]:
    """Return the curve of each variant, against steps and against CPU time in seconds."""
    lines = {}
    for variant, of_variant in runs.items():
        losses = np.log([run.losses for run in of_variant])  # (S, K)
        intervals = [t_interval(losses[:, k]) for k in range(POINTS)]
        y, low, high = np.exp([(each.value, each.low, each.high) for each in intervals]).T
        look = look_of(variant.norm, int(variant.data_init))
        at = (np.arange(POINTS) + 0.5) * steps / POINTS
        cpu_s = np.mean([[0.0, *run.cpu_s] for run in of_variant], axis=0)  # (K + 1,)
        middle = (cpu_s[1:] + cpu_s[:-1]) / 2
        lines[variant] = (
            Line(variant.name, look, at, y, low, high),
            Line(variant.name, look, middle, y, low, high),
        )
    return lines


def curve_rows(runs: Runs, steps: int) -> Iterator[Row]:
    """Yield the points of the picture."""
    for variant, (by_steps, by_time) in curves(runs, steps).items():
        for k in range(POINTS):
            yield {
                "variant": variant.name,
                "step": by_steps.x[k],
                "cpu_s": round(float(by_time.x[k]), 3),
                "loss": float(f"{by_steps.y[k]:.4g}"),
                "low": float(f"{by_steps.low[k]:.4g}"),
                "high": float(f"{by_steps.high[k]:.4g}"),
            }


def draw(path: Path, runs: Runs, steps: int, title: str) -> None:
    """Draw both curves into a PNG file."""
    lines = curves(runs, steps)
    seeds = len(next(iter(runs.values())))
    panels = [
        Panel(
            title=f"against {x_name}",
            notes=(f"training loss, {seeds} seeds",),
            warning="",
            draw=partial(_draw, lines=[pair[place] for pair in lines.values()], x_name=x_name),
            height_in=2.6,
            left_in=0.55,
            right_in=0.15,
        )
        for place, x_name in enumerate(("steps", "CPU time (s)"))
    ]
    key = tuple(KeyEntry(line.label, line.look) for line, _ in lines.values())
    with drawing(), replacing(path) as temporary:
        figure = compose(Sheet(title, "", key, (tuple(panels),), _SMALL_PRINT, width_in=9.0))
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})


def _draw(ax: Axes, *, lines: Sequence[Line], x_name: str) -> None:
    """Draw lines and bands over a logarithmic axis."""
    ax.set_yscale("log")
    for line in lines:
        ax.fill_between(line.x, line.low, line.high, color=line.look.color, alpha=0.1, linewidth=0)
        ax.plot(
            line.x,
            line.y,
            color=line.look.color,
            linestyle=line.look.dashes,
            linewidth=1.3,
            marker=line.look.marker,
            markersize=3.5,
            markevery=_MARKED,
        )
    ax.set_xlim(0.0, max(float(line.x[-1]) for line in lines))
    heights = np.concatenate([line.y for line in lines])
    low, high = float(heights.min()), float(heights.max())
    ax.set_ylim(low / 1.2, high * 1.2)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    ax.yaxis.set_major_formatter(lambda value, _: compact(value))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
    ax.set_xlabel(x_name)
