"""The runs of a comparison's folder: what was asked for there, what is there, and what is missing.

compare.json records what all commands together have asked for. Runs are found without it too, so
that ones made by hand can be compared.
"""

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wnrl._settings import UsageError
from wnrl.config import Config, replace
from wnrl.report.comparison import Variant, variant_of
from wnrl.report.run_differences import check_comparable, check_swept, variant_settings
from wnrl.report.run_result import Result, find_runs, read_result
from wnrl.train.flags import one_line
from wnrl.train.log.progress import parse_progress
from wnrl.train.storage.atomic_files import replace_text
from wnrl.train.storage.run_folder import read_config
from wnrl.train.storage.run_status import TRAIN_LOG, last_line

_RECORD = "compare.json"


class Record(NamedTuple):
    """What has been asked for in a folder, by all commands together."""

    sweep: list[str]  # settings
    runs: dict[str, dict[str, Any]]  # what each run is an instance of, by its name in the folder


@dataclass(frozen=True)
class Inventory:
    """What a comparison is made from."""

    results: tuple[Result, ...]  # of all runs that can be read, done or not
    planned: tuple[tuple[str, Variant], ...]  # environment and variant, each once, as asked for
    problems: dict[str, str]  # runs by name that are missing, not done or without a score, and why
    swept: tuple[str, ...]  # settings


def read_record(out: Path) -> Record:
    """What has been asked for in a folder; nothing where there is no record.

    Raises:
        UsageError: it cannot be read.
    """
    path = out / _RECORD
    try:
        record = json.loads(path.read_text())
        return Record(list(record["sweep"]), dict(record["runs"]))
    except (FileNotFoundError, NotADirectoryError):
        return Record([], {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}; remove it, runs are found anyway"
        ) from None


def remember(out: Path, grid: Mapping[Path, Config], swept: Sequence[str]) -> None:
    """Add a grid to what has been asked for in a folder.

    Raises:
        UsageError: the record cannot be read or written.
    """
    runs = read_record(out).runs
    for folder, config in grid.items():
        runs[_name(folder, out)] = variant_settings(config, swept)
    text = json.dumps({"sweep": list(swept), "runs": runs}, indent=2) + "\n"
    try:
        replace_text(out / _RECORD, text)
    except OSError as error:
        raise UsageError(f"{out / _RECORD} cannot be written: {error.strerror}") from None


def check_fits(grid: Mapping[Path, Config], out: Path, swept: Sequence[str]) -> None:
    """Refuse a grid that does not fit to the runs in its folder.

    Args:
        grid: the configuration of each run, by its folder.
        out: the folder of the comparison.
        swept: settings that are compared beside environment, normalization and seed.

    Raises:
        UsageError: a run there is longer, or differs in more than what is compared.
    """
    there: list[tuple[Path, Config]] = []
    for folder in find_runs(out):
        with contextlib.suppress(UsageError):  # one that cannot be read fails by itself
            there.append((folder, read_config(folder)))
    for k, (folder, config) in enumerate(there):
        if folder not in grid:
            continue
        if config.run.steps > grid[folder].run.steps:
            raise UsageError(
                f"{folder} was asked for {config.run.steps:,} agent steps: give --steps "
                f"{config.run.steps} or another --out"
            )
        if config.run.steps < grid[folder].run.steps:  # goes on as far as the others
            there[k] = folder, replace(config, steps=grid[folder].run.steps)
    check_comparable([*grid.items(), *there], swept)


def take_inventory(out: Path, swept: Sequence[str], failed: Mapping[str, str]) -> Inventory:
    """Read the runs in a folder.

    Args:
        out: the folder.
        swept: settings that were varied in them, beside those that a grid there has recorded.
        failed: why a run failed, by its folder.

    Raises:
        UsageError: there is no run, they differ in more than what is compared, or none has what is
            called swept.
    """
    record = read_record(out)
    results: list[Result] = []
    problems: dict[str, str] = {}
    for folder in find_runs(out):
        try:
            results.append(read_result(folder))
        except UsageError as error:
            problems[_name(folder, out)] = one_line(error)
    if not results and not record.runs:
        empty = "there is none in it" if out.is_dir() else "it is no folder"
        raise UsageError(f"no run in {out}: {next(iter(problems.values()), empty)}")
    for name in swept:
        check_swept(name, [result.config.values for result in results])
    swept = tuple(sorted({*record.sweep, *swept}))
    check_comparable([(x.folder, x.config) for x in results], swept, same_threads=False)
    for result in results:
        if not result.done:
            why = f"{_how_far(result)}{_last_words(result.folder, failed)}"
            problems[_name(result.folder, out)] = why
        elif math.isnan(result.final):
            problems[_name(result.folder, out)] = "no episode ended, so there is no score"
    # What a run is, it knows best: it was recorded without what was swept since.
    is_now = {_name(x.folder, out): variant_settings(x.config, swept) for x in results}
    planned = []
    for name, recorded in record.runs.items():
        what = is_now.get(name, recorded)
        planned.append((str(what["env"]), variant_of(what, swept)))
        if name not in is_now and name not in problems:
            problems[name] = f"missing{_last_words(out / name, failed)}"
    return Inventory(tuple(results), tuple(dict.fromkeys(planned)), problems, swept)


def _name(folder: Path, out: Path) -> str:
    return str(folder.relative_to(out))


def _how_far(result: Result) -> str:
    if result.agent_steps == 0 and result.episodes:
        return "not known to be done: no checkpoint says how far it came"
    return f"not done, {result.agent_steps:,} of {result.config.run.steps:,} agent steps"


def _last_words(folder: Path, failed: Mapping[str, str]) -> str:
    """What a run said last, after a colon; nothing where it only said how far it was."""
    said = failed.get(str(folder)) or last_line(folder / TRAIN_LOG)
    return f": {said}" if said and parse_progress(said) is None else ""
