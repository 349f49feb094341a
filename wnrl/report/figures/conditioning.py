"""The condition of the Gauss-Newton matrix during training, in runs that measured it."""

import numpy as np

from wnrl.report.comparison import Comparison, Game, VariantScores
from wnrl.report.figures.curves import lines_panel, panel_style
from wnrl.report.figures.layout import Layout, facts_text, in_rows
from wnrl.report.figures.lines import Line
from wnrl.report.figures.sheet import Sheet
from wnrl.report.figures.style import Look, looks
from wnrl.stats.intervals import t_interval

WHAT = (
    "Lines: mean over seeds of log10(largest / mean eigenvalue) of the Gauss-Newton matrix in w, "
    "on the batch of an update: 3 is a thousand. Bands: 95% intervals, Student's t over seeds."
)


def measured_games(comparison: Comparison) -> list[Game]:
    """Return the games in which a run measured its curvature."""
    return [
        game
        for game in comparison.games
        if any(len(run.conditions) for scores in game.variants for run in scores.runs)
    ]


def conditioning_sheet(comparison: Comparison, layout: Layout) -> Sheet:
    """Return a panel for each game with readings."""
    games = measured_games(comparison)
    look = looks(comparison)
    columns = layout.columns_of(len(games))
    style = panel_style(look, layout, columns)
    panels = [
        lines_panel(
            title=game.env,
            notes=("log10 of the condition",),
            warning="",
            lines=[
                line_of(scores, look[scores.variant])
                for scores in game.variants
                if any(len(run.conditions) for run in scores.runs)
            ],
            marks=[],
            style=style,
        )
        for game in games
    ]
    return Sheet(
        width_in=layout.width_in(columns),
        title=f"{comparison.title_of(games)}: conditioning during training",
        warning="",
        key=style.key,
        rows=in_rows(panels, columns),
        small_print=(WHAT, facts_text(comparison)),
    )


def line_of(scores: VariantScores, look: Look) -> Line:
    """Return the mean over the runs with readings, as far as all of them have some.

    The k-th readings of the runs are at the same update, and at about the same agent step.
    """
    runs = [run for run in scores.runs if len(run.conditions)]
    count = min(len(run.conditions) for run in runs)
    steps = np.mean([run.condition_steps[:count] for run in runs], axis=0)
    values = np.log10([run.conditions[:count] for run in runs])  # (S, K)
    found = [t_interval(values[:, k]) for k in range(count)]
    mean, low, high = (
        np.array([getattr(each, name) for each in found]) for name in ("value", "low", "high")
    )
    return Line(scores.variant.label, look, steps, mean, low, high)
