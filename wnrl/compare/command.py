"""`python -m wnrl.compare --env Breakout --norm none weight`: the composer of a comparison.

A grid of runs, each a process of `wnrl.train` that owns its folder, and the report of what came of
it. A command that is repeated goes on where it stopped.
"""

import contextlib
import fcntl
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from wnrl._settings import UsageError, flag_name
from wnrl.compare.flags import PROGRAM, Asked, parse_compare_flags
from wnrl.compare.grid import Planned, make_grid
from wnrl.compare.jobs.process import Launch, launch_here
from wnrl.compare.jobs.runner import Run, Runner, State
from wnrl.compare.jobs.table import Screen
from wnrl.compare.live_mean import AggregateBoard, write_aggregates
from wnrl.compare.plan import (
    Plan,
    calibrated,
    check_runnable,
    describe_plan,
    list_grid,
    plan_here,
    plan_on,
)
from wnrl.report.analyze import compare_runs
from wnrl.report.figures import write_figures
from wnrl.report.find_runs import check_fits, read_record, remember, take_inventory
from wnrl.report.page import write_page
from wnrl.report.run_differences import variant_settings
from wnrl.report.scores_csv import scores_csv
from wnrl.report.summary import summary_markdown
from wnrl.train.flags import one_line
from wnrl.train.storage.atomic_files import replace_text
from wnrl.train.storage.run_status import RunStatus, read_status

if TYPE_CHECKING:
    from wnrl.compare.jobs.ray_cluster import Cluster

_LOCK = ".compare.lock"
_SEED = 0  # of the resamples of a report, so that the same runs give the same one
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
    """Run a grid and write its report; returns the exit code.

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
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_connect(wanted.ray)) if wanted.ray else None
        plan = _plan(asked, grid, cluster)
        swept = sorted({*read_record(out).sweep, *asked.sweep})
        configs = {planned.folder: planned.config for planned in plan.grid}
        check_fits(configs, out, swept)  # before what takes seconds
        plan = _measured(asked, plan)
        print("\n".join(describe_plan(plan)), flush=True)
        if asked.dry_run:
            print("\n".join(list_grid(plan)))
            return 0
        stack.enter_context(_claimed(out, shared=bool(wanted.only)))
        remember(out, configs, swept)
        launch = launch_here if cluster is None else cluster.launch(out, plan.share)
        if wanted.only:  # others do the rest at the same time, and one makes the report
            one = plan.grid[wanted.only - 1 :][:1]
            runs = _run(one, 1, launch, asked.sweep, signals)
        else:
            # Ray queues what has no room yet, so that nodes which join later have work.
            at_a_time = plan.jobs if cluster is None else wanted.jobs or len(plan.grid)
            board = AggregateBoard(out, swept)
            runs = _run(plan.grid, at_a_time, launch, asked.sweep, signals, board)
        if signals.received:
            return 128 + signals.received[0]
        failed = {str(x.folder): x.error for x in runs if x.state is State.FAILED}
        if not wanted.only:
            report(out, failed=failed)
    return 1 if failed else 0


def _connect(address: str) -> "Cluster":
    try:
        from wnrl.compare.jobs.ray_cluster import Cluster
    except ModuleNotFoundError as error:
        raise UsageError(f"--ray needs {error.name}: pip install 'wnrl[ray]'") from None
    return Cluster(address)


def _plan(asked: Asked, grid: Sequence[Planned], cluster: "Cluster | None") -> Plan:
    """Where, how many at a time and with how many threads."""
    jobs = 1 if asked.grid.only else asked.grid.jobs
    if cluster is None:
        return plan_here(grid, jobs)
    return plan_on(
        cluster.nodes,
        grid,
        jobs,
        gpus_per_run=asked.grid.gpus_per_run,
        memory_per_run=asked.grid.memory_per_run,
    )


def _measured(asked: Asked, plan: Plan) -> Plan:
    """With time and memory of a run, where that is shown or decides how many run at a time."""
    fixed = bool(asked.grid.only or asked.grid.jobs or asked.grid.ray)
    if asked.settings.get("calibrate") is False or (fixed and not asked.dry_run):
        return plan
    return calibrated(plan, fixed=fixed)


def _run(
    grid: Sequence[Planned],
    at_a_time: int,
    launch: Launch,
    swept: Iterable[str],
    signals: Signals,
    board: AggregateBoard | None = None,
) -> list[Run]:
    names = {str(planned.folder): _label(planned, swept) for planned in grid}
    screen = Screen(names, _look, interval_s=grid[0].config.run.progress_every_s)
    runner = Runner(grid, at_a_time, launch=launch, say=screen.say)
    signals.patient = True
    try:
        while not (runner.over or signals.received):
            runner.poll()
            screen.update(runner.runs)
            if board is not None:
                board.update(runner.runs)
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
    run, values = planned.config.run, variant_settings(planned.config, swept)
    varied = [f"{flag_name(name)}={values[name]}" for name in swept if name in values]
    return " ".join([run.env, run.norm, *varied, f"seed{run.seed}"])


def _look(run: Run) -> RunStatus:
    return read_status(run.folder, running=run.state is State.RUNNING)


def report(out: Path, swept: Sequence[str] = (), failed: Mapping[str, str] | None = None) -> None:
    """Print what the runs in a folder say, and write it as tables, pictures and a page.

    Args:
        out: the folder.
        swept: settings that were varied in them, beside those that a grid there has recorded.
        failed: why a run failed, by its folder.

    Raises:
        UsageError: there is no run, they differ in more than what is compared, or a file cannot be
            written.
    """
    there = take_inventory(out, swept, failed or {})
    comparison = compare_runs(
        there.results,
        there.planned,
        there.problems,
        there.swept,
        np.random.default_rng(_SEED),
    )
    text = summary_markdown(comparison)
    print(text)  # whatever becomes of the files
    written = [out / "summary.md", out / "scores.csv"]
    try:
        replace_text(written[0], text)
        replace_text(written[1], scores_csv(out, there.results, there.swept))
        written += [*write_figures(out, comparison), write_page(out, comparison)]
        write_aggregates(out, there.results, there.swept)  # last: beside runs, maybe of others
    except OSError as error:
        raise UsageError(
            f"{error.filename or out} cannot be written: {error.strerror or error}; once it can, "
            f"--report-only {out} makes the report"
        ) from None
    print(f"written to {out}: {', '.join(path.name for path in written)}")


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
        except BlockingIOError:
            raise UsageError(
                f"{out} is in use by another comparison; wait for it or give another --out"
            ) from None
        except OSError as error:
            raise UsageError(
                f"--out {out}: {error.strerror}: its file system has no locks; choose another"
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
