"""Final returns against the values of a swept setting."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from wnrl._settings import flag_name
from wnrl.report.comparison import Comparison, Game, Variant, VariantScores
from wnrl.report.figures.end_labels import PITCH_PT, EndLabel, draw_end_labels, margin_in
from wnrl.report.figures.layout import (
    Layout,
    facts_text,
    fit_at_line_ends,
    frames_text,
    game_notes,
    in_rows,
    panel_warning,
    shared_warning,
)
from wnrl.report.figures.lines import Line, draw_nothing, dress, y_limits
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet
from wnrl.report.figures.style import LABEL_PT, Look, look_of
from wnrl.report.figures.text import width_in
from wnrl.report.run_result import WINDOW_FRACTION
from wnrl.report.sentences import game_warning

_LEFT_IN = 0.55
_RIGHT_IN = 0.2
_DODGE = 0.3  # spread of the lines' points at a value, as a share of the least distance of values

WHAT = (
    f"Points: mean over seeds of the mean raw return in the last {WINDOW_FRACTION:.0%} of the "
    "agent steps; points of the same value are drawn side by side. Bars: 95% intervals, Student's "
    "t over seeds, clipped at the panel's edge. Broad lines: within the margin of the best point."
)

Series = tuple[str, tuple[str, ...]]  # a normalization, and the values of the other settings


def numeric_settings(comparison: Comparison) -> list[str]:
    """Return the swept settings that have at least two values, all of them numbers."""
    names = []
    for place, name in enumerate(comparison.swept):
        values = _values(comparison, place)
        if len(values) > 1 and all(value is not None for value in values.values()):
            names.append(name)
    return names


def range_sheet(comparison: Comparison, setting: str, layout: Layout) -> Sheet:
    """Return the final returns of each game against the values of a swept setting.

    Args:
        comparison: what is drawn.
        setting: one of `numeric_settings`.
        layout: the medium that the figure is drawn for.
    """
    place = comparison.swept.index(setting)
    games = comparison.games
    columns = layout.columns_of(len(games))
    look = _series_looks(comparison, place)
    height_in = layout.height_in(columns)
    labelled = fit_at_line_ends(
        [_label(series) for series in look], panel_in=layout.panel_in(columns), axes_in=height_in
    )
    warning = shared_warning(games)
    panels: list[Panel] = []
    for game in games:
        lines = [_line(game, place, series, look[series]) for series in look]
        lines = [line for line in lines if line.finite]
        least = {
            x.label: x.least
            for x in comparison.sensitivity.ranges
            if (x.env, x.setting) == (game.env, setting)
        }
        labels = [line.label for line in lines] if labelled else []
        panels.append(
            Panel(
                title=game.env,
                notes=tuple(game_notes(game, "final raw return")),
                warning=panel_warning(game_warning(game), warning),
                draw=partial(
                    _draw, lines=lines, least=least, name=flag_name(setting), labelled=labelled
                ),
                height_in=max(height_in, len(labels) * PITCH_PT / 72),
                left_in=_LEFT_IN,
                right_in=max(_RIGHT_IN, margin_in(labels)),
            )
        )
    return Sheet(
        width_in=layout.width_in(columns),
        title=f"{comparison.title}: final return by {flag_name(setting)}",
        warning=warning,
        key=() if labelled else tuple(KeyEntry(_label(each), look[each]) for each in look),
        rows=in_rows(panels, columns),
        small_print=(WHAT, frames_text(games), facts_text(comparison)),
    )


def _values(comparison: Comparison, place: int) -> dict[str, float | None]:
    """Return the values of the setting at this place, as text and as numbers, without `-`."""
    return {
        scores.variant.values[place]: _number(scores.variant, place)
        for game in comparison.games
        for scores in game.variants
        if scores.variant.values[place] != "-"
    }


def _number(variant: Variant, place: int) -> float | None:
    try:
        value = float(variant.values[place])
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _series(variant: Variant, place: int) -> Series:
    return variant.norm, variant.values[:place] + variant.values[place + 1 :]


def _series_looks(comparison: Comparison, place: int) -> dict[Series, Look]:
    """Return how each series is drawn: dashes by the values of the other settings."""
    all_series = dict.fromkeys(
        _series(scores.variant, place)
        for game in comparison.games
        for scores in game.variants
        if _number(scores.variant, place) is not None
    )
    others = list(dict.fromkeys(values for _, values in all_series))
    norms = {scores.variant.norm for game in comparison.games for scores in game.variants}
    return {
        (norm, values): look_of(norm, others.index(values), norms) for norm, values in all_series
    }


def _label(series: Series) -> str:
    return " ".join([series[0], *series[1]])


def _line(game: Game, place: int, series: Series, look: Look) -> Line:
    """Return the final returns of a series in the order of the setting's values; NaN if missing."""
    points: Mapping[float, VariantScores] = {
        value: scores
        for scores in game.variants
        if _series(scores.variant, place) == series
        and (value := _number(scores.variant, place)) is not None
    }
    x = sorted(points)
    finals = [points[value].final for value in x]
    y, low, high = (
        np.array([math.nan if final is None else getattr(final, end) for final in finals])
        for end in ("value", "low", "high")
    )
    return Line(_label(series), look, np.array(x), y, low, high)


def _draw(
    ax: Axes, *, lines: Sequence[Line], least: Mapping[str, float], name: str, labelled: bool
) -> None:
    if not lines:
        draw_nothing(ax)
        return
    values = np.unique(np.concatenate([line.x for line in lines]))
    log = bool(values[0] > 0)
    places = np.log10(values) if log else values
    step = float(np.diff(places).min()) if len(places) > 1 else 1.0
    ax.set_xlim(places[0] - 0.3 * step, places[-1] + 0.3 * step)
    ax.set_ylim(*y_limits(lines))
    dress(ax, f"{name} (log scale)" if log else name)
    _tick_values(ax, places.tolist(), [f"{value:g}" for value in values])
    shifted = []
    for i, line in enumerate(lines):
        shift = _DODGE * step * ((i + 0.5) / len(lines) - 0.5)
        shifted.append(line._replace(x=(np.log10(line.x) if log else line.x) + shift))
        _draw_points(ax, shifted[-1])
        if line.label in least:
            _draw_within_margin(ax, shifted[-1], least[line.label])
    if labelled:
        draw_end_labels(ax, [EndLabel(x.label, *x.end, x.look.color) for x in shifted])


def _draw_points(ax: Axes, line: Line) -> None:
    color = line.look.color
    ax.vlines(line.x, line.low, line.high, color=color, linewidth=1.4, alpha=0.7)
    ax.plot(
        line.x,
        line.y,
        color=color,
        linestyle=line.look.dashes,
        linewidth=1.2,
        marker=line.look.marker,
        markersize=4.5,
    )


def _draw_within_margin(ax: Axes, line: Line, least: float) -> None:
    """Broaden a line where it is at least this high."""
    x = np.linspace(line.x[0], line.x[-1], 500)
    y = np.interp(x, line.x, line.y)
    y[y < least] = math.nan
    ax.plot(x, y, color=line.look.color, linewidth=6, alpha=0.3, solid_capstyle="butt")


def _tick_values(ax: Axes, places: Sequence[float], texts: Sequence[str]) -> None:
    """Put ticks at the values, leaving out those whose text would not fit."""
    axis_in = ax.bbox.width / ax.figure.dpi
    low, high = ax.get_xlim()
    kept: list[int] = []
    free_from = -math.inf
    for i, (place, text) in enumerate(zip(places, texts, strict=True)):
        middle = (place - low) / (high - low) * axis_in
        half = width_in(text, LABEL_PT) / 2
        if middle - half >= free_from:
            kept.append(i)
            free_from = middle + half + 0.06
    ax.xaxis.set_major_locator(FixedLocator([places[i] for i in kept]))
    ax.xaxis.set_major_formatter(FixedFormatter([texts[i] for i in kept]))
