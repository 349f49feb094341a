"""Settings in which the runs of a comparison may differ, and errors for other differences.

Runs are comparable if they differ only in environment, normalization, seed and swept settings.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wnrl._settings import UsageError, flag_name, nearest
from wnrl.config import NORM, Config
from wnrl.envs.make import is_atari

_PER_RUN = ("seed", "run_dir")  # settings that always differ between runs

Differences = dict[str, tuple[Any, Any]]  # two values by the name of their setting


def check_comparable(
    runs: Sequence[tuple[Path, Config]],
    swept: Iterable[str],
    *,
    tuned: Iterable[str] = (),
    same_threads: bool = True,
) -> None:
    """Refuse runs that differ in other settings than those that are compared.

    Args:
        runs: folders and their configurations.
        swept: settings that are compared, besides environment, normalization and seed.
        tuned: settings in which different normalizations may differ, because each has its own.
        same_threads: refuse different numbers of threads too. They change scores by rounding only,
            but change what a run costs. New runs must have the same; finished ones need not.

    Raises:
        UsageError: two runs differ, or two folders hold the same run.
    """
    swept, tuned = tuple(swept), tuple(tuned)
    by_folder: dict[Path, Config] = {}
    by_settings: dict[frozenset[tuple[str, Any]], tuple[Path, Config]] = {}  # one run of all seeds
    for folder, config in runs:
        planned = by_folder.setdefault(folder, config)
        if differing := _differences(planned, config, swept, same_threads):
            raise UsageError(
                f"{folder} holds a run with other settings: {describe_differences(differing)}; "
                "choose another --out"
            )
        shared = {name: x for name, x in config.values.items() if name not in _PER_RUN}
        by_settings.setdefault(frozenset(shared.items()), (folder, config))
    for (a, first), (b, second) in itertools.combinations(by_settings.values(), 2):
        own = tuned if first.run.norm != second.run.norm else ()
        if differing := _differences(first, second, [*swept, *own], same_threads):
            raise UsageError(_incomparable(a, b, swept, differing))
    _check_no_duplicates(runs, swept)


def variant_settings(config: Config, swept: Iterable[str]) -> dict[str, Any]:
    """Return what is compared of a run: environment, normalization and its swept settings."""
    values = config.values
    names = [name for name in swept if name in values and name not in config.without_effect]
    return {name: values[name] for name in ("env", "norm", *names)}


def differences(a: Config, b: Config, swept: Iterable[str]) -> Differences:
    """Return the settings in which two runs differ although comparable runs may not.

    Two defaults count as equal, even if they have different values: defaults depend on environment,
    normalization and preset. Settings without effect in one of the runs are ignored, and so are
    those that only say how a run is logged and stored. Each game has its own number of steps.

    Args:
        a: a run.
        b: another run.
        swept: settings that are compared, besides environment, normalization and seed.
    """
    swept = set(swept)
    if a.run.agent != b.run.agent:
        return {"agent": (a.run.agent, b.run.agent)}
    same_kind = is_atari(a.run.env) == is_atari(b.run.env)
    values_a, values_b = a.values, b.values
    names = (set(a.departures) | set(b.departures)) & values_a.keys() & values_b.keys()
    if a.run.norm != b.run.norm:
        names = {name for name in names if not name.startswith(NORM)}
    names -= {*swept, "schedule_steps", *a.without_effect, *b.without_effect}
    if same_kind:
        names.add("threads")
    if a.run.env != b.run.env:
        names.discard("env_kwargs")  # other environments take other arguments
    else:
        names.add("steps")
        if a.depends_on_schedule and b.depends_on_schedule and "schedule_steps" not in swept:
            names.add("schedule_steps")
    return {
        name: (values_a[name], values_b[name])
        for name in sorted(names)
        if values_a[name] != values_b[name]
    }


def describe_differences(differing: Mapping[str, tuple[Any, Any]]) -> str:
    """Return `--learning-rate 0.0001 vs 0.0003, --threads 1 vs 2`."""
    return ", ".join(f"--{flag_name(name)} {a} vs {b}" for name, (a, b) in differing.items())


def check_swept(name: str, known: Iterable[Iterable[str]]) -> None:
    """Refuse a swept setting that cannot be one, in a grid or in existing runs.

    Args:
        name: the setting.
        known: names of the settings of each kind of run.

    Raises:
        UsageError: it is compared without being swept, or no run has it.
    """
    flag = flag_name(name)
    if name in ("env", "norm"):
        raise UsageError(f"--sweep {flag} is not needed: --{flag} itself takes several values")
    if name == "seed":
        raise UsageError("--sweep seed is not needed: --seeds gives the number of seeds")
    names = {each for fields in known for each in fields}
    if name not in names:
        raise UsageError(f"--sweep {name}: no run has this setting{nearest(name, names)}")


def check_baseline(norm: str, known: Collection[str]) -> None:
    """Refuse a baseline that no run has.

    Args:
        norm: a normalization; empty if none was given.
        known: normalizations of the runs.

    Raises:
        UsageError: no run has it.
    """
    if norm and norm not in known:
        raise UsageError(
            f"--baseline {norm}: no run has this normalization; choose one of "
            f"{', '.join(sorted(known))}"
        )


def _differences(a: Config, b: Config, swept: Sequence[str], same_threads: bool) -> Differences:
    differing = differences(a, b, swept)
    if not same_threads:
        differing.pop("threads", None)
    return differing


def _incomparable(a: Path, b: Path, swept: Sequence[str], differing: Differences) -> str:
    """Return the message for two runs that cannot be compared."""
    allowed = "".join(f", {name}" for name in swept)
    can_be_swept = not differing.keys() & {"agent", "steps", "threads"}
    hint = f"compare them with --sweep {' '.join(differing)}, or " if can_be_swept else ""
    return (
        f"{a} and {b} differ in more than environment, normalization{allowed} and seed: "
        f"{describe_differences(differing)}; {hint}keep them in separate folders"
    )


def _check_no_duplicates(runs: Sequence[tuple[Path, Config]], swept: Sequence[str]) -> None:
    folders: dict[tuple[Any, ...], Path] = {}
    for folder, config in runs:
        key = (*variant_settings(config, swept).items(), config.run.seed)
        if (other := folders.setdefault(key, folder)) != folder:
            raise UsageError(
                f"{other} and {folder} hold the same run ({config.run.env}, norm "
                f"{config.run.norm}, seed {config.run.seed}), which would count twice; remove one"
            )
