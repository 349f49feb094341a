"""verdicts.csv and curves.csv: the numbers behind the verdicts and the curves, for programs."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wnrl.report.comparison import (
    Comparison,
    Contrast,
    Curve,
    Obstacle,
    Variant,
    VariantScores,
)
from wnrl.report.data.csv_text import csv_text, known
from wnrl.stats.intervals import Interval

Row = Mapping[str, Any]

_OF_VERDICTS = (
    "verdict",
    "obstacle",
    "mean",
    "baseline_mean",
    "difference",
    "low",
    "high",
    "simultaneous_low",
    "simultaneous_high",
    "hedges_g",
    "p_adjusted",
    "equivalence_p_adjusted",
    "comparisons",
    "margin",
    "runs",
    "runs_asked",
    "baseline_runs",
    "baseline_runs_asked",
    "decided_on_seeds",
)
_OF_CURVES = ("agent_step", "mean", "low", "high", "seeds")


def verdicts_csv(comparison: Comparison) -> str:
    """Return one row for each comparison of two variants in a game, on each measure, as CSV.

    What is not known is empty. `norm` and the swept settings name the variant as in scores.csv.
    `low` and `high` are the ends of the difference's own 95% interval; `simultaneous_low` and
    `simultaneous_high` hold together with those of all comparisons. Means, differences and the
    margin are in the unit of the measure. If seeds were added in stages, there are no rows of area,
    and difference, intervals and p are those of the newest decision, on so many seeds.
    """
    return csv_text(
        ("measure", "env", *_names(comparison), "baseline", *_OF_VERDICTS),
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
        tested = not math.isnan(each.p)
        yield {
            "measure": measure,
            "env": each.env,
            **_name(comparison, each.variant),
            "baseline": each.baseline.label,
            "verdict": each.verdict.name.lower(),
            "obstacle": "" if each.obstacle is Obstacle.NONE else each.obstacle.name.lower(),
            "comparisons": each.family if tested else "",
            "runs": each.counts.finished,
            "runs_asked": each.counts.asked,
            "baseline_runs": each.baseline_counts.finished,
            "baseline_runs_asked": each.baseline_counts.asked,
            "decided_on_seeds": "" if each.stages is None else each.stages.seeds,
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
                    "equivalence_p_adjusted": each.equivalence_p,
                    "margin": each.margin,
                }
            ),
        }


def curves_csv(comparison: Comparison) -> str:
    """Return the points of the learning curves as CSV, from where every run has ended an episode.

    `mean` is over seeds, `low` and `high` are the ends of its 95% interval.
    """
    return csv_text(
        ("env", *_names(comparison), *_OF_CURVES),
        (
            {"env": game.env, **_name(comparison, scores.variant), **point}
            for game in comparison.games
            for scores in game.variants
            if scores.curve is not None
            for point in _points(scores.curve)
        ),
    )


def _names(comparison: Comparison) -> tuple[str, ...]:
    return ("variant", "norm", *comparison.swept)


def _name(comparison: Comparison, variant: Variant) -> Row:
    values = dict(zip(comparison.swept, variant.values, strict=True))
    return {"variant": variant.label, "norm": variant.norm, **values}


def _points(curve: Curve) -> Iterator[Row]:
    for k, step in enumerate(curve.steps):
        if not math.isnan(curve.mean[k]):
            yield {
                "agent_step": round(step),
                "seeds": len(curve.seeds),
                **known({"mean": curve.mean[k], "low": curve.low[k], "high": curve.high[k]}),
            }
