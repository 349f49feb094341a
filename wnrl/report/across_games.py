"""Aggregation of a comparison over all of its games, in normalized scores.

0 is random play and 1 is a human's score, in MinAtar DQN's, or the baseline's where neither is
published. Only games with such a scale and with runs of every variant are used: otherwise variants
would be compared on different games. The statistics are in `wnrl.stats.scores`, their intervals in
`wnrl.stats.bootstrap`.

Dimension key: M games, n_m seeds of game m, K grid points, T thresholds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from wnrl.report.comparison import (
    Aggregate,
    Curve,
    Game,
    Question,
    Variant,
    VariantAggregate,
)
from wnrl.report.run_result import Result
from wnrl.report.verdicts.over_games import over_games
from wnrl.report.verdicts.scale import Scale, scale_of
from wnrl.stats.bootstrap import profile_bands, simulated_coverage, stratified_interval
from wnrl.stats.human_scores import ATARI_5_WEIGHTS, atari_5
from wnrl.stats.learning_curves import curve
from wnrl.stats.scores import Array, interquartile_mean, mean_score, median_score, optimality_gap

GRID_POINTS = 25  # points of the IQM over training; each has its own bootstrap
CURVE_RESAMPLES = 2_000
THRESHOLDS = 101
# Profiles end at eight times a human's score, as in rliable's example for 200M frames. Games such
# as Breakout go far beyond it and would squeeze all others into a corner.
HIGHEST_THRESHOLD = 8.0
NARROWEST_THRESHOLDS = 0.1  # range of thresholds if no run does better than random play


@dataclass(frozen=True)
class _VariantRuns:
    """The runs of a variant in the games that are aggregated, in the order of these games."""

    runs: Sequence[Sequence[Result]]  # M of n_m
    finals: Sequence[Array]  # M of (n_m,) normalized final returns


def aggregate_games(
    games: Sequence[Game],
    pairs: Sequence[tuple[Variant, Variant]],
    results: Sequence[Result],
    question: Question,
    generator: np.random.Generator,
) -> Aggregate | None:
    """Aggregate all variants that have runs over all games that allow it.

    Args:
        games: all games of a comparison.
        pairs: variants and what they are compared with.
        results: all runs, finished or not.
        question: the baseline and the margin.
        generator: draws the resamples and the simulated experiments.

    Returns:
        The aggregate; None with fewer than two usable games.
    """
    scales = _scales(games, results, question)
    runs = {
        game.env: {scores.variant: scores.runs for scores in game.variants if scores.runs}
        for game in games
        if game.env in scales
    }
    variants = dict.fromkeys(variant for of_game in runs.values() for variant in of_game)
    envs = [env for env, of_game in runs.items() if of_game and of_game.keys() == variants.keys()]
    if len(envs) < 2:
        return None
    used = [scales[env] for env in envs]
    groups = {
        variant: _variant_runs(used, [runs[env][variant] for env in envs]) for variant in variants
    }
    thresholds = _thresholds(finals for group in groups.values() for finals in group.finals)
    unpublished = tuple(game.env for game in games if game.env in envs and game.levels is None)
    five_games = ATARI_5_WEIGHTS.keys() <= set(envs) - set(unpublished)
    found = over_games(games, {env: scales[env] for env in envs}, pairs, question, generator)
    return Aggregate(
        games=tuple(envs),
        left_out=tuple(game.env for game in games if game.env not in envs),
        thresholds=thresholds,
        variants=tuple(
            _variant_aggregate(
                variant, used, envs if five_games else (), group, thresholds, generator
            )
            for variant, group in groups.items()
        ),
        fewest_seeds=min(len(finals) for group in groups.values() for finals in group.finals),
        contrasts=found.contrasts,
        iqm_error=found.iqm_error,
        optimality_gap_error=found.optimality_gap_error,
        baseline_normalized=unpublished,
    )


def _scales(
    games: Sequence[Game], results: Sequence[Result], question: Question
) -> dict[str, Scale]:
    """Return the scales of the games that have one."""
    scales = {}
    for game in games:
        in_game = [result for result in results if result.config.run.env == game.env]
        plain = [x for x in game.variants if x.variant.norm == question.baseline] or game.variants
        scale = scale_of(game.env, in_game, [run for scores in plain for run in scores.runs])
        if scale is not None:
            scales[game.env] = scale
    return scales


def _variant_runs(scales: Sequence[Scale], runs: Sequence[Sequence[Result]]) -> _VariantRuns:
    finals = [
        scale.normalized([run.final for run in of_game])
        for scale, of_game in zip(scales, runs, strict=True)
    ]
    return _VariantRuns(runs, finals)


def _variant_aggregate(
    variant: Variant,
    scales: Sequence[Scale],
    envs: Sequence[str],
    group: _VariantRuns,
    thresholds: Array,
    generator: np.random.Generator,
) -> VariantAggregate:
    """Compute all statistics of a variant over M games.

    Args:
        variant: the variant.
        scales: of the M games.
        envs: the M games if the Atari-5 estimate can be made from them, else empty.
        group: its runs.
        thresholds: (T,) of the profile.
        generator: draws the resamples.
    """
    finals = group.finals
    five_games = None
    if envs:
        five_games = stratified_interval(
            [finals[envs.index(env)] for env in ATARI_5_WEIGHTS], atari_5, generator
        )
    return VariantAggregate(
        variant=variant,
        iqm=stratified_interval(finals, interquartile_mean, generator),
        iqm_coverage=simulated_coverage(finals, interquartile_mean, generator),
        mean=stratified_interval(finals, mean_score, generator),
        median=stratified_interval(finals, median_score, generator),
        optimality_gap=stratified_interval(finals, optimality_gap, generator),
        optimality_gap_coverage=simulated_coverage(finals, optimality_gap, generator),
        profile=profile_bands(finals, thresholds, generator),
        atari_5=five_games,
        curve=_iqm_over_training(scales, group.runs, generator),
    )


def _thresholds(finals: Iterable[Array]) -> Array:
    """Return (T,) from random play, or the lowest score if it is below, to the highest score."""
    scores = np.concatenate(list(finals))
    highest = min(max(scores.max(), NARROWEST_THRESHOLDS), HIGHEST_THRESHOLD)
    return np.linspace(min(scores.min(), 0.0), highest, THRESHOLDS)


def _iqm_over_training(
    scales: Sequence[Scale], runs: Sequence[Sequence[Result]], generator: np.random.Generator
) -> Curve:
    """Return the IQM of all learning curves; NaN until every run has ended an episode.

    If games differ in length, the points are in percent of each game's agent steps.
    """
    shares = np.arange(1, GRID_POINTS + 1) / GRID_POINTS
    lengths = {run.config.run.steps for of_game in runs for run in of_game}
    heights = [
        scale.normalized(
            [
                curve(
                    run.episode_steps,
                    run.returns,
                    run.config.run.steps * shares,
                    window_steps=run.window_steps,
                )
                for run in of_game
            ]
        )
        for scale, of_game in zip(scales, runs, strict=True)
    ]  # M of (n_m, K)
    known = ~np.isnan(np.concatenate(heights)).any(axis=0)  # (K,)
    seed = int(generator.integers(2**63))  # equal resamples at every point give smooth bands
    ends = np.full((3, GRID_POINTS), math.nan)
    for k in np.flatnonzero(known):
        iqm = stratified_interval(
            [game[:, k] for game in heights],
            interquartile_mean,
            np.random.default_rng(seed),
            resamples=CURVE_RESAMPLES,
        )
        ends[:, k] = iqm.value, iqm.low, iqm.high
    return Curve((lengths.pop() if len(lengths) == 1 else 100) * shares, *ends)
