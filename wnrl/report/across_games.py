"""Aggregation of a comparison over all of its games, in human-normalized scores.

Only games that have a human score and runs of every variant are used: otherwise variants would be
compared on different games. The statistics are in `wnrl.stats.scores`, their intervals in
`wnrl.stats.bootstrap`.

Dimension key: M games, n_m seeds of game m, K grid points, T thresholds.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wnrl.report.comparison import (
    Aggregate,
    Curve,
    Game,
    Improvement,
    Variant,
    VariantAggregate,
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
    finals: Sequence[Array]  # M of (n_m,) human-normalized final returns


def aggregate_games(games: Sequence[Game], generator: np.random.Generator) -> Aggregate | None:
    """Aggregate all variants that have runs over all games that allow it.

    Args:
        games: all games of a comparison.
        generator: draws the resamples and the simulated experiments.

    Returns:
        The aggregate; None with fewer than two usable games.
    """
    runs = {
        game.env: {scores.variant: scores.runs for scores in game.variants if scores.runs}
        for game in games
        if has_human_score(game.env)
    }
    variants = dict.fromkeys(variant for of_game in runs.values() for variant in of_game)
    envs = [env for env, of_game in runs.items() if of_game and of_game.keys() == variants.keys()]
    if len(envs) < 2:
        return None
    groups = {
        variant: _variant_runs(envs, [runs[env][variant] for env in envs]) for variant in variants
    }
    thresholds = _thresholds(finals for group in groups.values() for finals in group.finals)
    return Aggregate(
        games=tuple(envs),
        left_out=tuple(game.env for game in games if game.env not in envs),
        thresholds=thresholds,
        variants=tuple(
            _variant_aggregate(variant, envs, group, thresholds, generator)
            for variant, group in groups.items()
        ),
        improvements=tuple(_improvements(groups, generator)),
        fewest_seeds=min(len(finals) for group in groups.values() for finals in group.finals),
    )


def _variant_runs(envs: Sequence[str], runs: Sequence[Sequence[Result]]) -> _VariantRuns:
    finals = [
        human_normalized(env, [run.final for run in of_game])
        for env, of_game in zip(envs, runs, strict=True)
    ]
    return _VariantRuns(runs, finals)


def _variant_aggregate(
    variant: Variant,
    envs: Sequence[str],
    group: _VariantRuns,
    thresholds: Array,
    generator: np.random.Generator,
) -> VariantAggregate:
    """Compute all statistics of a variant over M `envs`; `thresholds` (T,) are the profile's."""
    finals = group.finals
    five_games = None
    if ATARI_5_WEIGHTS.keys() <= set(envs):
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
        curve=_iqm_over_training(envs, group.runs, generator),
    )


def _improvements(
    groups: Mapping[Variant, _VariantRuns], generator: np.random.Generator
) -> Iterator[Improvement]:
    """Compare each variant with its plain counterpart or, if there is none, with the first."""
    for variant, group in groups.items():
        worse = plain_counterpart(variant, groups) or next(iter(groups))
        if worse != variant:
            interval = improvement_interval(group.finals, groups[worse].finals, generator)
            yield Improvement(variant, worse, interval)


def _thresholds(finals: Iterable[Array]) -> Array:
    """Return (T,) from random play, or the lowest score if it is below, to the highest score."""
    scores = np.concatenate(list(finals))
    highest = min(max(scores.max(), NARROWEST_THRESHOLDS), HIGHEST_THRESHOLD)
    return np.linspace(min(scores.min(), 0.0), highest, THRESHOLDS)


def _iqm_over_training(
    envs: Sequence[str], runs: Sequence[Sequence[Result]], generator: np.random.Generator
) -> Curve:
    """Return the IQM of all learning curves; NaN until every run has ended an episode."""
    total_steps = runs[0][0].config.run.steps  # all runs that are compared have the same
    grid = total_steps * np.arange(1, GRID_POINTS + 1) / GRID_POINTS
    heights = [
        human_normalized(
            env,
            [curve(r.episode_steps, r.returns, grid, window_steps=r.window_steps) for r in of_game],
        )
        for env, of_game in zip(envs, runs, strict=True)
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
    return Curve(grid, *ends)
