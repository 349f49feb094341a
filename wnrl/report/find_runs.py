"""The runs in a comparison's folder: which were planned, which exist, and which are missing.

compare.json records the runs that all commands together planned there. Runs are found without it
too, so that runs which were started by hand can be compared.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from wnrl._settings import UsageError
from wnrl.config import Config, replace
from wnrl.report.comparison import DEFAULT_QUESTION, Question, Variant, variant_of
from wnrl.report.run_differences import check_comparable, check_swept, variant_settings
from wnrl.report.run_result import COMPARISON, Result, find_runs, read_result
from wnrl.report.verdicts.staged import StagedRecord
from wnrl.report.verdicts.tuned import TunedRecord
from wnrl.train.flags import one_line
from wnrl.train.storage.atomic_files import replace_text
from wnrl.train.storage.run_folder import read_config
from wnrl.train.storage.run_status import RunState, failure
from wnrl.train.untrusted.files import MEBIBYTE
from wnrl.train.untrusted.typed_json import read_json

Value = str | bool | int | float | None  # of a setting


@dataclass(frozen=True)
class PackingSpeed:
    """Agent steps per second that so many runs with so many threads did together."""

    jobs: int
    threads: int
    steps_per_s: float  # 0 if they did not work side by side


@dataclass(frozen=True)
class PackingRecord:
    """How many runs train at a time, and by what measurement that was chosen."""

    jobs: int
    threads: int  # CPU threads of each run
    cores: int  # of the machine where it was measured
    runs: int  # that were to do; with more of them, more might be better
    tried: list[PackingSpeed]

    def __post_init__(self) -> None:
        """Raise ValueError if a file holds what no measurement chooses."""
        if min(self.jobs, self.threads) < 1 or self.jobs * self.threads > self.cores:
            raise ValueError("packing: this cannot be a choice")


class Record(NamedTuple):
    """The content of compare.json: the runs that all commands planned in a folder."""

    sweep: list[str]  # swept settings, by name
    runs: dict[
        str, dict[str, Value]
    ]  # the compared settings of each run, by its name in the folder
    baseline: str = DEFAULT_QUESTION.baseline
    margin: float = DEFAULT_QUESTION.margin
    stages: StagedRecord | None = None  # None if the number of seeds is fixed
    tuned: TunedRecord | None = None  # None if no values were chosen
    commands: tuple[str, ...] = ()  # the distinct ones that trained runs here, in order
    at_a_time: int = 0  # most runs that trained at a time; 0 if unknown
    packing: PackingRecord | None = None  # None if runs at a time were not measured

    @property
    def question(self) -> Question:
        """The question that was asked last."""
        return Question(self.baseline, self.margin)


@dataclass(frozen=True)
class Inventory:
    """The runs that a comparison is made from."""

    results: tuple[Result, ...]  # results of all runs that can be read, done or not
    planned: tuple[tuple[str, Variant], ...]  # environment and variant, each once
    missing: tuple[tuple[str, Variant, RunState], ...]  # planned runs that cannot be read
    problems: dict[str, str]  # why runs, by name, are missing, not done or without a score
    swept: tuple[str, ...]  # settings, by name
    record: Record  # what the commands in this folder planned and asked


def read_record(out: Path) -> Record:
    """Read compare.json; without one, the record is empty.

    Raises:
        UsageError: it cannot be read.
    """
    path = out / COMPARISON
    try:
        record = read_json(path, Record, limit_bytes=64 * MEBIBYTE)
        for name, values in record.runs.items():
            _check_planned(name, values)
    except (FileNotFoundError, NotADirectoryError):
        return Record([], {})
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', '') or error}; remove it, the "
            "runs are found without it"
        ) from None
    return record


def _check_planned(name: str, values: Mapping[str, Value]) -> None:
    """Raise ValueError unless a planned run lies in its folder and has what is compared."""
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or not name.isprintable():
        raise ValueError(f"{name!r} is not the name of a run in this folder")
    for setting in ("env", "norm"):
        if setting not in values:
            raise ValueError(f"run {name!r} has no {setting}")


def remember(
    out: Path,
    grid: Mapping[Path, Config],
    swept: Sequence[str],
    question: Question,
    stages: StagedRecord | None = None,
) -> None:
    """Add a grid and its question to compare.json.

    Args:
        out: folder of the comparison.
        grid: the configuration of each run, by its folder.
        swept: settings that are compared besides environment, normalization and seed.
        question: the baseline and the margin.
        stages: the stages and what they have decided so far; None if the seeds are fixed.

    Raises:
        UsageError: the record cannot be read or written.
    """
    earlier = read_record(out)
    runs = earlier.runs
    for folder, config in grid.items():
        runs[_name(folder, out)] = variant_settings(config, swept)
    asked = question._asdict()
    _write_record(out, earlier._replace(sweep=list(swept), runs=runs, stages=stages, **asked))


def remember_command(
    out: Path, command: str, at_a_time: int, packing: PackingRecord | None = None
) -> None:
    """Add a command to compare.json, before its runs begin.

    Args:
        out: folder of the comparison.
        command: as one line.
        at_a_time: runs that it trains at a time; 0 if unknown.
        packing: how it chose that number by measuring; None to keep what is recorded.

    Raises:
        UsageError: the record cannot be read or written.
    """
    earlier = read_record(out)
    commands = tuple(dict.fromkeys([*earlier.commands, command]))
    known = at_a_time > 0 and (earlier.at_a_time > 0 or not earlier.runs)
    most = max(at_a_time, earlier.at_a_time) if known else 0
    packing = packing or earlier.packing
    _write_record(out, earlier._replace(commands=commands, at_a_time=most, packing=packing))


def remember_tuning(out: Path, tuned: TunedRecord) -> None:
    """Add the chosen values to compare.json; UsageError if it cannot be read or written."""
    _write_record(out, read_record(out)._replace(tuned=tuned))


def _write_record(out: Path, record: Record) -> None:
    parts = {
        name: None if part is None else dataclasses.asdict(part)
        for name, part in (
            ("stages", record.stages),
            ("tuned", record.tuned),
            ("packing", record.packing),
        )
    }
    text = json.dumps({**record._asdict(), **parts}, indent=2) + "\n"
    try:
        replace_text(out / COMPARISON, text)
    except OSError as error:
        raise UsageError(f"{out / COMPARISON} cannot be written: {error.strerror}") from None


def check_fits(
    grid: Mapping[Path, Config], out: Path, swept: Sequence[str], tuned: Iterable[str] = ()
) -> None:
    """Refuse a grid that does not match the runs in its folder.

    Args:
        grid: the configuration of each run, by its folder.
        out: the folder of the comparison.
        swept: settings that are compared besides environment, normalization and seed.
        tuned: settings of which each normalization has its own value.

    Raises:
        UsageError: an existing run is longer, or differs in more than what is compared.
    """
    existing: list[tuple[Path, Config]] = []
    for folder in find_runs(out):
        with contextlib.suppress(UsageError):  # one that cannot be read fails by itself
            existing.append((folder, read_config(folder)))
    for k, (folder, config) in enumerate(existing):
        if folder not in grid:
            continue
        if config.run.steps > grid[folder].run.steps:
            raise UsageError(
                f"{folder} was planned with {config.run.steps:,} agent steps; give --steps "
                f"{config.run.steps} or choose another --out"
            )
        if config.run.steps < grid[folder].run.steps:  # it will be as long as the others
            existing[k] = folder, replace(config, steps=grid[folder].run.steps)
    check_comparable([*grid.items(), *existing], swept, tuned=tuned)


def norms_in(out: Path, grid: Iterable[Config]) -> set[str]:
    """Return the normalizations of a grid and of the runs that earlier commands planned."""
    earlier = {str(values["norm"]) for values in read_record(out).runs.values()}
    return earlier | {config.run.norm for config in grid}


def take_inventory(out: Path, swept: Sequence[str], failed: Mapping[str, str]) -> Inventory:
    """Read the runs in a folder.

    Args:
        out: the folder.
        swept: settings that were varied in them, besides those in compare.json.
        failed: why a run failed, by its folder.

    Raises:
        UsageError: there is no run, none can be read, they differ in more than what is compared,
            or no run has a swept setting.
    """
    record = read_record(out)
    results: list[Result] = []
    problems: dict[str, str] = {}
    for folder in find_runs(out):
        try:
            results.append(read_result(folder))
        except UsageError as error:
            problems[_name(folder, out)] = one_line(error)
    if not results and (problems or not record.runs):
        empty = "the folder holds none" if out.is_dir() else "it is not a folder"
        empty += "; name a folder that holds runs"
        raise UsageError(f"no run in {out}: {next(iter(problems.values()), empty)}")
    for name in swept:
        check_swept(name, [result.config.values for result in results])
    swept = tuple(sorted({*record.sweep, *swept}))
    own = [] if record.tuned is None else [*record.tuned.tried]
    check_comparable([(x.folder, x.config) for x in results], swept, tuned=own, same_threads=False)
    for result in results:
        if not result.done:
            why = f"{_how_far(result)}{_why_failed(result.folder, failed)}"
            problems[_name(result.folder, out)] = why
        elif math.isnan(result.final):
            problems[_name(result.folder, out)] = "no episode ended, so there is no score"
    # Prefer the run's own config: compare.json may predate newer sweep flags.
    from_runs = {_name(x.folder, out): variant_settings(x.config, swept) for x in results}
    planned, missing = [], []
    for name, recorded in record.runs.items():
        values = from_runs.get(name, recorded)
        planned.append((str(values["env"]), variant_of(values, swept)))
        if name not in from_runs:
            why = _why_failed(out / name, failed)
            problems.setdefault(name, f"missing{why}")
            missing.append((*planned[-1], RunState.FAILED if why else RunState.STARTING))
    return Inventory(
        results=tuple(results),
        planned=tuple(dict.fromkeys(planned)),
        missing=tuple(missing),
        problems=problems,
        swept=swept,
        record=record,
    )


def _name(folder: Path, out: Path) -> str:
    return str(folder.relative_to(out))


def _how_far(result: Result) -> str:
    if result.agent_steps == 0 and result.episodes:
        return "no checkpoint, so it is unknown whether it is done"
    return f"not done, {result.agent_steps:,} of {result.config.run.steps:,} agent steps"


def _why_failed(folder: Path, failed: Mapping[str, str]) -> str:
    """Return why a run failed, after a colon; empty if unknown."""
    why = failed.get(str(folder)) or failure(folder)
    return f": {why}" if why else ""
