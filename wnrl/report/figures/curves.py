"""Learning curves: a panel for each game, and one for all of them together."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from wnrl.report.comparison import Comparison, Curve, Game, Variant
from wnrl.report.figures.labels import PITCH_PT, margin_in
from wnrl.report.figures.layout import (
    Layout,
    direct,
    facts_text,
    frames_text,
    in_rows,
    seeds_text,
    shared_verdict,
)
from wnrl.report.figures.lines import Line, Mark, draw_lines, draw_nothing, y_limits
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet
from wnrl.report.figures.style import Look, looks
from wnrl.report.number_format import counted
from wnrl.report.run_result import WINDOW_FRACTION
from wnrl.stats.reference_scores import Reference

_LEFT_IN = 0.55
_RIGHT_IN = 0.2

WINDOW = f"mean raw return in a trailing window of {WINDOW_FRACTION:.0%} of the agent steps"
WHAT = (
    f"Lines: mean over seeds of the {WINDOW}. Bands: 95% intervals, Student's t over seeds, cut at "
    "a panel's edge."
)
NO_BANDS = f"Lines: {WINDOW}. There is no interval of one seed."
WHAT_IQM = (
    "IQM: interquartile mean of the human-normalized scores of all runs, band: 95%, stratified "
    "bootstrap over seeds."
)


def curves_sheet(
    comparison: Comparison, games: Sequence[Game], layout: Layout, *, aggregated: bool
) -> Sheet:
    """Learning curves of some games.

    Args:
        comparison: what they are of.
        games: those that are drawn.
        layout: where it is looked at.
        aggregated: whether there is a panel for all games together, where they are aggregated.
    """
    aggregate = comparison.aggregate if aggregated else None
    look = looks(comparison)
    columns = layout.columns_of(len(games) + (aggregate is not None))
    height_in = layout.height_in(columns)
    labels = [variant.label for variant in look]
    labelled = direct(labels, panel_in=layout.panel_in(columns), axes_in=height_in)
    letters = _letters(games)
    verdict = shared_verdict(games)
    panel = partial(
        _panel,
        look=look,
        labelled=labelled,
        height_in=height_in,
    )
    panels = []
    for game in games:
        protocol = [] if game.protocol == "-" else [game.protocol]
        head = " · ".join(["raw return", *protocol, seeds_text(game.scored)])
        panels.append(
            panel(
                title=game.env,
                notes=(head, *_missing(game)),
                warning="" if verdict else game.verdict,
                curves={each.variant: each.curve for each in game.scored},
                marks=[Mark(letters[_published(each)], each.score) for each in game.references],
            )
        )
    if aggregate is not None:
        panels.append(
            panel(
                title="All games",
                notes=(f"human-normalized IQM of {len(aggregate.games)} games",),
                warning="" if aggregate.verdict == verdict else aggregate.verdict,
                curves={total.variant: total.curve for total in aggregate.totals},
                marks=[],
            )
        )
    small_print = [
        NO_BANDS if all(map(_of_one_seed, games)) else WHAT,
        WHAT_IQM if aggregate is not None else "",
        _letters_text(letters) if letters else "",
        frames_text(games),
        facts_text(comparison),
    ]
    return Sheet(
        width_in=layout.width_in(columns),
        title=f"{comparison.agent}: return while training",
        warning=verdict,
        key=() if labelled else tuple(KeyEntry(variant.label, look[variant]) for variant in look),
        rows=in_rows(panels, columns),
        small_print=tuple(small_print),
    )


def _letters(games: Iterable[Game]) -> dict[tuple[str, str, int | None], str]:
    """A letter for each published algorithm of each source, in order of appearance."""
    published = dict.fromkeys(_published(each) for game in games for each in game.references)
    return {each: chr(ord("a") + i) for i, each in enumerate(published)}


def _letters_text(letters: Mapping[tuple[str, str, int | None], str]) -> str:
    """What the letters stand for."""
    meant = []
    for (algorithm, source, runs), letter in letters.items():
        count = "" if runs is None else f" ({counted(runs, 'run')})"
        meant.append(f"{letter} {algorithm}, {source}{count}")
    return f"Dashed: published scores after about as many frames: {'; '.join(meant)}."


def _published(reference: Reference) -> tuple[str, str, int | None]:
    return reference.algorithm, reference.source, reference.runs


def _missing(game: Game) -> list[str]:
    """A note on the variants that have no curve."""
    without = [each.variant.label for each in game.scored if not each.runs]
    unfinished = [
        each.variant.label
        for each in game.scored
        if each.runs and (each.curve is None or not np.isfinite(each.curve.mean).any())
    ]
    return [
        *([f"no finished run: {', '.join(without)}"] if without else []),
        *([f"no episode ended: {', '.join(unfinished)}"] if unfinished else []),
    ]


def _of_one_seed(game: Game) -> bool:
    return all(len(each.runs) <= 1 for each in game.scored)


def _panel(
    *,
    title: str,
    notes: tuple[str, ...],
    warning: str,
    curves: Mapping[Variant, Curve | None],
    marks: Sequence[Mark],
    look: Mapping[Variant, Look],
    labelled: bool,
    height_in: float,
) -> Panel:
    lines = [
        Line(variant.label, look[variant], curve.steps, curve.mean, curve.low, curve.high)
        for variant, curve in curves.items()
        if curve is not None and np.isfinite(curve.mean).any()
    ]
    texts = [*([line.label for line in lines] if labelled else []), *(f"{m.label}↑" for m in marks)]
    return Panel(
        title=title,
        notes=notes,
        warning=warning,
        draw=partial(_draw, lines=lines, marks=marks, labelled=labelled),
        height_in=max(height_in, len(texts) * PITCH_PT / 72),
        left_in=_LEFT_IN,
        right_in=max(_RIGHT_IN, margin_in(texts)),
    )


def _draw(ax: Axes, *, lines: Sequence[Line], marks: Sequence[Mark], labelled: bool) -> None:
    if not lines:
        draw_nothing(ax)
        return
    draw_lines(
        ax,
        lines,
        x_limits=(0.0, max(float(line.x[-1]) for line in lines)),  # games differ in length
        y_limits=y_limits(lines, marks),
        x_name="agent steps",
        labelled=labelled,
        marks=marks,
    )
