"""verdicts.csv and curves.csv: the numbers behind the verdicts and the curves, for programs."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wnrl.report.comparison import Comparison, Contrast, Curve, VariantScores
from wnrl.report.data.csv_text import csv_text, known
from wnrl.stats.intervals import Interval

Row = Mapping[str, Any]

_VERDICT_COLUMNS = (
    "measure",
    "env",
    "variant",
    "baseline",
    "verdict",
    "mean",
    "baseline_mean",
    "difference",
    "low",
    "high",
    "simultaneous_low",
    "simultaneous_high",
    "hedges_g",
    "p_adjusted",
    "comparisons",
    "margin",
    "runs",
    "runs_asked",
    "baseline_runs",
    "baseline_runs_asked",
)
_CURVE_COLUMNS = ("env", "variant", "agent_step", "mean", "low", "high", "seeds")


def verdicts_csv(comparison: Comparison) -> str:
    """Return one row for each comparison of two variants in a game, on each measure, as CSV.

    `low` and `high` are the ends of the difference's own 95% interval; `simultaneous_low` and
    `simultaneous_high` hold together with those of all comparisons. `mean` and `margin` are in the
    unit of the measure, which is that of the column of the same name in scores.csv.
    """
    return csv_text(
        _VERDICT_COLUMNS,
        (
            *_contrasts(comparison, comparison.contrasts, "final_return", lambda x: x.final),
            *_contrasts(comparison, comparison.areas, "area_under_curve", lambda x: x.area),
        ),
    )


def _contrasts(
    comparison: Comparison,
    contrasts: tuple[Contrast, ...],
    measure: str,
    interval: Callable[[VariantScores], Interval | None],
) -> Iterator[Row]:
    means = {
        (game.env, scores.variant): found.value
        for game in comparison.games
        for scores in game.variants
        if (found := interval(scores)) is not None
    }
    for each in contrasts:
        yield {
            "measure": measure,
            "env": each.env,
            "variant": each.variant.label,
            "baseline": each.baseline.label,
            "verdict": each.verdict.name.lower(),
            "comparisons": each.family,
            "runs": each.counts.finished,
            "runs_asked": each.counts.asked,
            "baseline_runs": each.baseline_counts.finished,
            "baseline_runs_asked": each.baseline_counts.asked,
            **known(
                {
                    "mean": means.get((each.env, each.variant)),
                    "baseline_mean": means.get((each.env, each.baseline)),
                    "difference": each.difference.value,
                    "low": each.difference.low,
                    "high": each.difference.high,
                    "simultaneous_low": each.simultaneous.low,
                    "simultaneous_high": each.simultaneous.high,
                    "hedges_g": each.effect.value,
                    "p_adjusted": each.p,
                    "margin": each.margin,
                }
            ),
        }


def curves_csv(comparison: Comparison) -> str:
    """Return the points of the learning curves as CSV, from where every run has ended an episode.

    `mean` is over seeds, `low` and `high` are the ends of its 95% interval.
    """
    return csv_text(
        _CURVE_COLUMNS,
        (
            row
            for game in comparison.games
            for scores in game.variants
            if scores.curve is not None
            for row in _points(game.env, scores.variant.label, scores.curve)
        ),
    )


def _points(env: str, variant: str, curve: Curve) -> Iterator[Row]:
    for k, step in enumerate(curve.steps):
        if not math.isnan(curve.mean[k]):
            yield {
                "env": env,
                "variant": variant,
                "agent_step": round(step),
                "seeds": len(curve.seeds),
                **known({"mean": curve.mean[k], "low": curve.low[k], "high": curve.high[k]}),
            }
