"""List the runs of a grid: environments x normalizations x swept settings x seeds.

Also the command line of each run. Nothing is run here.
"""

import itertools
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wnrl._settings import SettingError, flag_name
from wnrl.agents.catalogue import get_agent
from wnrl.config import (
    NORM,
    OPERATIONAL,
    UNNAMED,
    Config,
    RunConfig,
    fields_of,
    make_config,
    replace,
)
from wnrl.nn.norms.catalogue import get_norm
from wnrl.report.run_differences import check_swept
from wnrl.train.storage.variant_folder import variant_folder

_SWITCH = {"true": True, "on": True, "false": False, "off": False}
_ALWAYS_GIVEN = ("env", "agent", "norm", "seed", "steps", "threads", "calibrate")

Fields = Mapping[str, Any]  # the settings of a run by name, as dataclass fields
Chosen = Mapping[str, Mapping[str, str]]  # values by normalization and setting
NOTHING_CHOSEN: Chosen = types.MappingProxyType({})


class PlannedRun(NamedTuple):
    """A run of the grid and its folder."""

    config: Config
    folder: Path
    modules: tuple[str, ...] = ()  # imported by its process


def make_grid(
    settings: Mapping[str, Any],
    *,
    envs: Sequence[str],
    norms: Sequence[str],
    sweep: Mapping[str, Sequence[str]],
    seeds: Iterable[int],
    out: Path,
    modules: tuple[str, ...] = (),
    chosen: Chosen = NOTHING_CHOSEN,
) -> list[PlannedRun]:
    """Return the runs in starting order: every run with the first seed before any with the second.

    A parameter of a normalization, set or swept, goes only to the normalizations that have it. Runs
    that would be the same (a swept setting without effect, a name given twice) become one.

    Args:
        settings: values common to all runs, by name, as for `make_config`.
        envs: environments.
        norms: normalizations.
        sweep: values to try, as text, by setting.
        seeds: the seeds.
        out: folder of the comparison, which contains every run's folder.
        modules: imported by the process of every run.
        chosen: values that were chosen for a normalization, as text.

    Raises:
        UsageError: a name or value is invalid, or a setting cannot be swept.
    """
    agent = get_agent(settings.get("agent", RunConfig.agent)).name
    fields_by_norm = {norm: fields_of(agent, get_norm(norm).name) for norm in norms}
    all_fields = list(fields_by_norm.values())
    _check_sweep(sweep, settings, all_fields)
    _check_parameters(settings, fields_by_norm)
    values = {
        name: [_value(name, text, all_fields) for text in texts] for name, texts in sweep.items()
    }
    own = {
        norm: {name: _value(name, text, all_fields) for name, text in chosen.get(norm, {}).items()}
        for norm in norms
    }
    grid: dict[Path, PlannedRun] = {}
    for seed, env, swept, norm in itertools.product(seeds, envs, _combinations(values), norms):
        compared = {**swept, **own[norm], "env": env, "norm": norm, "seed": seed}
        given = {"calibrate": False, **settings, **compared}
        config = make_config(_without_foreign_parameters(given, fields_by_norm[norm]))
        folder = variant_folder(out, config) / f"seed{seed}"
        planned = PlannedRun(replace(config, run_dir=str(folder)), folder, modules)
        grid.setdefault(folder, planned)
    return list(grid.values())


def _combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def _without_foreign_parameters(given: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Drop the parameters that belong to other normalizations."""
    return {
        name: value for name, value in given.items() if name in fields or not name.startswith(NORM)
    }


def _check_sweep(
    sweep: Collection[str], settings: Mapping[str, Any], all_fields: Iterable[Fields]
) -> None:
    """Refuse to sweep a setting that no run has, that is common to all runs, or that is set too."""
    for name in sweep:
        check_swept(name, all_fields)
        if name in UNNAMED:
            only_watched = name in OPERATIONAL and name != "steps"
            reason = (
                "does not change what is learned" if only_watched else "is the same in all runs"
            )
            raise SettingError("sweep", f"{name}: this setting {reason}, so it cannot be swept")
        if name in settings:
            raise SettingError(name, "is both set for all runs and swept; give it only once")


def _check_parameters(settings: Iterable[str], fields_by_norm: Mapping[str, Fields]) -> None:
    """Refuse a parameter that none of the normalizations has."""
    for name in settings:
        if name.startswith(NORM) and not any(name in each for each in fields_by_norm.values()):
            for norm in fields_by_norm:
                get_norm(norm).check_parameter(name.removeprefix(NORM))


def _value(name: str, text: str, all_fields: Iterable[Fields]) -> Any:
    """Convert a swept value for `make_config`, which parses numbers but not switches."""
    field = next(fields[name] for fields in all_fields if name in fields)
    return _SWITCH.get(text.lower(), text) if isinstance(field.default, bool) else text


def train_arguments(planned: PlannedRun, *, resume: bool) -> list[str]:
    """Return the arguments of `wnrl.train` for a run of the grid.

    The replay's size is always given. If it does not fit next to the other runs, the run must be
    refused rather than shrink to another experiment.

    Args:
        planned: the run.
        resume: the run's folder already holds it.
    """
    config, values = planned.config, planned.config.values
    modules = [f"--import={module}" for module in planned.modules]
    if resume:
        changeable = (set(config.explicit) | {"steps", "calibrate"}) & set(OPERATIONAL)
        names = sorted(changeable - {"run_dir"})
        flags = [_flag(name, values[name]) for name in names]
        return [*modules, f"--resume={planned.folder}", *flags]
    given = {*config.explicit, *_ALWAYS_GIVEN, *({"buffer_size"} & set(values))} - {"run_dir"}
    flags = [_flag(name, values[name]) for name in sorted(given)]
    return [*modules, *flags, f"--run-dir={planned.folder}"]


def _flag(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{flag_name(name)}"
    return f"--{flag_name(name)}={value}"
