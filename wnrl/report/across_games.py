"""The variants of a comparison over all of its games, in human-normalized scores.

Of games that have a human score and runs of every variant: an aggregate over other games for one
variant than for another would compare the games. What each number is stands in `wnrl.stats.scores`,
how
sure it is in `wnrl.stats.bootstrap`.

Dimension key: M games, n_m seeds of game m, K grid points, T thresholds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wnrl.report.comparison import (
    Aggregate,
    Curve,
    Game,
    Improvement,
    Total,
    Variant,
    plain_counterpart,
)
from wnrl.report.run_result import Result
from wnrl.stats.bootstrap import (
    improvement_interval,
    profile_bands,
    simulated_coverage,
    stratified_interval,
)
from wnrl.stats.human_scores import ATARI_5_WEIGHTS, atari_5, has_human_score, human_normalized
from wnrl.stats.intervals import verdict
from wnrl.stats.learning_curves import curve
from wnrl.stats.scores import Array, interquartile_mean, mean_score, median_score, optimality_gap

GRID_POINTS = 25  # of the IQM over training: each has a bootstrap of its own
CURVE_RESAMPLES = 2_000
THRESHOLDS = 101
# Profiles end at eight times a human's score, as in rliable's example for 200M frames: a game such
# as Breakout goes far beyond it and would leave the others a corner.
HIGHEST_THRESHOLD = 8.0
NARROWEST_THRESHOLDS = 0.1  # where no run does better than random play


def over_games(games: Sequence[Game], generator: np.random.Generator) -> Aggregate | None:
    """The variants that have runs, over the games that can be put together.

    Args:
        games: of a comparison.
        generator: draws the resamples and the simulated experiments.

    Returns:
        The aggregate; None where fewer than two games can be put together.
    """
    runs = {
        game.env: {scored.variant: scored.runs for scored in game.scored if scored.runs}
        for game in games
        if has_human_score(game.env)
    }
    variants = list(dict.fromkeys(variant for own in runs.values() for variant in own))
    envs = [env for env, own in runs.items() if own and own.keys() == set(variants)]
    if len(envs) < 2:
        return None
    runs_of = {variant: [runs[env][variant] for env in envs] for variant in variants}
    finals = {
        variant: [
            human_normalized(env, [run.final for run in own])
            for env, own in zip(envs, each, strict=True)
        ]
        for variant, each in runs_of.items()
    }  # variant -> M of (n_m,)
    thresholds = _thresholds(score for scores in finals.values() for score in scores)
    return Aggregate(
        games=tuple(envs),
        left_out=tuple(game.env for game in games if game.env not in envs),
        thresholds=thresholds,
        totals=tuple(
            _total(variant, envs, finals[variant], runs_of[variant], thresholds, generator)
            for variant in variants
        ),
        improvements=tuple(_improvements(finals, generator)),
        verdict=verdict(min(len(own) for each in runs_of.values() for own in each)),
    )


def _total(
    variant: Variant,
    envs: Sequence[str],
    finals: Sequence[Array],
    runs: Sequence[Sequence[Result]],
    thresholds: Array,
    generator: np.random.Generator,
) -> Total:
    """One variant.

    Args:
        variant: which.
        envs: M names.
        finals: M of (n_m,), human-normalized.
        runs: M of n_m.
        thresholds: (T,) of the profile.
        generator: draws.
    """
    five = None
    if ATARI_5_WEIGHTS.keys() <= set(envs):
        five = stratified_interval(
            [finals[envs.index(env)] for env in ATARI_5_WEIGHTS], atari_5, generator
        )
    return Total(
        variant=variant,
        iqm=stratified_interval(finals, interquartile_mean, generator),
        iqm_coverage=simulated_coverage(finals, interquartile_mean, generator),
        mean=stratified_interval(finals, mean_score, generator),
        median=stratified_interval(finals, median_score, generator),
        optimality_gap=stratified_interval(finals, optimality_gap, generator),
        optimality_gap_coverage=simulated_coverage(finals, optimality_gap, generator),
        profile=profile_bands(finals, thresholds, generator),
        atari_5=five,
        curve=_iqm_over_training(envs, runs, generator),
    )


def _improvements(
    finals: Mapping[Variant, Sequence[Array]], generator: np.random.Generator
) -> Iterable[Improvement]:
    """Each variant over the plain network with the same settings; without one, over the first."""
    for variant, scores in finals.items():
        worse = plain_counterpart(variant, finals) or next(iter(finals))
        if worse != variant:
            yield Improvement(
                variant, worse, improvement_interval(scores, finals[worse], generator)
            )


def _thresholds(scores: Iterable[Array]) -> Array:
    """(T,) from random play, or the lowest score below it, to the highest score."""
    together = np.concatenate(list(scores))
    highest = min(max(together.max(), NARROWEST_THRESHOLDS), HIGHEST_THRESHOLD)
    return np.linspace(min(together.min(), 0.0), highest, THRESHOLDS)


def _iqm_over_training(
    envs: Sequence[str], runs: Sequence[Sequence[Result]], generator: np.random.Generator
) -> Curve:
    """The IQM of the runs' curves at each grid point; NaN until each of them has begun."""
    total_steps = runs[0][0].config.run.steps  # of all: other lengths are not compared
    grid = total_steps * np.arange(1, GRID_POINTS + 1) / GRID_POINTS
    heights = [
        human_normalized(
            env,
            [curve(r.episode_steps, r.returns, grid, window_steps=r.window_steps) for r in own],
        )
        for env, own in zip(envs, runs, strict=True)
    ]  # M of (n_m, K)
    begun = ~np.isnan(np.concatenate(heights)).any(axis=0)  # (K,)
    seed = int(generator.integers(2**63))  # the same resamples at each point: bands that are smooth
    ends = np.full((3, GRID_POINTS), math.nan)
    for k in np.flatnonzero(begun):
        iqm = stratified_interval(
            [game[:, k] for game in heights],
            interquartile_mean,
            np.random.default_rng(seed),
            resamples=CURVE_RESAMPLES,
        )
        ends[:, k] = iqm.value, iqm.low, iqm.high
    return Curve(grid, *ends)
