"""Learning curves: a panel per game, and one for all games together."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from wnrl.report.comparison import Aggregate, Array, Comparison, Curve, Game, Variant
from wnrl.report.figures.end_labels import PITCH_PT, margin_in
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
from wnrl.report.figures.lines import Line, Mark, draw_lines, draw_nothing, y_limits
from wnrl.report.figures.sheet import KeyEntry, Panel, Sheet
from wnrl.report.figures.style import Look, looks
from wnrl.report.number_format import counted
from wnrl.report.run_result import WINDOW_FRACTION
from wnrl.report.sentences import evidence_sentence, game_warning
from wnrl.stats.reference_scores import Reference

_LEFT_IN = 0.55
_RIGHT_IN = 0.2
_FEWEST_WITHOUT_THIN = 10  # seeds: from here on their lines would hide each other

WINDOW = f"mean raw return in a trailing window of {WINDOW_FRACTION:.0%} of the agent steps"
WHAT = (
    f"Lines: mean over seeds of the {WINDOW}. Bands: 95% intervals, Student's t over seeds, "
    "clipped to the range of the returns of all episodes in the game."
)
THIN = "Thin lines: one per seed."
NO_BANDS = f"Lines: {WINDOW}. A single seed has no interval."
WHAT_IQM = (
    "IQM: interquartile mean of the normalized scores of all runs, with a 95% interval from "
    "a stratified bootstrap over seeds."
)

_Published = tuple[str, str, int | None]  # algorithm, source and number of runs


@dataclass(frozen=True)
class PanelStyle:
    """Looks, labels and height that all panels of a figure share."""

    look: Mapping[Variant, Look]
    labelled: bool  # lines are labelled at their ends
    height_in: float  # height of the axes

    @property
    def key(self) -> tuple[KeyEntry, ...]:
        """Return the key of the lines; empty if they are labelled at their ends."""
        entries = () if self.labelled else self.look.items()
        return tuple(KeyEntry(variant.label, look) for variant, look in entries)


def panel_style(look: Mapping[Variant, Look], layout: Layout, columns: int) -> PanelStyle:
    """Return the style of panels in so many columns."""
    height_in = layout.height_in(columns)
    labels = [variant.label for variant in look]
    fits = fit_at_line_ends(labels, panel_in=layout.panel_in(columns), axes_in=height_in)
    return PanelStyle(look, fits, height_in)


def curves_sheet(
    comparison: Comparison, games: Sequence[Game], layout: Layout, *, aggregated: bool
) -> Sheet:
    """Return the learning curves of some games.

    Args:
        comparison: the comparison that contains them.
        games: those to draw.
        layout: the medium that the figure is drawn for.
        aggregated: add a panel for all games together, if the comparison has an aggregate.
    """
    aggregate = comparison.aggregate if aggregated else None
    look = looks(comparison)
    columns = layout.columns_of(len(games) + (aggregate is not None))
    style = panel_style(look, layout, columns)
    letters = _letters(games)
    warning = shared_warning(games)
    panels = [_game_panel(game, style, letters, warning) for game in games]
    if aggregate is not None:
        lengths = [game.total_steps for game in games if game.env in aggregate.games]
        panels.append(_aggregate_panel(aggregate, lengths, style, warning))
    one_seed = all(len(scores.runs) <= 1 for game in games for scores in game.variants)
    thin = any(line.seeds for game in games for line in _game_lines(game, style))
    return Sheet(
        width_in=layout.width_in(columns),
        title=f"{comparison.title_of(games)}: return during training",
        warning=warning,
        key=style.key,
        rows=in_rows(panels, columns),
        small_print=(
            NO_BANDS if one_seed else WHAT,
            THIN if thin else "",
            _levels_text(games),
            WHAT_IQM if aggregate is not None else "",
            _letters_text(letters),
            frames_text(games),
            facts_text(comparison),
        ),
    )


def _game_panel(
    game: Game, style: PanelStyle, letters: Mapping[_Published, str], warning: str
) -> Panel:
    lines = _game_lines(game, style)
    drawn = {line.label for line in lines}
    without = [x.variant.label for x in game.variants if x.runs and x.variant.label not in drawn]
    return lines_panel(
        title=game.env,
        notes=(
            *game_notes(game, "raw return"),
            *([f"no episode ended: {', '.join(without)}"] if without else []),
        ),
        warning=panel_warning(game_warning(game), warning),
        lines=lines,
        marks=[
            *_levels(game),
            *(Mark(letters[_published(each)], each.score) for each in game.references),
        ],
        style=style,
    )


def _levels(game: Game) -> list[Mark]:
    """Return what random play and a good player reach, as far as it is known."""
    if levels := game.levels:
        return [Mark("random", levels.random), Mark(levels.player, levels.good)]
    return [] if math.isnan(game.random) else [Mark("untrained", game.random)]


_LEVELS = {
    "human": "random, human: published scores of random play and of a human",
    "DQN": "random, DQN: random play, and DQN after 5 million steps (Young & Tian 2019)",
    "untrained": "untrained: mean return of the first episodes of all runs",
}


def _levels_text(games: Sequence[Game]) -> str:
    """Return the explanation of the levels; empty without any."""
    names = {mark.name for game in games for mark in _levels(game)}
    texts = [text for name, text in _LEVELS.items() if name in names]
    return f"Dashed lines, {'; '.join(texts)}." if texts else ""


def _aggregate_panel(
    aggregate: Aggregate, lengths: Sequence[int], style: PanelStyle, warning: str
) -> Panel:
    return lines_panel(
        title="All games",
        notes=(f"normalized IQM of {len(aggregate.games)} games",),
        warning=panel_warning(evidence_sentence(aggregate.fewest_seeds), warning),
        lines=lines_of({each.variant: each.curve for each in aggregate.variants}, style),
        marks=[],
        style=style,
        x_name="agent steps" if len(set(lengths)) == 1 else "% of each game's agent steps",
    )


def _game_lines(game: Game, style: PanelStyle) -> list[Line]:
    """Return the curves of a game, with bands between the returns that episodes had there."""
    returns = [run.returns for scores in game.variants for run in scores.runs]
    return lines_of(
        {x.variant: x.curve and clipped(x.curve, returns) for x in game.variants}, style
    )


def clipped(curve: Curve, returns: Sequence[Array]) -> Curve:
    """Return a curve whose band lies between the lowest and the highest return of all episodes."""
    possible = np.concatenate([*returns, curve.mean])
    low, high = np.nanmin(possible), np.nanmax(possible)
    return dataclasses.replace(
        curve, low=np.clip(curve.low, low, high), high=np.clip(curve.high, low, high)
    )


def lines_of(curves: Mapping[Variant, Curve | None], style: PanelStyle) -> list[Line]:
    """Return the curves that have at least one point."""
    return [
        Line(
            variant.label,
            style.look[variant],
            curve.steps,
            curve.mean,
            curve.low,
            curve.high,
            curve.seeds if 1 < len(curve.seeds) < _FEWEST_WITHOUT_THIN else (),
        )
        for variant, curve in curves.items()
        if curve is not None and np.isfinite(curve.mean).any()
    ]


def _letters(games: Iterable[Game]) -> dict[_Published, str]:
    """Return a letter for each published algorithm of each source, in order of appearance."""
    published = dict.fromkeys(_published(each) for game in games for each in game.references)
    return {each: chr(ord("a") + i) for i, each in enumerate(published)}


def _letters_text(letters: Mapping[_Published, str]) -> str:
    """Return the explanation of the letters; empty without letters."""
    if not letters:
        return ""
    meanings = []
    for (algorithm, source, runs), letter in letters.items():
        count = "" if runs is None else f" ({counted(runs, 'run')})"
        meanings.append(f"{letter} {algorithm}, {source}{count}")
    return f"Letters: published scores after about as many frames: {'; '.join(meanings)}."


def _published(reference: Reference) -> _Published:
    return reference.algorithm, reference.source, reference.runs


def lines_panel(
    *,
    title: str,
    notes: tuple[str, ...],
    warning: str,
    lines: Sequence[Line],
    marks: Sequence[Mark],
    style: PanelStyle,
    x_name: str = "agent steps",
) -> Panel:
    """Return a panel of lines over agent steps."""
    labels = [line.label for line in lines] if style.labelled else []
    labels += [f"{mark.label}↑" for mark in marks]
    return Panel(
        title=title,
        notes=notes,
        warning=warning,
        draw=partial(_draw, lines=lines, marks=marks, labelled=style.labelled, x_name=x_name),
        height_in=max(style.height_in, len(labels) * PITCH_PT / 72),
        left_in=_LEFT_IN,
        right_in=max(_RIGHT_IN, margin_in(labels)),
    )


def _draw(
    ax: Axes, *, lines: Sequence[Line], marks: Sequence[Mark], labelled: bool, x_name: str
) -> None:
    if not lines:
        draw_nothing(ax)
        return
    draw_lines(
        ax,
        lines,
        x_limits=(0.0, max(float(line.x[-1]) for line in lines)),  # games differ in length
        y_limits=y_limits(lines, marks),
        x_name=x_name,
        labelled=labelled,
        marks=marks,
    )
