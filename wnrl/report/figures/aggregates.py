"""All games together: aggregates, probability of improvement, performance profiles."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from wnrl.report.comparison import Aggregate, Comparison, Variant, VariantAggregate
from wnrl.report.figures.layout import Layout, facts_text, in_rows
from wnrl.report.figures.lines import Line, draw_lines, dress
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet
from wnrl.report.figures.style import INK, LABEL_PT, Look, looks
from wnrl.report.figures.text import width_in
from wnrl.report.sentences import evidence_sentence
from wnrl.stats.bootstrap import Coverage
from wnrl.stats.intervals import Interval

_MOST_PAIRS = 24  # in one panel; pairs with the first variant come first
_COLUMNS = 2
_ROW_IN = 0.19  # height of a row
_RIGHT_IN = 0.2
_PROFILE_LEFT_IN = 0.4

WHAT = (
    "Normalized final returns: 0 is random play, 1 is a human's score (in MinAtar DQN's; the "
    "baseline's where there is none). Bars and bands: 95% intervals, stratified bootstrap over the "
    "seeds of these games; those of the probability of improvement hold for all pairs together. "
    "IQM: mean of the middle half of all runs. Optimality gap: how far runs fall short of 1 on "
    "average; lower is better."
)


class Row(NamedTuple):
    """An interval with its label."""

    label: str
    look: Look
    interval: Interval


def aggregates_sheet(comparison: Comparison, aggregate: Aggregate, layout: Layout) -> Sheet:
    """Return the figure of all games together.

    Args:
        comparison: the comparison that the aggregate belongs to.
        aggregate: what is drawn.
        layout: the medium that the figure is drawn for.
    """
    columns = min(_COLUMNS, layout.columns)
    look = looks(comparison)
    panels = [
        *_interval_panels(aggregate, look),
        *([_improvement_panel(aggregate, look)] if aggregate.contrasts else []),
        _profile_panel(aggregate, look, layout.height_in(columns)),
    ]
    left_out = f" Left out: {', '.join(aggregate.left_out)}." if aggregate.left_out else ""
    return Sheet(
        title=f"{comparison.title}: scores over {len(aggregate.games)} games",
        warning=evidence_sentence(aggregate.fewest_seeds),
        key=tuple(KeyEntry(each.variant.label, look[each.variant]) for each in aggregate.variants),
        rows=in_rows(panels, columns),
        width_in=layout.width_in(columns),
        small_print=(
            WHAT,
            f"Games: {', '.join(aggregate.games)}.{left_out}",
            facts_text(comparison),
        ),
    )


def _interval_panels(aggregate: Aggregate, look: Mapping[Variant, Look]) -> list[Panel]:
    """Return a panel for each statistic."""
    variants = aggregate.variants

    def rows(interval: Callable[[VariantAggregate], Interval | None]) -> list[Row]:
        return [
            Row(each.variant.label, look[each.variant], known)
            for each in variants
            if (known := interval(each)) is not None
        ]

    iqm_coverage = _coverage_text([each.iqm_coverage for each in variants])
    gap_coverage = _coverage_text([each.optimality_gap_coverage for each in variants])
    panels = [
        _interval_panel("IQM", rows(lambda each: each.iqm), iqm_coverage),
        _interval_panel("Optimality gap", rows(lambda each: each.optimality_gap), gap_coverage),
        _interval_panel("Median", rows(lambda each: each.median)),
        _interval_panel("Mean", rows(lambda each: each.mean)),
    ]
    if atari_5 := rows(lambda each: each.atari_5):
        panels.append(_interval_panel("Atari-5 estimate of the median over 57 games", atari_5))
    return panels


def _coverage_text(coverages: Sequence[Coverage]) -> str:
    """Return the range of the variants' simulated coverage; empty if it is unknown."""
    known = [each.share for each in coverages if not np.isnan(each.share)]
    if not known:
        return ""
    low, high = f"{100 * min(known):.0f}", f"{100 * max(known):.0f}%"
    share = high if f"{low}%" == high else f"{low} to {high}"
    return f"simulated coverage of these 95% intervals: {share}"


def _interval_panel(title: str, rows: list[Row], note: str = "") -> Panel:
    return Panel(
        title=title,
        notes=(note,) if note else (),
        warning="",
        draw=partial(_draw_intervals, rows=rows),
        height_in=_ROW_IN * len(rows),
        left_in=_names_in(rows),
        right_in=_RIGHT_IN,
    )


def _improvement_panel(aggregate: Aggregate, look: Mapping[Variant, Look]) -> Panel:
    first = aggregate.variants[0].variant
    shown = sorted(aggregate.contrasts, key=lambda each: each.baseline != first)[:_MOST_PAIRS]
    hidden = len(aggregate.contrasts) - len(shown)
    what = "that a run of the first variant ends above a run of the second in the same game"
    rows = [
        Row(f"{each.variant.label} > {each.baseline.label}", look[each.variant], each.improvement)
        for each in shown
    ]
    return Panel(
        title="Probability of improvement",
        notes=(what, *([f"{hidden} more pairs are not shown"] if hidden else [])),
        warning="",
        draw=partial(_draw_probabilities, rows=rows),
        height_in=_ROW_IN * len(rows),
        left_in=_names_in(rows),
        right_in=_RIGHT_IN,
    )


def _profile_panel(aggregate: Aggregate, look: Mapping[Variant, Look], height_in: float) -> Panel:
    lines = [
        Line(
            each.variant.label,
            look[each.variant],
            aggregate.thresholds,
            each.profile.profile,
            each.profile.low,
            each.profile.high,
        )
        for each in aggregate.variants
    ]
    return Panel(
        title="Performance profile",
        notes=("share of runs above a normalized score",),
        warning="",
        draw=partial(
            draw_lines,
            lines=lines,
            x_limits=(float(aggregate.thresholds[0]), float(aggregate.thresholds[-1])),
            y_limits=(0.0, 1.0),
            x_name="normalized score",
            labelled=False,
        ),
        height_in=height_in,
        left_in=_PROFILE_LEFT_IN,
        right_in=_RIGHT_IN,
    )


def _names_in(rows: Sequence[Row]) -> float:
    """Return the width of the rows' labels."""
    return 0.1 + max(width_in(row.label, LABEL_PT) for row in rows)


def _draw_intervals(ax: Axes, *, rows: Sequence[Row]) -> None:
    intervals = [row.interval for row in rows]
    shown = np.array([end for each in intervals for end in (each.value, each.low, each.high)])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    pad = 0.06 * (high - low) or 0.1
    ax.set_xlim(low - pad, high + pad)
    _draw_rows(ax, rows, "normalized score")


def _draw_probabilities(ax: Axes, *, rows: Sequence[Row]) -> None:
    ax.set_xlim(-0.02, 1.02)
    _draw_rows(ax, rows, "probability")
    ax.axvline(0.5, color=INK, alpha=0.5, linewidth=0.7)


def _draw_rows(ax: Axes, rows: Sequence[Row], x_name: str) -> None:
    """Draw one interval per row, from top to bottom."""
    ax.set_ylim(len(rows) - 0.5, -0.5)
    dress(ax, x_name)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.tick_params(axis="y", length=0)
    for y, row in enumerate(rows):
        color = row.look.color
        ax.hlines(y, row.interval.low, row.interval.high, color=color, linewidth=3, alpha=0.45)
        ax.plot([row.interval.value], [y], color=color, marker=row.look.marker, markersize=4.5)
