"""`--tune`: choose values for each normalization on seeds of their own, before it is judged.

A value that looks best on a few seeds is partly lucky. Judged on the same seeds, the luck would
count; judged on others, it does not. The tuning is a comparison in a folder inside the folder of
the comparison, with a report of its own.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wnrl._settings import UsageError
from wnrl.compare.flags import CompareArguments
from wnrl.compare.grid import Chosen
from wnrl.config import Config, make_config
from wnrl.report.comparison import Variant, variant_of
from wnrl.report.find_runs import Inventory, read_record, remember_tuning, take_inventory
from wnrl.report.number_format import counted
from wnrl.report.run_differences import variant_settings
from wnrl.report.run_result import TUNING
from wnrl.report.verdicts.scale import random_score, worst_score
from wnrl.report.verdicts.tuned import FIRST_SEED, TunedRecord, chosen_text, plan_text
from wnrl.stats.sensitivity import percentile_range


def check_tuning(arguments: CompareArguments) -> None:
    """Refuse to judge runs in a folder whose runs were tuned in another way, or not at all.

    Raises:
        UsageError: an earlier command in the folder planned another tuning.
    """
    out = Path(arguments.options.out)
    record = read_record(out)
    if arguments.tune and record.tuned is None and record.runs:
        raise UsageError(
            f"{out} holds runs whose values were not chosen by --tune; choose another --out"
        )
    if record.tuned is None:
        return
    if not arguments.tune or not record.tuned.same_plan(_plan(arguments, {})):
        raise UsageError(
            f"{out} was tuned with {plan_text(record.tuned)}, --steps {record.tuned.steps} and "
            f"--env {' '.join(record.tuned.envs)}, which cannot change; choose another --out"
        )


def tuned(
    arguments: CompareArguments, run: Callable[[CompareArguments], int]
) -> tuple[CompareArguments | None, int]:
    """Choose the values of a comparison, unless an earlier command did.

    Args:
        arguments: of the comparison.
        run: runs a comparison and returns its exit code.

    Returns:
        The arguments with the chosen values, None if nothing is to be judged now; and the exit code
        of the tuning.

    Raises:
        UsageError: the tuning does not fit the folder.
    """
    check_tuning(arguments)
    out = Path(arguments.options.out)
    record = read_record(out).tuned
    chosen = {} if record is None else record.chosen
    exit_code = 0
    if not chosen.keys() >= set(arguments.norms):
        tuning = _tuning(arguments)
        print(f"tuning, with a report in {tuning.options.out}:", flush=True)
        exit_code = run(tuning)
        if arguments.dry_run:
            judged = len(arguments.envs) * len(arguments.norms) * len(arguments.seeds)
            print(f"then up to {counted(judged, 'run')} with the values that these choose")
        if exit_code > 1 or arguments.dry_run:
            return None, exit_code
        norms = list(dict.fromkeys([*arguments.norms, *chosen]))
        inventory = take_inventory(Path(tuning.options.out), [*arguments.tune], {})
        found = best_values(_asked_for(inventory, tuning._replace(norms=norms)))
        chosen = {**found, **chosen}  # what was chosen before stays
        remember_tuning(out, _plan(arguments, chosen))
    here = {norm: chosen[norm] for norm in arguments.norms if norm in chosen}
    print(f"tuned: {chosen_text(here)}\n", flush=True)
    return arguments._replace(chosen=chosen), exit_code


def _tuning(arguments: CompareArguments) -> CompareArguments:
    """Return the comparison of all values, on the seeds that choose."""
    options = arguments.options
    return arguments._replace(
        options=replace(options, until="", out=str(Path(options.out) / TUNING)),
        sweep=arguments.tune,
        tune={},
        seeds=range(FIRST_SEED, FIRST_SEED + options.tune_seeds),
    )


def _asked_for(inventory: Inventory, tuning: CompareArguments) -> Inventory:
    """Return the part of an inventory that a tuning consists of.

    The folder may also hold runs that an earlier command began and did not finish, of other
    normalizations, games or values. These choose nothing, and are in no range of scores.
    """
    grid = tuning.grid(Path(tuning.options.out))
    asked = {_game_and_variant(planned.config, inventory.swept) for planned in grid}
    return replace(
        inventory,
        results=tuple(
            result
            for result in inventory.results
            if _game_and_variant(result.config, inventory.swept) in asked
        ),
        planned=tuple(each for each in inventory.planned if each in asked),
        missing=tuple(each for each in inventory.missing if each[:2] in asked),
    )


def _game_and_variant(config: Config, swept: Sequence[str]) -> tuple[str, Variant]:
    return config.run.env, variant_of(variant_settings(config, swept), swept)


def _plan(arguments: CompareArguments, chosen: Chosen) -> TunedRecord:
    settings = arguments.settings
    configs = [make_config({**settings, "env": env, "norm": "none"}) for env in arguments.envs]
    return TunedRecord(
        tried={name: list(texts) for name, texts in arguments.tune.items()},
        envs=[config.run.env for config in configs],
        seeds=arguments.options.tune_seeds,
        steps=configs[0].run.steps,
        chosen={norm: dict(values) for norm, values in chosen.items()},
    )


def best_values(tuning: Inventory) -> dict[str, dict[str, str]]:
    """Return the values with which each normalization reached the highest final return.

    That is the mean over seeds. A run that was lost counts as the worst score of its game. Over
    several games, a mean is normalized so that 0 and 1 are the 5th and 95th percentile of all
    means in its game (`percentile_range`), and averaged. The first of
    equal values is chosen.

    Returns:
        Values as text by normalization and setting; without settings that it does not have.
    """
    variants = list(dict.fromkeys(variant for _, variant in tuning.planned))
    totals = dict.fromkeys(variants, 0.0)
    for env in dict.fromkeys(env for env, _ in tuning.planned):
        means = _means(tuning, env, variants)
        low, high = percentile_range(np.array([*means.values()]))
        for variant, mean in means.items():
            totals[variant] += (mean - low) / (high - low) if high > low else 0.0
    best: dict[str, Variant] = {}
    for variant in variants:
        leading = best.setdefault(variant.norm, variant)
        if totals[variant] > totals[leading]:
            best[variant.norm] = variant
    return {
        norm: {
            name: text
            for name, text in zip(tuning.swept, variant.values, strict=True)
            if text != "-"
        }
        for norm, variant in best.items()
    }


def _means(tuning: Inventory, env: str, variants: Sequence[Variant]) -> dict[Variant, float]:
    """Return the mean final return of each variant in a game."""
    in_game = [result for result in tuning.results if result.config.run.env == env]
    scores: dict[Variant, list[float]] = {variant: [] for variant in variants}
    for result in in_game:
        variant = variant_of(variant_settings(result.config, tuning.swept), tuning.swept)
        scores[variant].append(result.final if result.done else math.nan)
    for missing_env, variant, _ in tuning.missing:
        scores[variant] += [math.nan] if missing_env == env else []
    seen = (score for of in scores.values() for score in of)
    worst = worst_score(seen, random_score(env, in_game))
    worst = 0.0 if math.isnan(worst) else worst  # no run of the game has a score: all are equal
    return {
        variant: statistics.fmean([worst if math.isnan(x) else x for x in of] or [worst])
        for variant, of in scores.items()
    }
