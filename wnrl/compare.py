"""`python -m wnrl.compare --env Breakout --norm none weight`: the composer of a comparison.

A grid of runs, each a process of `wnrl.train` that owns its folder, and the tables of what came of
it. A command that is repeated goes on where it stopped.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from wnrl.compare_flags import PROGRAM, Asked, parse_compare_flags
from wnrl.config import Config, replace
from wnrl.errors import UsageError
from wnrl.flags import one_line
from wnrl.grid import Planned, compared, make_grid
from wnrl.jobs import Launch, launch_here
from wnrl.plan import calibrated, check_runnable, describe_plan, list_grid, plan_here, plan_on
from wnrl.progress import parse_progress
from wnrl.report import summarize, variant_of, write_scores
from wnrl.results import Result, check_comparable, find_runs, read_result
from wnrl.run_status import TRAIN_LOG, RunStatus, last_line, read_status
from wnrl.run_table import Screen
from wnrl.rundir import read_config
from wnrl.runner import Run, Runner, State
from wnrl.settings import flag_name

if TYPE_CHECKING:
    from wnrl.ray_jobs import Cluster

_RECORD = "compare.json"  # what has been asked for in a folder, by all commands together
_LOCK = ".compare.lock"
_POLL_S = 0.2


class Signals:
    """Ctrl-C and SIGTERM: while runs are under way the first is noted, else they end all."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.patient = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self.received.append(signum)
        if not self.patient or len(self.received) > 1:
            raise KeyboardInterrupt


def compare(asked: Asked, signals: Signals) -> int:
    """Run a grid and write its tables; returns the exit code.

    Args:
        asked: from `parse_compare_flags`.
        signals: the first of which asks the runs to end.

    Raises:
        UsageError: something in it cannot be run, or does not fit to the runs that are there.
    """
    wanted = asked.grid
    out = Path(wanted.out).absolute() if wanted.ray else Path(wanted.out)
    grid = make_grid(
        asked.settings,
        envs=asked.envs,
        norms=asked.norms,
        sweep=asked.sweep,
        seeds=wanted.seeds,
        out=out,
    )
    if wanted.only > len(grid):
        raise UsageError(f"--only {wanted.only}: the grid has {len(grid)} runs")
    check_runnable(grid)
    jobs = 1 if wanted.only else wanted.jobs
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_connect(wanted.ray)) if wanted.ray else None
        if cluster:
            plan = plan_on(
                cluster.nodes,
                grid,
                jobs,
                gpus_per_run=wanted.gpus_per_run,
                memory_per_run=wanted.memory_per_run,
            )
        else:
            plan = plan_here(grid, jobs)
        swept = sorted({*_record(out)["sweep"], *asked.sweep})
        _check_existing(plan.grid, out, swept)
        fixed = bool(jobs or cluster)
        measured = asked.settings.get("calibrate") is not False
        if measured and (asked.dry_run or not fixed):
            plan = calibrated(plan, fixed=fixed)
        print("\n".join(describe_plan(plan)), flush=True)
        if asked.dry_run:
            print("\n".join(list_grid(plan)))
            return 0
        stack.enter_context(_claimed(out, shared=bool(wanted.only)))
        _remember(out, plan.grid, swept)
        todo = plan.grid[wanted.only - 1 : wanted.only] if wanted.only else plan.grid
        launch: Launch = launch_here
        at_a_time = plan.jobs
        if cluster:
            launch = cluster.launch(out, plan.share)
            at_a_time = jobs or len(todo)  # Ray queues them; nodes that join later have work
        runs = _run(todo, at_a_time, launch, asked.sweep, signals)
        if signals.received:
            return 128 + signals.received[0]
        failed = {str(x.folder): x.error for x in runs if x.state is State.FAILED}
        if not wanted.only:
            report(out, failed=failed)
    return 1 if failed else 0


def _connect(address: str) -> "Cluster":
    try:
        from wnrl.ray_jobs import Cluster
    except ModuleNotFoundError as error:
        raise UsageError(f"--ray needs {error.name}: pip install 'wnrl[ray]'") from None
    return Cluster(address)


def _run(
    grid: Sequence[Planned],
    at_a_time: int,
    launch: Launch,
    swept: Iterable[str],
    signals: Signals,
) -> list[Run]:
    names = {str(planned.folder): _label(planned, swept) for planned in grid}
    screen = Screen(names, _look, interval_s=grid[0].config.run.progress_every_s)
    runner = Runner(grid, at_a_time, launch=launch, say=screen.say)
    signals.patient = True
    try:
        while not (runner.over or signals.received):
            runner.poll()
            screen.update(runner.runs)
            time.sleep(_POLL_S)
    finally:
        if any(run.state is State.RUNNING for run in runner.runs):
            screen.say("stopping: every run writes a checkpoint; once more kills them")
        runner.stop()
        signals.patient = False
    screen.show(runner.runs)
    return runner.runs


def _label(planned: Planned, swept: Iterable[str]) -> str:
    """What tells a run from the others of its grid: `Breakout weight learning-rate=0.001 seed2`."""
    run, values = planned.config.run, compared(planned.config, swept)
    varied = [f"{flag_name(name)}={values[name]}" for name in swept if name in values]
    return " ".join([run.env, run.norm, *varied, f"seed{run.seed}"])


def _look(run: Run) -> RunStatus:
    return read_status(run.folder, run.log_from_byte if run.state is State.RUNNING else None)


def _check_existing(grid: Sequence[Planned], out: Path, swept: Sequence[str]) -> None:
    """Refuse a grid that does not fit to the runs in its folder."""
    mine = {planned.folder: planned.config for planned in grid}
    there: list[tuple[Path, Config]] = []
    for folder in find_runs(out):
        with contextlib.suppress(UsageError):  # one that cannot be read fails by itself
            there.append((folder, read_config(folder)))
    for k, (folder, config) in enumerate(there):
        if folder not in mine:
            continue
        if config.run.steps > mine[folder].run.steps:
            raise UsageError(
                f"{folder} was asked for {config.run.steps:,} agent steps: give --steps "
                f"{config.run.steps} or another --out"
            )
        if config.run.steps < mine[folder].run.steps:  # goes on as far as the others
            there[k] = folder, replace(config, steps=mine[folder].run.steps)
    check_comparable([*mine.items(), *there], swept)


def report(out: Path, swept: Sequence[str] = (), failed: dict[str, str] | None = None) -> None:
    """Write scores.csv and summary.md of the runs in a folder, and print the latter.

    Args:
        out: the folder.
        swept: settings that were varied in them, beside those that a grid there has recorded.
        failed: why a run failed, by its folder.

    Raises:
        UsageError: there is no run, or they differ in more than what is compared.
    """
    failed = failed or {}
    record = _record(out)
    swept = sorted({*record["sweep"], *swept})
    problems: dict[str, str] = {}
    results: list[Result] = []
    for folder in find_runs(out):
        try:
            results.append(read_result(folder))
        except UsageError as error:
            problems[str(folder.relative_to(out))] = one_line(error)
    if not results and not record["runs"]:
        raise UsageError(f"no run in {out}: " + next(iter(problems.values()), "it is empty"))
    check_comparable([(result.folder, result.config) for result in results], swept)
    for result in results:
        name = str(result.folder.relative_to(out))
        if not result.done:
            steps = f"{result.agent_steps:,} of {result.config.run.steps:,} agent steps"
            problems[name] = f"not done, {steps}{_why(result.folder, failed)}"
        elif not result.episodes:
            problems[name] = "no episode ended, so there is no score"
    found = {str(result.folder.relative_to(out)) for result in results}
    for name in record["runs"]:
        if name not in found and name not in problems:
            problems[name] = f"missing{_why(out / name, failed)}"
    planned = [variant_of(values, swept) for values in record["runs"].values()]
    text = summarize(results, list(dict.fromkeys(planned)), problems, swept)
    try:
        write_scores(out / "scores.csv", results, swept)
        _write(out / "summary.md", text)
    except OSError as error:
        raise UsageError(f"the tables cannot be written to {out}: {error.strerror}") from None
    print(text)
    print(f"written: {out / 'summary.md'}, {out / 'scores.csv'}")


def _why(folder: Path, failed: dict[str, str]) -> str:
    """What a run said last, after a colon; nothing where it only said how far it was."""
    said = failed.get(str(folder)) or last_line(folder / TRAIN_LOG)
    return f": {said}" if said and parse_progress(said) is None else ""


def _record(out: Path) -> dict[str, Any]:
    """What has been asked for in a folder: swept settings, and what each run is, by its name."""
    path = out / _RECORD
    try:
        record = json.loads(path.read_text())
        return {"sweep": list(record["sweep"]), "runs": dict(record["runs"])}
    except FileNotFoundError:
        return {"sweep": [], "runs": {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}; remove it, runs are found anyway"
        ) from None


def _remember(out: Path, grid: Sequence[Planned], swept: Sequence[str]) -> None:
    record = _record(out)
    for planned in grid:
        what = compared(planned.config, swept)
        record["runs"][str(planned.folder.relative_to(out))] = what
    _write(out / _RECORD, json.dumps({**record, "sweep": list(swept)}, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


@contextlib.contextmanager
def _claimed(out: Path, *, shared: bool = False) -> Iterator[None]:
    """Inside, the folder is this comparison's; shared, that of others who share it too."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / _LOCK).open("a+b")
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; choose another folder") from None
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{out} is in use by another comparison; wait for it or give another --out"
            ) from None
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare from the command line; returns the exit code.

    0: all done; 1: a run failed for good; 2: input that cannot be used; 130, 143: stopped by
    Ctrl-C or SIGTERM, with a checkpoint of every run.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    signals = Signals()
    before = {s: signal.signal(s, signals) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        asked = parse_compare_flags(arguments)
        if asked.report_only is not None:
            report(asked.report_only, list(asked.sweep))
            return 0
        code = compare(asked, signals)
    except UsageError as error:
        print(f"wnrl.compare: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        code = 128 + signals.received[0]
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if signals.received:
        print(
            f"stopped; the same command goes on: {PROGRAM} {shlex.join(arguments)}",
            file=sys.stderr,
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
