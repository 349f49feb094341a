"""Comparison of the results of runs: each game here, all games together in `across_games`.

Intervals in a game are Student's t over seeds.

Dimension key: S seeds, K grid points.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wnrl._settings import flag_name
from wnrl.config import Config
from wnrl.envs.protocols import PROTOCOLS
from wnrl.report.across_games import aggregate_games
from wnrl.report.comparison import (
    DEFAULT_QUESTION,
    Comparison,
    Cost,
    Curve,
    Game,
    LostRuns,
    Question,
    SettingsNote,
    Variant,
    VariantScores,
    variant_of,
)
from wnrl.report.run_differences import variant_settings
from wnrl.report.run_result import Result
from wnrl.report.verdicts.in_games import AREA, FINAL, contrasts
from wnrl.report.verdicts.pairs import pairs_of
from wnrl.report.verdicts.scale import random_score
from wnrl.report.verdicts.sensitivity import analyze_sensitivity
from wnrl.report.verdicts.settings import settings_note
from wnrl.report.verdicts.tuned import TunedRecord, tuned_sentence
from wnrl.stats.intervals import t_interval
from wnrl.stats.learning_curves import curve
from wnrl.stats.reference_scores import Reference, reference_scores
from wnrl.train.storage.run_status import RunState

GRID_POINTS = 100  # points of a learning curve


def compare_runs(
    results: Sequence[Result],
    planned: Sequence[tuple[str, Variant]],
    problems: Mapping[str, str],
    swept: Sequence[str],
    generator: np.random.Generator,
    *,
    question: Question = DEFAULT_QUESTION,
    missing: Sequence[tuple[str, Variant, RunState]] = (),
    tuned: TunedRecord | None = None,
) -> Comparison:
    """Compare runs. The same arguments give the same numbers.

    Args:
        results: all runs; only finished ones with a score count.
        planned: environments and variants that were requested, in that order; one without a run
            has no score.
        problems: runs that are missing or unfinished: name to reason.
        swept: settings that were varied, besides environment, normalization and seed.
        generator: draws the resamples of the intervals over games.
        question: the baseline and the margin.
        missing: runs without a result that were requested: environment, variant and state.
        tuned: how each normalization's values were chosen.
    """
    runs: dict[str, dict[Variant, list[Result]]] = {}
    lost: dict[tuple[str, Variant], list[RunState]] = {}
    configs: dict[Variant, Config] = {}
    for env, variant in planned:
        runs.setdefault(env, {})[variant] = []
    for env, variant, state in missing:
        lost.setdefault((env, variant), []).append(state)
    for result in results:
        variant = variant_of(variant_settings(result.config, swept), swept)
        configs.setdefault(variant, result.config)
        env = result.config.run.env
        of_variant = runs.setdefault(env, {}).setdefault(variant, [])
        if result.done and not math.isnan(result.final):
            of_variant.append(result)
        else:
            lost.setdefault((env, variant), []).append(_lost_state(result))
    games = [_game(env, by_variant, results, lost) for env, by_variant in runs.items()]
    variants = list(dict.fromkeys(scores.variant for game in games for scores in game.variants))
    pairs, all_pairs = pairs_of(variants, question.baseline)
    note = settings_note(configs, pairs, [*swept, *(tuned.tried if tuned else ())])
    return Comparison(
        agent=_distinct(result.config.run.agent for result in results),
        swept=tuple(swept),
        games=tuple(games),
        aggregate=aggregate_games(games, pairs, results, question, generator),
        facts=_facts(results, games) | {"differences in settings": _differing(note)},
        problems=dict(problems),
        question=question,
        all_pairs=all_pairs,
        contrasts=contrasts(games, pairs, results, FINAL, question),
        areas=contrasts(games, pairs, results, AREA, question),
        settings=note,
        sensitivity=analyze_sensitivity(games, swept, question),
        tuned=tuned_sentence(tuned, [x.norm for x in variants]) if tuned else "",
        wrapped={_run_name(x): x.wrapped_episodes for x in results if x.wrapped_episodes},
        rolled_back={_run_name(x): "; ".join(x.rollbacks) for x in results if x.rollbacks},
    )


def _run_name(result: Result) -> str:
    run = result.config.run
    return f"{run.env} {run.norm}, seed {run.seed}"


def _lost_state(result: Result) -> RunState:
    """Return the state of a run without a score; `done` if no episode of it ended."""
    if result.done:
        return RunState.DONE
    # A run that was done and is to be longer now is not done.
    return RunState.STOPPED if result.state is RunState.DONE else result.state


def _lost_runs(states: Sequence[RunState]) -> LostRuns:
    kinds = RunState.FAILED, RunState.DIVERGED, RunState.DONE
    failed, diverged, silent = (states.count(kind) for kind in kinds)
    return LostRuns(failed, diverged, len(states) - failed - diverged - silent, silent)


def _game(
    env: str,
    runs: Mapping[Variant, Sequence[Result]],
    results: Sequence[Result],
    lost: Mapping[tuple[str, Variant], Sequence[RunState]],
) -> Game:
    in_game = [result for result in results if result.config.run.env == env]
    protocol = _distinct(result.protocol for result in in_game)
    agent = _distinct(result.config.run.agent for result in in_game)
    total_steps = max((result.config.run.steps for result in in_game), default=0)
    references: tuple[Reference, ...] = ()
    frame_skips = {result.config.run.frame_skip for result in in_game}
    frame_skip = frame_skips.pop() if len(frame_skips) == 1 else 0
    if protocol in PROTOCOLS:  # false if it is custom, or if several are compared
        frames = total_steps * frame_skip
        references = reference_scores(env, agent=agent, protocol=protocol, frames=frames)
    return Game(
        env=env,
        protocol=protocol,
        total_steps=total_steps,
        variants=tuple(
            _scores(variant, of, total_steps, _lost_runs(lost.get((env, variant), ())))
            for variant, of in runs.items()
        ),
        references=references,
        random=random_score(env, in_game),
        frame_skip=frame_skip,
        custom=any(result.custom for result in in_game),
    )


def _scores(
    variant: Variant, runs: Sequence[Result], total_steps: int, lost: LostRuns
) -> VariantScores:
    if not runs:
        return VariantScores(variant, (), None, None, None, None, None, None, lost)
    return VariantScores(
        variant=variant,
        runs=tuple(runs),
        final=t_interval(
            [run.final for run in runs], sampling_variance=[run.final_variance for run in runs]
        ),
        area=t_interval([run.area for run in runs]),
        best_evaluation=_mean_if_complete([run.best_evaluation for run in runs]),
        mean_evaluation=_mean_if_complete([run.mean_evaluation for run in runs]),
        curve=mean_curve(runs, total_steps),
        cost=Cost(
            act_ms=_median_of_known([run.act_ms for run in runs]),
            update_ms=_median_of_known([run.update_ms for run in runs]),
            steps_per_s=_median_of_known([run.steps_per_s for run in runs]),
        ),
        lost=lost,
    )


def mean_curve(runs: Sequence[Result], total_steps: int) -> Curve:
    """Return the mean learning curve of runs, with intervals where there are several."""
    grid = total_steps * np.arange(1, GRID_POINTS + 1) / GRID_POINTS
    heights = np.stack(
        [curve(r.episode_steps, r.returns, grid, window_steps=r.window_steps) for r in runs]
    )  # (S, K)
    ends = np.full((3, GRID_POINTS), math.nan)
    for k in np.flatnonzero(~np.isnan(heights).any(axis=0)):
        interval = t_interval(heights[:, k])
        ends[:, k] = interval.value, interval.low, interval.high
    return Curve(grid, ends[0], ends[1], ends[2], tuple(heights))


def _mean_if_complete(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if a run has no value, since variants must be averaged alike."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _median_of_known(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


def _facts(results: Sequence[Result], games: Sequence[Game]) -> dict[str, str]:
    """Return what all runs have in common; if runs differ, each value once."""
    configs = [result.config for result in results]
    settings = {
        flag_name(name): value
        for config in configs
        for name, value in config.departures.items()
        if name in config.explicit and all(c.values.get(name) == value for c in configs)
    }
    variants = [scores for game in games for scores in game.variants]
    seeds = [len(scores.runs) for scores in variants if scores.runs]
    fewest, most = min(seeds, default=0), max(seeds, default=0)
    return {
        "agent": _distinct(config.run.agent for config in configs),
        "protocol": _distinct(result.protocol_text for result in results),
        "agent steps": _lengths(configs),
        "seeds": str(most) if fewest == most else f"{fewest} to {most}",
        "evaluations": _distinct(_evaluations(run) for scores in variants for run in scores.runs),
        "settings": _distinct(f"--{name} {value}" for name, value in settings.items()),
        "date": _days(day for result in results for day in result.days),
        "machine": " or ".join(dict.fromkeys(result.machine for result in results)) or "-",
        "commit": _distinct(commit for result in results for commit in result.commits),
        "versions": _distinct(result.software for result in results),
    }


def _evaluations(run: Result) -> str:
    count = len(run.evaluations)
    return f"{count} with {run.config.run.eval_episodes} episodes each" if count else "none"


def _differing(note: SettingsNote) -> str:
    """Return each variant's settings that differ from its baseline's, besides what is compared."""
    return "; ".join(f"{label}: {text}" for label, text in note.differing.items()) or "none"


def _days(days: Iterable[str]) -> str:
    """Return `2026-11-29`, or `2026-11-29 to 2026-12-02`."""
    known = sorted(set(days))
    return " to ".join(dict.fromkeys([known[0], known[-1]])) if known else "-"


def _lengths(configs: Iterable[Config]) -> str:
    """Return `1,000`, or `CartPole-v1 1,000, Breakout 2,000` if games differ."""
    steps = {config.run.env: f"{config.run.steps:,}" for config in configs}
    if len(set(steps.values())) > 1:
        return ", ".join(f"{env} {length}" for env, length in steps.items())
    return _distinct(steps.values())


def _distinct(values: Iterable[str]) -> str:
    """Return the distinct values in order of appearance, or `-` if there are none."""
    return ", ".join(dict.fromkeys(values)) or "-"
