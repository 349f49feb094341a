"""What a normalization costs, told only where the runs did not slow each other down."""

import dataclasses
import enum
import math
from collections.abc import Iterator, Sequence

import numpy as np

from wnrl.report.comparison import Comparison, Game, VariantScores, cost_baseline, machines
from wnrl.report.number_format import compact, decimals, listed, number
from wnrl.stats.intervals import INDICATIVE_SEEDS, t_interval

_STEADY = 1.5  # most that an update of the same network differs between seeds when undisturbed


class Disturbance(enum.Enum):
    """A reason why the times of runs are not those of their networks alone."""

    NONE = ""
    UNKNOWN = "it is not recorded how many runs trained at a time"
    PARALLEL = "runs trained in parallel and competed for the CPU"
    MACHINES = "the runs used different machines or numbers of threads"
    LOAD = "runs of the same network differ in speed, so other work on the machine slowed some"


def disturbance(comparison: Comparison, at_a_time: int) -> Disturbance:
    """Return why times cannot be compared.

    Args:
        comparison: of the runs.
        at_a_time: the most runs that trained at a time; 0 if unknown.
    """
    if len(machines(scores for game in comparison.games for scores in game.variants)) > 1:
        return Disturbance.MACHINES
    if at_a_time == 0:
        return Disturbance.UNKNOWN
    if at_a_time > 1:
        return Disturbance.PARALLEL
    times = (_update_times(x) for game in comparison.games for x in game.variants)
    steady = all(max(known) <= _STEADY * min(known) for known in times if known)
    return Disturbance.NONE if steady else Disturbance.LOAD


def _update_times(scores: VariantScores) -> list[float]:
    return [run.update_ms for run in scores.runs if run.update_ms is not None]


def with_cost(comparison: Comparison, at_a_time: int) -> Comparison:
    """Return a comparison with a sentence about costs, and without times that were disturbed."""
    reason = disturbance(comparison, at_a_time)
    if reason is Disturbance.NONE:
        return dataclasses.replace(comparison, cost=_ratios_sentence(comparison.games))
    games = tuple(
        dataclasses.replace(
            game, variants=tuple(dataclasses.replace(x, cost=None) for x in game.variants)
        )
        for game in comparison.games
    )
    sentence = (
        f"Not measured: {reason.value}. To measure it, train with --jobs 1 in a new folder, on one "
        "machine that does nothing else."
    )
    return dataclasses.replace(comparison, games=games, cost=sentence)


def _ratios_sentence(games: Sequence[Game]) -> str:
    """Compare the time of an update with that of none; empty without measurements."""
    ratios: dict[str, list[float]] = {}
    for game in games:
        for scores in game.variants:
            for ratio in _update_ratios(scores, game):
                ratios.setdefault(scores.variant.norm, []).append(ratio)
    if not ratios:
        return ""
    each = [f"{_ratio(values)} times as long with {norm}" for norm, values in ratios.items()]
    return (
        f"Relative to none with the same seed, an update takes {listed(each)} "
        "(geometric mean over runs that trained one at a time, 95% interval)."
    )


def _update_ratios(scores: VariantScores, game: Game) -> Iterator[float]:
    plain = cost_baseline(scores, game)
    if plain is None:
        return
    plain_ms = {run.config.run.seed: run.update_ms for run in plain.runs}
    for run in scores.runs:
        reference_ms = plain_ms.get(run.config.run.seed)
        if run.update_ms is not None and reference_ms is not None:
            yield run.update_ms / reference_ms


def _ratio(values: Sequence[float]) -> str:
    """Return `1.31 [1.25, 1.38]`; without the interval if runs are too few."""
    logs = t_interval(np.log(values).tolist())
    if len(values) < INDICATIVE_SEEDS or not logs.bounded:
        return compact(math.exp(logs.value), significant=2)
    value, low, high = np.exp([logs.value, logs.low, logs.high]).tolist()
    digits = min(3, max(1, decimals([(high - low) / 2], significant=2)))
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"
