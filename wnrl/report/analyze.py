"""From the results of runs to what they say together: per game here, over games `across_games`.

Nothing here reads files or formats. Intervals of one game are Student's t over seeds.

Dimension key: S seeds, K grid points.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wnrl._settings import flag_name
from wnrl.envs.protocols import PROTOCOLS
from wnrl.report.across_games import over_games
from wnrl.report.comparable import compared
from wnrl.report.comparison import Comparison, Cost, Curve, Game, Scored, Variant, variant_of
from wnrl.report.run_result import Result
from wnrl.stats.intervals import t_interval, verdict
from wnrl.stats.learning_curves import curve
from wnrl.stats.reference_scores import Reference, reference_scores

GRID_POINTS = 100  # of a learning curve
_VERSIONS = ("wnrl", "torch", "ale-py", "gymnasium")


def compared_runs(
    results: Sequence[Result],
    planned: Sequence[tuple[str, Variant]],
    problems: Mapping[str, str],
    swept: Sequence[str],
    generator: np.random.Generator,
) -> Comparison:
    """What runs say together. The same arguments give the same numbers.

    Args:
        results: all runs that are there; scores are of those that are done and have one.
        planned: environment and variant of what was asked for, in that order; one without a run
            has no score.
        problems: runs by name that are missing or not done, and why.
        swept: settings that were varied beside environment, normalization and seed.
        generator: draws the resamples of the intervals over games.
    """
    runs: dict[str, dict[Variant, list[Result]]] = {}
    for env, variant in planned:
        runs.setdefault(env, {})[variant] = []
    for result in results:
        variant = variant_of(compared(result.config, swept), swept)
        own = runs.setdefault(result.config.run.env, {}).setdefault(variant, [])
        if result.done and not math.isnan(result.final):
            own.append(result)
    games = [_game(env, own, results) for env, own in runs.items()]
    return Comparison(
        agent=_each(result.config.run.agent for result in results),
        swept=tuple(swept),
        games=tuple(games),
        aggregate=over_games(games, generator),
        facts=_facts(results, games),
        problems=dict(problems),
    )


def _game(env: str, runs: Mapping[Variant, Sequence[Result]], results: Sequence[Result]) -> Game:
    there = [result for result in results if result.config.run.env == env]
    protocol = _each(result.protocol for result in there)
    agent = _each(result.config.run.agent for result in there)
    total_steps = max((result.config.run.steps for result in there), default=0)
    references: tuple[Reference, ...] = ()
    if protocol in PROTOCOLS:  # not so where it was swept: a published score is of one
        frames = total_steps * PROTOCOLS[protocol].frameskip_frames
        references = reference_scores(env, agent=agent, protocol=protocol, frames=frames)
    return Game(
        env=env,
        protocol=protocol,
        total_steps=total_steps,
        scored=tuple(_scored(variant, own, total_steps) for variant, own in runs.items()),
        verdict=verdict(min(len(own) for own in runs.values())),
        references=references,
    )


def _scored(variant: Variant, runs: Sequence[Result], total_steps: int) -> Scored:
    if not runs:
        return Scored(variant, (), None, None, None, None, None, None)
    return Scored(
        variant=variant,
        runs=tuple(runs),
        final=t_interval([run.final for run in runs]),
        area=t_interval([run.area for run in runs]),
        best_evaluation=_mean_of_all([run.best_evaluation for run in runs]),
        mean_evaluation=_mean_of_all([run.mean_evaluation for run in runs]),
        curve=_mean_curve(runs, total_steps),
        cost=Cost(
            act_ms=_median_of_known([run.act_ms for run in runs]),
            update_ms=_median_of_known([run.update_ms for run in runs]),
            steps_per_s=_median_of_known([run.steps_per_s for run in runs]),
        ),
    )


def _mean_curve(runs: Sequence[Result], total_steps: int) -> Curve:
    grid = total_steps * np.arange(1, GRID_POINTS + 1) / GRID_POINTS
    heights = np.stack(
        [curve(r.episode_steps, r.returns, grid, window_steps=r.window_steps) for r in runs]
    )  # (S, K)
    ends = np.full((3, GRID_POINTS), math.nan)
    for k in np.flatnonzero(~np.isnan(heights).any(axis=0)):
        interval = t_interval(heights[:, k])
        ends[:, k] = interval.mean, interval.low, interval.high
    return Curve(grid, *ends)


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """None unless every run has one: a mean over some runs could not stand beside the others."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _median_of_known(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


def _facts(results: Sequence[Result], games: Sequence[Game]) -> dict[str, str]:
    """What all runs have in common; where they differ, each value once."""
    configs = [result.config for result in results]
    settings = {
        flag_name(name): value
        for config in configs
        for name, value in config.departures.items()
        if name in config.explicit and all(c.values.get(name) == value for c in configs)
    }
    scored = [each for game in games for each in game.scored]
    seeds = [len(each.runs) for each in scored]
    fewest, most = min(seeds, default=0), max(seeds, default=0)
    return {
        "agent": _each(config.run.agent for config in configs),
        "protocol": _each(result.protocol for result in results),
        "agent steps": _each(f"{config.run.steps:,}" for config in configs),
        "seeds": str(most) if fewest == most else f"{fewest} to {most}",
        "evaluations": _each(
            f"{len(run.evaluations)} of {run.config.run.eval_episodes} episodes"
            for each in scored
            for run in each.runs
        ),
        "settings": _each(f"--{name} {value}" for name, value in settings.items()),
        "machine": " or ".join(dict.fromkeys(result.machine for result in results)) or "-",
        "commit": _each(commit for result in results for commit in result.commits),
        "versions": _each(
            " ".join(f"{name} {x.versions[name]}" for name in _VERSIONS if name in x.versions)
            for x in results
        ),
    }


def _each(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values)) or "-"
