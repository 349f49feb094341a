"""Sentences about differences, made from verdicts alone: the same in every report.

Each says what the verdict is, the difference with its interval, the number of comparisons that the
p-value is adjusted for, and how many of the runs that were asked for it rests on.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wnrl.report.comparison import (
    Aggregate,
    Comparison,
    Contrast,
    FamilyError,
    Obstacle,
    OverallContrast,
    RunCounts,
)
from wnrl.report.number_format import (
    compact,
    counted,
    difference,
    listed,
    number,
    p_value,
)
from wnrl.report.verdicts.in_games import fewest_seeds
from wnrl.stats.intervals import INDICATIVE_SEEDS, Interval
from wnrl.stats.power import MOST_SEEDS
from wnrl.stats.verdict import Verdict

_MOST_UNDECIDED = 8  # sentences; more are counted, and their numbers are in the table
VERDICT_WORDS = {
    Verdict.BETTER: "better",
    Verdict.WORSE: "worse",
    Verdict.WITHIN_MARGIN: "no difference larger than the margin",
    Verdict.UNDECIDED: "undecided",
}


class Finding(NamedTuple):
    """One or more sentences about a subject."""

    subject: str  # a game, all games together, or the cost
    sentence: str


def game_findings(comparison: Comparison) -> Iterator[Finding]:
    """Yield a finding for each contrast of a comparison, claims first, and one for the areas."""
    ranked = sorted(comparison.contrasts, key=lambda x: x.verdict is Verdict.UNDECIDED)
    undecided = sum(x.verdict is Verdict.UNDECIDED for x in ranked)
    shown = ranked if undecided <= _MOST_UNDECIDED else ranked[: len(ranked) - undecided]
    for contrast in shown:
        differing = comparison.settings.differing.get(contrast.variant.label, "")
        yield Finding(contrast.env, contrast_sentence(contrast, differing))
    if len(shown) < len(ranked):
        yield Finding(
            "Undecided",
            f"{undecided} of {counted(len(ranked), 'comparison')} of final return are undecided; "
            "the table of differences has their numbers.",
        )
    if comparison.areas:
        yield Finding("Area under the curve (secondary)", _areas_sentence(comparison.areas))


def contrast_sentence(contrast: Contrast, differing: str = "") -> str:
    """Return the sentence of a contrast.

    Args:
        contrast: one comparison of final returns.
        differing: settings in which the two differ besides the normalization; may be empty.
    """
    sentence = f"{_contrast_sentence(contrast)}{_stages(contrast)}"
    if not differing:
        return sentence
    return (
        f"{sentence} The two also differ in {differing}, so this is not the effect of the "
        "normalization alone."
    )


def _contrast_sentence(contrast: Contrast) -> str:
    x, y = contrast.variant.label, contrast.baseline.label
    found = _difference(contrast.difference)
    interval, stages = ("95% interval", "")
    if contrast.stages is not None:
        interval, stages = ("95% interval over all stages", " and all stages")
    tested = (
        f"{interval}; p {_p(contrast.p)} adjusted for {counted(contrast.family, 'comparison')}"
        f"{stages}; {_runs(contrast.counts, contrast.baseline_counts)}"
    )
    match contrast.verdict:
        case Verdict.BETTER | Verdict.WORSE:
            word = VERDICT_WORDS[contrast.verdict]
            small = _smaller_than_margin(contrast)
            return f"{x} is {word} than {y}: final return {found} ({tested}).{small}"
        case Verdict.WITHIN_MARGIN:
            margin = compact(contrast.margin, significant=2)
            return (
                f"{x} and {y} do not differ by more than the margin of {margin}: final return "
                f"{found} ({tested})."
            )
        case Verdict.UNDECIDED:
            return _undecided(contrast, found, tested)


def _undecided(contrast: Contrast, found: str, tested: str) -> str:
    x, y = contrast.variant.label, contrast.baseline.label
    runs = _runs(contrast.counts, contrast.baseline_counts)
    match contrast.obstacle:
        case Obstacle.NO_RUNS:
            return f"No claim about {x} against {y}: no finished run of both ({runs})."
        case Obstacle.FEW_SEEDS:
            return (
                f"No claim about {x} against {y}: at least {INDICATIVE_SEEDS} finished runs of "
                f"each are needed ({runs})."
            )
        case Obstacle.NO_SPREAD:
            return (
                f"No claim about {x} against {y}: final return {found}, but all scores of each "
                "are equal and their episodes show no spread, so nothing tells how much other "
                f"seeds would differ ({runs})."
            )
        case Obstacle.LOST_RUNS:
            return (
                f"No claim about {x} against {y}: final return {found} among the finished runs "
                f"({tested}), but this does not hold if every lost run counts as the worst score "
                "seen in the game, untrained runs included."
            )
        case Obstacle.FAMILY if contrast.stages is not None:
            return (
                f"{x} against {y} is undecided: final return {found} ({tested}). With at most "
                f"{counted(contrast.stages.most_seeds, 'seed')} in stages for "
                f"{counted(contrast.family, 'comparison')}, no difference could be shown, however "
                "large; a new study needs more --max-seeds."
            )
        case Obstacle.FAMILY:
            return (
                f"{x} against {y} is undecided: final return {found} ({tested}). With so few seeds "
                f"for {counted(contrast.family, 'comparison')}, no difference could be shown, "
                f"however large; it takes at least {fewest_seeds(contrast.family)} seeds per "
                "variant."
            )
        case Obstacle.NONE:
            power = _power(contrast)
            return f"{x} against {y} is undecided: final return {found} ({tested}). {power}"


def _power(contrast: Contrast) -> str:
    """Return what the study could have found and how many seeds the observed difference needs."""
    detectable = compact(contrast.detectable, significant=2)
    if contrast.seeds_needed is None:
        needed = f"would need more than {MOST_SEEDS:,} seeds per variant"
    else:
        needed = f"would need about {contrast.seeds_needed:,} seeds per variant"
    if contrast.stages is None:
        study = "This study"
    else:
        study = f"With all {contrast.stages.most_seeds} seeds this study"
        needed = needed.replace("about", "at most about")
    return (
        f"{study} detects a difference of {detectable} with 80% power; the observed one {needed}."
    )


def _stages(contrast: Contrast) -> str:
    """Return the sentence about the seeds of a staged decision; empty without stages."""
    if contrast.stages is None:
        return ""
    seeds, most, final = contrast.stages
    if not final:
        return f" Its stages go on: so far they have {seeds} of at most {most} seeds of each."
    if contrast.verdict is not Verdict.UNDECIDED:
        return f" It was decided after {seeds} of at most {most} seeds of each."
    if seeds == most:
        return f" It ended after all {most} seeds of each."
    return f" It ended after {seeds} seeds of each, because {most} would hardly decide it either."


def _smaller_than_margin(contrast: Contrast) -> str:
    ends = (contrast.difference.low, contrast.difference.high)
    if not max(map(abs, ends)) < contrast.margin:
        return ""
    margin = compact(contrast.margin, significant=2)
    return f" The difference is smaller than the margin of {margin}."


def _areas_sentence(areas: Sequence[Contrast]) -> str:
    family = areas[0].family
    claims = [
        f"{x.variant.label} is {VERDICT_WORDS[x.verdict]} than {x.baseline.label} in {x.env}, "
        f"{_difference(x.difference)}"
        for x in areas
        if x.verdict in (Verdict.BETTER, Verdict.WORSE)
    ]
    if not claims:
        return f"No difference is shown ({counted(len(areas), 'comparison')})."
    adjusted = f"95% intervals; p adjusted for {counted(family, 'comparison')} of area"
    if len(claims) > _MOST_UNDECIDED:
        return f"{len(claims)} of {len(areas)} comparisons show a difference ({adjusted})."
    return f"{listed(claims)} ({adjusted})."


def overall_findings(aggregate: Aggregate) -> Iterator[Finding]:
    """Yield a finding for each contrast over games, and one about the error of their intervals."""
    games = counted(len(aggregate.games), "game")
    for contrast in aggregate.contrasts:
        yield Finding(f"{games} together", _overall_sentence(contrast))
    if aggregate.iqm_error is not None:
        yield Finding(f"Intervals over {games}", error_sentence(aggregate))


def _overall_sentence(contrast: OverallContrast) -> str:
    x, y = contrast.variant.label, contrast.baseline.label
    if contrast.obstacle is Obstacle.FEW_SEEDS:
        return (
            f"No claim about {x} against {y}: at least {INDICATIVE_SEEDS} finished runs of each "
            "variant in each game are needed."
        )
    numbers = (
        f"normalized interquartile mean {_difference(contrast.iqm)}, optimality gap "
        f"{_difference(contrast.optimality_gap)}, probability of improvement "
        f"{_probability(contrast.improvement)}"
    )
    match contrast.verdict:
        case Verdict.BETTER | Verdict.WORSE:
            return f"{x} is {VERDICT_WORDS[contrast.verdict]} than {y}: {numbers}."
        case Verdict.WITHIN_MARGIN:
            margin = compact(contrast.margin, significant=2)
            return f"{x} and {y} do not differ by more than the margin of {margin}: {numbers}."
        case Verdict.UNDECIDED:
            pass
    if contrast.obstacle is Obstacle.LOST_RUNS:
        return (
            f"No claim about {x} against {y}: {numbers} among the finished runs, but the verdict "
            "does not hold if every lost run counts as the worst score seen in its game, untrained "
            "runs included."
        )
    if contrast.obstacle is Obstacle.NO_SPREAD:
        return f"No claim about {x} against {y}: {numbers}, without any spread over seeds."
    return f"{x} against {y} is undecided: {numbers}."


def error_sentence(aggregate: Aggregate) -> str:
    """Return how often such intervals name a difference that does not exist."""
    together = len(aggregate.contrasts)
    error = aggregate.iqm_error or FamilyError(math.nan, math.nan, math.nan)
    return (
        f"95% intervals that hold for {counted(together, 'comparison')} together. In simulated "
        "studies of this shape (games, seeds, spread) in which all variants are equal, bootstrap "
        f"intervals of the interquartile mean name a difference in up to {error.bootstrap:.0%}; "
        f"these are {error.widened:.2f} times as wide and do so in {error.error:.0%}."
    )


def _difference(interval: Interval) -> str:
    return difference(interval.value, interval.low, interval.high)


def _probability(interval: Interval) -> str:
    low, high = number(interval.low, 2), number(interval.high, 2)
    return f"{number(interval.value, 2)} [{low}, {high}]"


def _p(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _runs(one: RunCounts, other: RunCounts) -> str:
    """Return `5 of 5 runs against 3 of 5 (2 diverged)`."""
    first, second = runs_text(one), runs_text(other)
    head, space, tail = first.partition(" (")
    return f"{head} runs{space}{tail} against {second}"


def runs_text(counts: RunCounts) -> str:
    """Return `5 of 5`, or `2 of 5 (1 failed, 2 diverged)`."""
    lost = counts.lost._asdict()
    named = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in lost.items() if n)
    text = f"{counts.finished} of {counts.asked}"
    return f"{text} ({named})" if named else text
