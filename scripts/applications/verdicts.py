"""The judgement of a study: differences to the baseline with the report's statistics and verdicts.

Losses are compared by their logarithms, so a difference is a ratio. All comparisons of one measure
are a family: p-values are adjusted for it (Holm), and simultaneous intervals hold for all of it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from study import Row, Run, Variant

from wnrl.report.verdicts.sentences import VERDICT_WORDS
from wnrl.stats.difference import Difference, welch
from wnrl.stats.intervals import group
from wnrl.stats.verdict import LEVEL, judge

Runs = Mapping[Variant, Sequence[Run]]


class Measure(NamedTuple):
    """A number of a run of which less is better."""

    name: str  # column of the table
    of: Callable[[Run], float]
    margin: float  # a smaller difference does not matter; a share of the baseline for ratios
    ratio: bool = True  # compared as a ratio


def measures(runs: Runs, held_out: Sequence[Measure]) -> list[Measure]:
    """Return what is judged: training loss by steps, by CPU time and at the end, and other data."""
    shared_s = min(run.cpu_s[-1] for of_variant in runs.values() for run in of_variant)
    return [
        Measure("mean_loss_by_steps", lambda run: run.mean_loss, 0.1),
        Measure("mean_loss_by_cpu_time", lambda run: run.mean_loss_until(shared_s), 0.1),
        Measure("last_loss", lambda run: run.last_loss, 0.1),
        *held_out,
    ]


def verdict_rows(runs: Runs, held_out: Sequence[Measure]) -> Iterator[Row]:
    """Yield a row for each measure and each pair of variants.

    Every variant is compared with the first. A normalization with data-dependent initialization is
    also compared with the same one without it, and with the first variant's so initialized.
    """
    first = next(iter(runs))
    pairs = [(variant, first) for variant in runs if variant != first]
    for variant in runs:
        if variant.data_init and variant.norm != first.norm:
            others = Variant(variant.norm), Variant(first.norm, data_init=True)
            pairs += [(variant, other) for other in others if other in runs]
    for measure in measures(runs, held_out):
        yield from _family(runs, pairs, measure)


def _family(
    runs: Runs, pairs: Sequence[tuple[Variant, Variant]], measure: Measure
) -> Iterator[Row]:
    scale = math.log if measure.ratio else float
    margin = math.log1p(measure.margin) if measure.ratio else measure.margin
    groups = {
        variant: group([scale(measure.of(run)) for run in of]) for variant, of in runs.items()
    }
    found = [welch(groups[one], groups[other]) for one, other in pairs]
    gains = [(replace(each, value=-each.value), margin) for each in found]  # less is better
    for (one, other), each, judged in zip(pairs, found, judge(gains), strict=True):
        yield {
            "measure": measure.name,
            "variant": one.name,
            "compared_with": other.name,
            "mean": _number(float(np.mean([measure.of(run) for run in runs[one]]))),
            "compared_with_mean": _number(float(np.mean([measure.of(run) for run in runs[other]]))),
            "unit": "ratio" if measure.ratio else "difference",
            **_ends(each, measure.ratio, len(pairs)),
            "p_adjusted": _number(judged.p),
            "comparisons": len(pairs),
            "margin": measure.margin,
            "verdict": VERDICT_WORDS[judged.verdict],
        }


def _ends(found: Difference, ratio: bool, comparisons: int) -> Row:
    """Return the difference, or the ratio, with its 95% intervals, alone and simultaneous."""
    own, together = found.interval(), found.interval(1 - LEVEL / comparisons)
    back = math.exp if ratio else float
    return {
        "value": _number(back(own.value)),
        "low": _number(back(own.low)),
        "high": _number(back(own.high)),
        "simultaneous_low": _number(back(together.low)),
        "simultaneous_high": _number(back(together.high)),
    }


def _number(value: float) -> float:
    return float(f"{value:.4g}")
