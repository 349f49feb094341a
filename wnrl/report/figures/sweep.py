"""How wide the usable range of a swept setting is: final returns against its values."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from wnrl.report.comparison import Comparison, Game, Scored, Variant
from wnrl.report.figures.labels import PITCH_PT, EndLabel, draw_end_labels, margin_in
from wnrl.report.figures.layout import (
    Layout,
    direct,
    facts_text,
    frames_text,
    in_rows,
    seeds_text,
    shared_verdict,
)
from wnrl.report.figures.lines import Line, draw_nothing, dress, y_limits
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet
from wnrl.report.figures.style import LABEL_PT, Look, look_of
from wnrl.report.figures.text import width_in
from wnrl.report.run_result import WINDOW_FRACTION

_LEFT_IN = 0.55
_RIGHT_IN = 0.2
_DODGE = 0.3  # of the smallest distance between values: how far lines' points stand apart

WHAT = (
    f"Points: mean over seeds of the mean raw return in the last {WINDOW_FRACTION:.0%} of the "
    "agent steps; those of one value stand beside one another. Bars: 95% intervals, Student's t "
    "over seeds, cut at a panel's edge."
)

Series = tuple[str, tuple[str, ...]]  # a normalization, and the values of the other settings


def numeric_settings(comparison: Comparison) -> list[str]:
    """Swept settings all of whose values are numbers, of which there are at least two."""
    return [
        name
        for place, name in enumerate(comparison.swept)
        if len(_values(comparison, place)) > 1
        and all(value is not None for value in _values(comparison, place).values())
    ]


def range_sheet(comparison: Comparison, setting: str, layout: Layout) -> Sheet:
    """Final returns of each game against the values of a swept setting.

    Args:
        comparison: what is drawn.
        setting: one of `numeric_settings`.
        layout: where it is looked at.
    """
    place = comparison.swept.index(setting)
    games = comparison.games
    columns = layout.columns_of(len(games))
    series = list(
        dict.fromkeys(
            _series(each.variant, place)
            for game in games
            for each in game.scored
            if _number(each.variant, place) is not None
        )
    )
    names = {each: " ".join([each[0], *each[1]]) for each in series}
    others = list(dict.fromkeys(values for _, values in series))
    look = {(norm, values): look_of(norm, others.index(values)) for norm, values in series}
    height_in = layout.height_in(columns)
    labelled = direct([*names.values()], panel_in=layout.panel_in(columns), axes_in=height_in)
    verdict = shared_verdict(games)
    panels: list[Panel] = []
    for game in games:
        lines = [_line(game, place, each, names[each], look[each]) for each in series]
        lines = [line for line in lines if line.finite]
        labels = [line.label for line in lines] if labelled else []
        protocol = [] if game.protocol == "-" else [game.protocol]
        head = " · ".join(["final raw return", *protocol, seeds_text(game.scored)])
        missing = [each.variant.label for each in game.scored if each.final is None]
        panels.append(
            Panel(
                title=game.env,
                notes=(head, *([f"no finished run: {', '.join(missing)}"] if missing else [])),
                warning="" if verdict else game.verdict,
                draw=partial(_draw, lines=lines, name=setting, labelled=labelled),
                height_in=max(height_in, len(labels) * PITCH_PT / 72),
                left_in=_LEFT_IN,
                right_in=max(_RIGHT_IN, margin_in(labels)),
            )
        )
    return Sheet(
        width_in=layout.width_in(columns),
        title=f"{comparison.agent}: final return by {setting}",
        warning=verdict,
        key=() if labelled else tuple(KeyEntry(names[each], look[each]) for each in series),
        rows=in_rows(panels, columns),
        small_print=(WHAT, frames_text(games), facts_text(comparison)),
    )


def _values(comparison: Comparison, place: int) -> dict[str, float | None]:
    """Values of a setting, as they are written and as numbers; `-` is none of its values."""
    return {
        each.variant.values[place]: _number(each.variant, place)
        for game in comparison.games
        for each in game.scored
        if each.variant.values[place] != "-"
    }


def _number(variant: Variant, place: int) -> float | None:
    try:
        value = float(variant.values[place])
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _series(variant: Variant, place: int) -> Series:
    return variant.norm, variant.values[:place] + variant.values[place + 1 :]


def _line(game: Game, place: int, series: Series, label: str, look: Look) -> Line:
    """Final returns of a series in the order of the setting's values; NaN where there is none."""
    points: Mapping[float, Scored] = {
        value: each
        for each in game.scored
        if _series(each.variant, place) == series
        and (value := _number(each.variant, place)) is not None
    }
    x = sorted(points)
    finals = [points[value].final for value in x]
    mean, low, high = (
        np.array([math.nan if final is None else getattr(final, end) for final in finals])
        for end in ("mean", "low", "high")
    )
    return Line(label, look, np.array(x), mean, low, high)


def _draw(ax: Axes, *, lines: Sequence[Line], name: str, labelled: bool) -> None:
    if not lines:
        draw_nothing(ax)
        return
    values = np.unique(np.concatenate([line.x for line in lines]))
    log = bool(values[0] > 0)
    places = np.log10(values) if log else values
    step = float(np.diff(places).min()) if len(places) > 1 else 1.0
    ax.set_xlim(places[0] - 0.3 * step, places[-1] + 0.3 * step)
    ax.set_ylim(*y_limits(lines))
    dress(ax, f"{name}, log scale" if log else name)
    _tick_values(ax, places.tolist(), [f"{value:g}" for value in values])
    labels = []
    for i, line in enumerate(lines):
        aside = _DODGE * step * ((i + 0.5) / len(lines) - 0.5)
        x = (np.log10(line.x) if log else line.x) + aside
        color = line.look.color
        ax.vlines(x, line.low, line.high, color=color, linewidth=1.4, alpha=0.7)
        ax.plot(
            x,
            line.y,
            color=color,
            linestyle=line.look.dashes,
            linewidth=1.2,
            marker=line.look.marker,
            markersize=4.5,
        )
        last = int(np.flatnonzero(np.isfinite(line.y))[-1])
        if labelled:
            labels.append(EndLabel(line.label, float(x[last]), float(line.y[last]), color))
    draw_end_labels(ax, labels)


def _tick_values(ax: Axes, places: Sequence[float], texts: Sequence[str]) -> None:
    """Ticks at the values themselves, as far as they can be written side by side."""
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
