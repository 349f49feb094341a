"""A grid of runs: environments x normalizations x swept settings x seeds. Nothing is run here."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wnrl._settings import UsageError, flag_name
from wnrl.config import (
    NORM,
    OPERATIONAL,
    UNNAMED,
    Config,
    RunConfig,
    agent_named,
    fields_of,
    make_config,
    replace,
)
from wnrl.nn.norms.catalogue import get_norm
from wnrl.report.run_differences import check_swept
from wnrl.train.storage.run_folder import variant_folder

_SWITCH = {"true": True, "on": True, "false": False, "off": False}
_ALWAYS_SAID = ("env", "agent", "norm", "seed", "steps", "threads", "calibrate")


class Planned(NamedTuple):
    """A run of the grid, with the folder that is its own."""

    config: Config
    folder: Path


def make_grid(
    settings: Mapping[str, Any],
    *,
    envs: Sequence[str],
    norms: Sequence[str],
    sweep: Mapping[str, Sequence[str]],
    seeds: int,
    out: Path,
) -> list[Planned]:
    """The runs in the order in which they are started: all of the first seed before a second.

    A parameter of a normalization goes to those that have it, set or swept. Runs that would be the
    same (a swept setting without effect, a name given twice) are one.

    Args:
        settings: what all have in common, by name, as for `make_config`.
        envs: environments.
        norms: normalizations.
        sweep: values by setting, as text.
        seeds: how many, from 1 on.
        out: folder above all of theirs.

    Raises:
        UsageError: anything in it cannot be, or a setting cannot be swept.
    """
    agent = agent_named(settings.get("agent", RunConfig.agent))
    known = [fields_of(agent, get_norm(norm).name) for norm in norms]
    for name in sweep:
        check_swept(name, known)
        _check_varied(name, settings)
    for name in settings:
        if name.startswith(NORM) and not any(name in fields for fields in known):
            for norm in norms:
                get_norm(norm).check_parameter(name.removeprefix(NORM))
    values = {name: [_value(name, text, known) for text in texts] for name, texts in sweep.items()}
    grid: dict[Path, Planned] = {}
    for seed, env, swept, (norm, fields) in itertools.product(
        range(1, seeds + 1), envs, _combinations(values), list(zip(norms, known, strict=True))
    ):
        given = {"calibrate": False, **settings, **swept, "env": env, "norm": norm, "seed": seed}
        config = make_config({n: v for n, v in given.items() if n in fields or n[:5] != NORM})
        folder = variant_folder(out, config) / f"seed{seed}"
        grid.setdefault(folder, Planned(replace(config, run_dir=str(folder)), folder))
    return list(grid.values())


def _combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def _check_varied(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse to give a setting to each run of a grid that all have in common."""
    flag = flag_name(name)
    if name in UNNAMED:
        what = "changes nothing that is learnt" if name in OPERATIONAL else "is one for all runs"
        raise UsageError(f"--sweep {flag}: --{flag} {what}, so it cannot be swept")
    if name in settings:
        raise UsageError(f"--{flag} is set for all runs and swept too; keep one")


def _value(name: str, text: str, known: Iterable[Mapping[str, Any]]) -> Any:
    """A swept value for `make_config`, which takes numbers as text but no switch."""
    field = next(fields[name] for fields in known if name in fields)
    return _SWITCH.get(text.lower(), text) if isinstance(field.default, bool) else text


def train_arguments(planned: Planned, *, go_on: bool) -> list[str]:
    """The command line of `wnrl.train` that does a run of the grid.

    A replay's size is always said: one that does not fit beside the other runs must be refused, and
    not shrink to another experiment.

    Args:
        planned: the run.
        go_on: its folder holds it already.
    """
    config, values = planned.config, planned.config.values
    if go_on:
        changeable = (set(config.explicit) | {"steps", "calibrate"}) & set(OPERATIONAL)
        names = sorted(changeable - {"run_dir"})
        return ["--resume", str(planned.folder), *(_flag(name, values[name]) for name in names)]
    said = {*config.explicit, *_ALWAYS_SAID, *({"buffer_size"} & set(values))} - {"run_dir"}
    flags = [_flag(name, values[name]) for name in sorted(said)]
    return [*flags, f"--run-dir={planned.folder}"]


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{flag_name(name)}"
    return f"--{flag_name(name)}={value}"
