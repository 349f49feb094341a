"""Forest plot of differences: a panel for all games together and one for each game."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from wnrl.report.comparison import Comparison, Contrast, OverallContrast, Variant, total_counts
from wnrl.report.figures.layout import (
    Layout,
    facts_text,
    frames_text,
    in_rows,
    panel_warning,
    shared_warning,
)
from wnrl.report.figures.lines import dress
from wnrl.report.figures.sheet import Panel, Sheet
from wnrl.report.figures.style import INK, LABEL_PT, Look, looks
from wnrl.report.figures.text import width_in
from wnrl.report.number_format import compact, counted
from wnrl.report.sentences import game_warning
from wnrl.stats.intervals import Interval
from wnrl.stats.verdict import Verdict

_MOST_ROWS = 30  # in one panel
_ROW_IN = 0.22
_RIGHT_IN = 0.2
_COLUMNS = 2
_ROOM = 0.6  # most that simultaneous intervals widen the axis on each side

WHAT = (
    "Points: mean final return minus that of the variant compared with; filled if decided: better, "
    "worse, or no difference larger than the margin. Thick bars: 95% interval of each difference "
    "alone (Welch). Thin bars: simultaneous 95% intervals (all hold together)."
)
GREY = "Grey: the margin."


class _Row(NamedTuple):
    """A difference with its label."""

    label: str
    look: Look
    interval: Interval  # of this difference alone; without ends over games
    simultaneous: Interval
    decided: bool


def differences_sheet(comparison: Comparison, layout: Layout) -> Sheet:
    """Return the forest plot of all contrasts.

    Args:
        comparison: what is drawn; it has contrasts.
        layout: the medium that the figure is drawn for.
    """
    look = looks(comparison)
    overall = [] if comparison.aggregate is None else list(comparison.aggregate.contrasts)
    warning = shared_warning(comparison.games)
    panels = [_overall_panel(overall, look, comparison)] if overall else []
    of_games = {
        game.env: [each for each in comparison.contrasts if each.env == game.env]
        for game in comparison.games
    }
    for game in comparison.games:
        if of_games[game.env]:
            panel = _game_panel(game.env, of_games[game.env], look, comparison)
            panels.append(
                dataclasses.replace(panel, warning=panel_warning(game_warning(game), warning))
            )
    columns = min(_COLUMNS, layout.columns_of(len(panels)))
    margins = [_margin(overall), *map(_margin, of_games.values())]
    grey = not all(map(math.isnan, margins))
    facts = (frames_text(comparison.games), facts_text(comparison))
    return Sheet(
        width_in=layout.width_in(columns),
        title=f"{comparison.title}: difference in final return{_to_baseline(comparison)}",
        warning=warning,
        key=(),
        rows=in_rows(panels, columns),
        small_print=(f"{WHAT} {GREY}" if grey else WHAT, *facts),
    )


def _to_baseline(comparison: Comparison) -> str:
    return "" if comparison.all_pairs else f" from {comparison.question.baseline}"


def _game_panel(
    env: str, contrasts: Sequence[Contrast], look: Mapping[Variant, Look], comparison: Comparison
) -> Panel:
    rows = [
        _Row(
            _label(each, comparison),
            look[each.variant],
            each.difference,
            each.simultaneous,
            each.verdict is not Verdict.UNDECIDED,
        )
        for each in contrasts
    ]
    margin = _margin(contrasts)
    counts = {each.variant: each.counts for each in contrasts}
    counts |= {each.baseline: each.baseline_counts for each in contrasts}
    both = total_counts(counts.values())
    notes = [
        f"difference in final return; {both.finished} of {counted(both.asked, 'run')} finished"
    ]
    if not math.isnan(margin):
        notes.append(f"margin ±{compact(margin, significant=2)}")
    return _panel(env, notes, rows, margin)


def _overall_panel(
    contrasts: Sequence[OverallContrast], look: Mapping[Variant, Look], comparison: Comparison
) -> Panel:
    nothing = Interval(math.nan, math.nan, math.nan)
    rows = [
        _Row(
            _label(each, comparison),
            look[each.variant],
            nothing,
            each.iqm,
            each.verdict is not Verdict.UNDECIDED,
        )
        for each in contrasts
    ]
    margin = _margin(contrasts)
    note = "difference of the normalized interquartile mean; intervals hold together"
    return _panel("All games together", [note], rows, margin)


def _margin(contrasts: Sequence[Contrast] | Sequence[OverallContrast]) -> float:
    """Return the margin of a panel, NaN without one or with several."""
    margins = {each.margin for each in contrasts if not math.isnan(each.margin)}
    return margins.pop() if len(margins) == 1 else math.nan


def _label(contrast: Contrast | OverallContrast, comparison: Comparison) -> str:
    if comparison.all_pairs:
        return f"{contrast.variant.label} − {contrast.baseline.label}"
    return contrast.variant.label


def _panel(title: str, notes: Sequence[str], rows: Sequence[_Row], margin: float) -> Panel:
    drawn = [row for row in rows if not math.isnan(row.simultaneous.value)]
    if len(drawn) > _MOST_ROWS:
        drawn.sort(key=lambda row: not row.decided)
    shown = drawn[:_MOST_ROWS] or list(rows[:1])
    hidden = len(rows) - len(shown)
    more = [f"{hidden} more without a point or undecided are in the tables"] if hidden else []
    return Panel(
        title=title,
        notes=(*notes, *more),
        warning="",
        draw=partial(_draw, rows=shown, margin=margin),
        height_in=_ROW_IN * max(2, len(shown)),
        left_in=0.1 + max(width_in(row.label, LABEL_PT) for row in shown),
        right_in=_RIGHT_IN,
    )


def _draw(ax: Axes, *, rows: Sequence[_Row], margin: float) -> None:
    _limit(ax, rows, margin)
    ax.set_ylim(max(2, len(rows)) - 0.5, -0.5)
    dress(ax, "difference")
    ax.grid(visible=False)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.tick_params(axis="y", length=0)
    if not math.isnan(margin):
        ax.axvspan(-margin, margin, color=INK, alpha=0.08, linewidth=0)
    ax.axvline(0, color=INK, alpha=0.6, linewidth=0.8)
    for y, row in enumerate(rows):
        color = row.look.color
        ax.hlines(y, row.simultaneous.low, row.simultaneous.high, color=color, linewidth=1)
        ax.hlines(y, row.interval.low, row.interval.high, color=color, linewidth=3.2, alpha=0.55)
        ax.plot(
            [row.simultaneous.value],
            [y],
            color=color,
            marker=row.look.marker,
            markersize=5,
            fillstyle="full" if row.decided else "none",
        )


def _limit(ax: Axes, rows: Sequence[_Row], margin: float) -> None:
    """Show zero, all points and their own intervals; wider simultaneous ones may be cut off."""
    ends: list[float] = [0.0]
    for row in rows:
        own = row.interval if row.interval.bounded else row.simultaneous
        ends += [own.value, own.low, own.high, row.simultaneous.value]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    wide = [end for row in rows for end in (row.simultaneous.low, row.simultaneous.high)]
    if not np.isnan(wide).all():
        span = high - low
        low = min(low, max(float(np.nanmin(wide)), low - _ROOM * span))
        high = max(high, min(float(np.nanmax(wide)), high + _ROOM * span))
    if not math.isnan(margin):
        reach = max(abs(low), abs(high), margin * 1e-6)
        low, high = min(low, -min(margin, reach)), max(high, min(margin, reach))
    pad = 0.08 * (high - low) or 0.1
    ax.set_xlim(low - pad, high + pad)
