"""Which runs may stand in one comparison: they differ in what is compared, and in nothing else."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wnrl._settings import UsageError, flag_name, nearest
from wnrl.config import NORM, Config
from wnrl.envs.make import is_atari

_OF_ONE_RUN = ("seed", "run_dir")


def check_comparable(
    runs: Sequence[tuple[Path, Config]], swept: Iterable[str], *, same_threads: bool = True
) -> None:
    """Refuse runs that differ in more than what is compared.

    Args:
        runs: folders and their configurations.
        swept: settings that are compared beside environment, normalization and seed.
        same_threads: refuse another number of threads too. It changes what is learnt by rounding
            alone, but what a run costs: one for all while a choice is left, any once they are done.

    Raises:
        UsageError: two do, which it names with the difference; or two are one and the same.
    """
    swept = tuple(swept)

    def differing(first: Config, second: Config) -> dict[str, tuple[Any, Any]]:
        found = differences(first, second, swept)
        if not same_threads:
            found.pop("threads", None)
        return found

    at: dict[Path, Config] = {}
    kinds: dict[frozenset[tuple[str, Any]], tuple[Path, Config]] = {}  # one run of all seeds
    for folder, config in runs:
        if found := differing(at.setdefault(folder, config), config):
            raise UsageError(
                f"{folder} holds a run with other settings than asked for now: "
                f"{describe_differences(found)}; give another --out"
            )
        but_seed = {name: x for name, x in config.values.items() if name not in _OF_ONE_RUN}
        kinds.setdefault(frozenset(but_seed.items()), (folder, config))
    for (a, first), (b, second) in itertools.combinations(kinds.values(), 2):
        if found := differing(first, second):
            names = "" if found.keys() & {"agent", "steps", "threads"} else " ".join(found)
            hint = f"; if that is what is compared, give --sweep {names}" if names else ""
            raise UsageError(
                f"{a} and {b} differ in more than environment, normalization"
                f"{''.join(f', {name}' for name in swept)} and seed: "
                f"{describe_differences(found)}{hint}; or keep them in folders of their own"
            )
    seen: dict[tuple[Any, ...], Path] = {}
    for folder, config in runs:
        what = (*compared(config, swept).items(), config.run.seed)
        if (other := seen.setdefault(what, folder)) != folder:
            raise UsageError(
                f"{other} and {folder} are both {config.run.env} with norm {config.run.norm} and "
                f"seed {config.run.seed}, which would count twice: keep one of them"
            )


def compared(config: Config, swept: Iterable[str]) -> dict[str, Any]:
    """What a run is an instance of: environment, normalization, and the swept settings it has."""
    values = config.values
    names = [name for name in swept if name in values and name not in config.without_effect]
    return {name: values[name] for name in ("env", "norm", *names)}


def differences(a: Config, b: Config, swept: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """Settings in which two runs of one comparison may not differ, and do: their values by name.

    What a run has by default counts as equal to another's default: defaults go by environment and
    normalization, and a preset's too. Settings without effect in one of them are not compared, nor
    those that only say how a run is watched and kept; `steps` is, since scores go by it.

    Args:
        a: a run.
        b: another.
        swept: settings that are compared beside environment, normalization and seed.
    """
    swept = set(swept)
    if a.run.agent != b.run.agent:
        return {"agent": (a.run.agent, b.run.agent)}
    same_kind = is_atari(a.run.env) == is_atari(b.run.env)
    values = a.values, b.values
    found = {"threads", "steps"} if same_kind else set()
    found = {name for name in found if values[0][name] != values[1][name]}
    names = set(a.departures) | set(b.departures)
    names &= set(values[0]) & set(values[1])
    if a.run.norm != b.run.norm:
        names = {name for name in names if not name.startswith(NORM)}
    silent = {*swept, "schedule_steps", *a.without_effect, *b.without_effect}
    found |= {name for name in names - silent if values[0][name] != values[1][name]}
    if a.goes_by_schedule and b.goes_by_schedule and same_kind:
        lengths = a.run.schedule_steps, b.run.schedule_steps
        if lengths[0] != lengths[1] and "schedule_steps" not in swept:
            found.add("schedule_steps")
    return {name: (values[0][name], values[1][name]) for name in sorted(found)}


def describe_differences(found: Mapping[str, tuple[Any, Any]]) -> str:
    """`--learning-rate 0.0001 against 0.0003, --threads 1 against 2`."""
    return ", ".join(f"--{flag_name(name)} {a} against {b}" for name, (a, b) in found.items())


def check_swept(name: str, known: Iterable[Iterable[str]]) -> None:
    """Refuse to call a setting varied that cannot be, in a grid or in runs that are there.

    Args:
        name: of a setting.
        known: names of the settings of each kind of run.

    Raises:
        UsageError: it is compared anyway, or no run has it.
    """
    flag = flag_name(name)
    if name in ("env", "norm"):
        raise UsageError(f"--sweep {flag}: --{flag} itself takes several")
    if name == "seed":
        raise UsageError("--sweep seed: --seeds says how many there are")
    names = {each for fields in known for each in fields}
    if name not in names:
        raise UsageError(f"--sweep {flag}: no run here has such a setting{nearest(name, names)}")
