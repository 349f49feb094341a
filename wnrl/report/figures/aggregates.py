"""All games together: aggregates, probability of improvement, performance profiles."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from wnrl.report.comparison import Aggregate, Comparison, Total, Variant
from wnrl.report.figures.layout import Layout, facts_text, in_rows
from wnrl.report.figures.lines import Line, draw_lines, dress
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet
from wnrl.report.figures.style import INK, LABEL_PT, Look, looks
from wnrl.report.figures.text import width_in
from wnrl.stats.bootstrap import Coverage, Estimate

_MOST_PAIRS = 24  # in one panel; those over the first variant come first
_COLUMNS = 2
_ROW_IN = 0.19  # an estimate
_RIGHT_IN = 0.2
_PROFILE_LEFT_IN = 0.4

WHAT = (
    "Human-normalized final returns: 0 is random play, 1 a human's. Bars and bands: 95% intervals, "
    "stratified bootstrap over the seeds of these games. IQM: mean of the middle half of all runs. "
    "Optimality gap: how far runs fall short of 1 on average, so less is better."
)


class Row(NamedTuple):
    """An estimate and what it is of."""

    label: str
    look: Look
    estimate: Estimate


def aggregates_sheet(comparison: Comparison, aggregate: Aggregate, layout: Layout) -> Sheet:
    """The picture of all games together.

    Args:
        comparison: what the aggregate is of.
        aggregate: what is drawn.
        layout: where it is looked at.
    """
    totals = aggregate.totals
    columns = min(_COLUMNS, layout.columns)
    look = looks(comparison)

    def rows(estimate: Callable[[Total], Estimate | None]) -> list[Row]:
        return [
            Row(total.variant.label, look[total.variant], found)
            for total in totals
            if (found := estimate(total)) is not None
        ]

    atari_5 = rows(lambda total: total.atari_5)
    iqm_coverage = _coverage_text([total.iqm_coverage for total in totals])
    gap_coverage = _coverage_text([total.optimality_gap_coverage for total in totals])
    panels = [
        _interval_panel("IQM", rows(lambda total: total.iqm), [iqm_coverage]),
        _interval_panel("Optimality gap", rows(lambda total: total.optimality_gap), [gap_coverage]),
        _interval_panel("Median", rows(lambda total: total.median)),
        _interval_panel("Mean", rows(lambda total: total.mean)),
        *(
            [_interval_panel("Atari-5 estimate of the median over 57 games", atari_5)]
            if atari_5
            else []
        ),
        *([_improvement_panel(aggregate, look)] if aggregate.improvements else []),
        _profile_panel(aggregate, look, layout.height_in(columns)),
    ]
    left_out = f" Left out: {', '.join(aggregate.left_out)}." if aggregate.left_out else ""
    return Sheet(
        title=f"{comparison.agent}: {len(aggregate.games)} games together",
        warning=aggregate.verdict,
        key=tuple(KeyEntry(total.variant.label, look[total.variant]) for total in totals),
        rows=in_rows(panels, columns),
        width_in=layout.width_in(columns),
        small_print=(
            WHAT,
            f"Games: {', '.join(aggregate.games)}.{left_out}",
            facts_text(comparison),
        ),
    )


def _coverage_text(coverages: Sequence[Coverage]) -> str:
    """How often such intervals hold the truth, over variants; empty where it is not known."""
    known = [each.share for each in coverages if not np.isnan(each.share)]
    if not known:
        return ""
    low, high = f"{100 * min(known):.0f}", f"{100 * max(known):.0f}%"
    share = high if f"{low}%" == high else f"{low} to {high}"
    return f"these 95% intervals cover {share} in simulation"


def _interval_panel(title: str, rows: list[Row], notes: Sequence[str] = ()) -> Panel:
    return Panel(
        title=title,
        notes=tuple(note for note in notes if note),
        warning="",
        draw=partial(_draw_intervals, rows=rows, x_name="human-normalized score"),
        height_in=_ROW_IN * len(rows),
        left_in=_names_in(rows),
        right_in=_RIGHT_IN,
    )


def _improvement_panel(aggregate: Aggregate, look: Mapping[Variant, Look]) -> Panel:
    first = aggregate.totals[0].variant
    shown = sorted(aggregate.improvements, key=lambda each: each.worse != first)[:_MOST_PAIRS]
    cut = len(aggregate.improvements) - len(shown)
    what = "that a run of the one ends above a run of the other in the same game"
    rows = [
        Row(f"{each.better.label} > {each.worse.label}", look[each.better], each.chance)
        for each in shown
    ]
    return Panel(
        title="Probability of improvement",
        notes=(what, *([f"{cut} more pairs are not drawn"] if cut else [])),
        warning="",
        draw=partial(_draw_chances, rows=rows),
        height_in=_ROW_IN * len(rows),
        left_in=_names_in(rows),
        right_in=_RIGHT_IN,
    )


def _profile_panel(aggregate: Aggregate, look: Mapping[Variant, Look], height_in: float) -> Panel:
    lines = [
        Line(
            total.variant.label,
            look[total.variant],
            aggregate.thresholds,
            total.profile.profile,
            total.profile.low,
            total.profile.high,
        )
        for total in aggregate.totals
    ]
    return Panel(
        title="Performance profile",
        notes=("share of runs above a human-normalized score",),
        warning="",
        draw=partial(
            draw_lines,
            lines=lines,
            x_limits=(float(aggregate.thresholds[0]), float(aggregate.thresholds[-1])),
            y_limits=(0.0, 1.0),
            x_name="human-normalized score",
            labelled=False,
        ),
        height_in=height_in,
        left_in=_PROFILE_LEFT_IN,
        right_in=_RIGHT_IN,
    )


def _names_in(rows: Sequence[Row]) -> float:
    return 0.1 + max(width_in(row.label, LABEL_PT) for row in rows)


def _draw_intervals(ax: Axes, *, rows: Sequence[Row], x_name: str) -> None:
    """A row for each estimate, from the top."""
    ends = [end for row in rows for end in (row.estimate.low, row.estimate.high)]
    shown = np.array([*ends, *(row.estimate.value for row in rows)])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    pad = 0.06 * (high - low) or 0.1
    ax.set_xlim(low - pad, high + pad)
    _draw_rows(ax, rows, x_name)


def _draw_chances(ax: Axes, *, rows: Sequence[Row]) -> None:
    ax.set_xlim(-0.02, 1.02)
    _draw_rows(ax, rows, "probability")
    ax.axvline(0.5, color=INK, alpha=0.5, linewidth=0.7)


def _draw_rows(ax: Axes, rows: Sequence[Row], x_name: str) -> None:
    ax.set_ylim(len(rows) - 0.5, -0.5)
    dress(ax, x_name)
    ax.set_yticks(range(len(rows)), [row.label for row in rows])
    ax.tick_params(axis="y", length=0)
    for y, row in enumerate(rows):
        color = row.look.color
        ax.hlines(y, row.estimate.low, row.estimate.high, color=color, linewidth=3, alpha=0.45)
        ax.plot([row.estimate.value], [y], color=color, marker=row.look.marker, markersize=4.5)
