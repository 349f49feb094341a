"""Comparisons of any size with made-up scores, for tests of figures and pages."""

import math
from collections.abc import Sequence

import numpy as np
from made_results import made_result

from wnrl.envs.protocols import CUSTOM
from wnrl.report.comparison import (
    DEFAULT_QUESTION,
    Aggregate,
    Comparison,
    Cost,
    Curve,
    Game,
    Obstacle,
    OverallContrast,
    Variant,
    VariantAggregate,
    VariantScores,
)
from wnrl.report.verdicts.in_games import FINAL, contrasts
from wnrl.report.verdicts.pairs import pairs_of
from wnrl.stats.bootstrap import Bands, Coverage
from wnrl.stats.intervals import Interval, t_interval
from wnrl.stats.reference_scores import Reference
from wnrl.stats.verdict import Verdict

COMMIT = "3f2a9c1d5e7b8a6f4c3d2e1f0a9b8c7d6e5f4a3b"
NORMS = ("none", "weight", "layer", "batch")


def curve(finals: Sequence[float], steps: int, points: int = 60, *, band: float = 1.0) -> Curve:
    """Return a curve that rises to the mean of these finals, with their interval at its end."""
    x = np.linspace(0, steps, points + 1)[1:]
    rise = 1 / (1 + np.exp(-8 * (x / steps - 0.5)))
    rise += 0.02 * np.sin(37 * x / steps + sum(finals))
    interval = t_interval(finals)
    mean = interval.value * rise
    half = band * (interval.high - interval.value) * rise
    mean[:2] = math.nan
    return Curve(x, mean, mean - half, mean + half)


def scored(variant: Variant, finals: Sequence[float], steps: int) -> VariantScores:
    if not finals:
        return VariantScores(variant, (), None, None, None, None, None, None)
    interval = t_interval(finals)
    runs = tuple(made_result([final]) for final in finals)
    drawn = curve(finals, steps)
    return VariantScores(
        variant, runs, interval, interval, None, None, drawn, Cost(0.1, 1.0, 900.0)
    )


def made(
    *,
    envs: Sequence[str] = ("CartPole-v1",),
    norms: Sequence[str] = NORMS,
    values: Sequence[tuple[str, ...]] = ((),),
    swept: tuple[str, ...] = (),
    seeds: int = 5,
    steps: int = 10_000,
    protocol: str = "-",
    scale: float = 400.0,
    spread: float = 0.05,
    references: Sequence[Reference] = (),
    together: bool = False,
) -> Comparison:
    """Return a comparison in which every variant has runs, with scores drawn from a fixed seed."""
    generator = np.random.default_rng(7)
    variants = [Variant(norm, value) for value in values for norm in norms]
    games = []
    for number, env in enumerate(envs):
        drawn = []
        for variant in variants:
            level = scale * (1 + number) * generator.uniform(0.5, 1.0)
            finals = generator.normal(level, spread * abs(level), seeds).tolist()
            drawn.append(scored(variant, finals, steps))
        games.append(
            Game(
                env,
                protocol,
                steps,
                tuple(drawn),
                tuple(references),
                custom=protocol == CUSTOM,
            )
        )
    facts = {
        "agent": "dqn",
        "protocol": protocol,
        "agent steps": f"{steps:,}",
        "settings": "--torch-threads 1 --eval-every 100000",
        "commit": COMMIT,
        "versions": "wnrl 0.1.0 torch 2.9.1 ale-py 0.12.1 gymnasium 1.2.0",
        "seeds": f"{seeds}",
    }
    aggregate = aggregated(variants, tuple(envs), seeds, steps) if together else None
    results = [run for game in games for scores in game.variants for run in scores.runs]
    pairs, all_pairs = pairs_of(variants, "none")
    return Comparison(
        "dqn",
        swept,
        tuple(games),
        aggregate,
        facts,
        {},
        all_pairs=all_pairs,
        contrasts=contrasts(games, pairs, results, FINAL, DEFAULT_QUESTION),
    )


def aggregated(
    variants: Sequence[Variant], games: tuple[str, ...], seeds: int, steps: int
) -> Aggregate:
    generator = np.random.default_rng(8)
    thresholds = np.linspace(0, 4, 81)
    aggregates = []
    for variant in variants:
        level = generator.uniform(0.5, 1.5)
        profile = np.exp(-thresholds / level)

        def about(value: float) -> Interval:
            return Interval(value, 0.85 * value, 1.15 * value)

        aggregates.append(
            VariantAggregate(
                variant=variant,
                iqm=about(level),
                iqm_coverage=Coverage(0.80 + 0.05 * level, 0.02),
                mean=about(1.6 * level),
                median=about(0.8 * level),
                optimality_gap=about(0.5 / level),
                optimality_gap_coverage=Coverage(0.90, 0.02),
                profile=Bands(profile, 0.9 * profile, np.minimum(1, 1.1 * profile)),
                atari_5=about(0.7 * level) if len(games) > 4 else None,
                curve=curve([level, 1.1 * level, 0.9 * level], steps),
            )
        )
    overall = tuple(
        OverallContrast(
            variant=better,
            baseline=variants[0],
            iqm=Interval(0.1 * i, 0.1 * i - 0.2, 0.1 * i + 0.2),
            optimality_gap=Interval(-0.1, -0.2, 0.0),
            improvement=Interval(0.5 + 0.06 * i, 0.4 + 0.05 * i, 0.7 + 0.03 * i),
            margin=0.1,
            verdict=Verdict.UNDECIDED,
            obstacle=Obstacle.NONE,
        )
        for i, better in enumerate(variants[1:5], start=1)
    )
    return Aggregate(games, (), thresholds, tuple(aggregates), seeds, overall)
