"""A comparison from its arguments to its report: plan the grid, run it, write what came of it.

Every run is a process of `wnrl.train` with its own folder. A comparison that is repeated continues
where it stopped.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wnrl._settings import UsageError, flag_name
from wnrl.compare.final_report import write_report
from wnrl.compare.flags import CompareArguments, CompareOptions
from wnrl.compare.folder_lock import locked
from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.process import Launch, local_launch
from wnrl.compare.jobs.runner import NOT_DONE, Run, Runner, State
from wnrl.compare.jobs.table import Screen
from wnrl.compare.live_mean import LiveMeans
from wnrl.compare.plan import (
    Plan,
    check_runnable,
    is_brief,
    packing_record,
    plan_locally,
    plan_on_cluster,
    with_costs,
    with_packing,
)
from wnrl.compare.plan_text import describe_plan, list_grid
from wnrl.compare.stages import StagedStudy, check_stages, run_stages
from wnrl.compare.tuning import check_tuning, tuned
from wnrl.config import NO_TRACKER
from wnrl.report.comparison import Question
from wnrl.report.find_runs import check_fits, norms_in, read_record, remember, remember_command
from wnrl.report.page import PAGE
from wnrl.report.run_differences import check_baseline, variant_settings
from wnrl.report.run_result import TUNING
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.storage.run_status import RunStatus, read_status
from wnrl.train.tracking.attached_file import attach

if TYPE_CHECKING:
    from wnrl.compare.jobs.ray_cluster import Cluster

_POLL_S = 0.2


def compare(arguments: CompareArguments, signals: StopSignals) -> int:
    """Choose values if the command tunes them, run the comparison and return the exit code.

    Args:
        arguments: from `parse_compare_flags`.
        signals: installed; the first one asks the runs to end.

    Raises:
        UsageError: a run cannot work, or does not fit the existing runs in the folder.
    """
    arguments = _grouped(arguments)
    if not arguments.tune:
        check_tuning(arguments)
        return _compare(arguments, signals)
    judged, exit_code = tuned(arguments, lambda tuning: _compare(tuning, signals))
    if judged is None:
        return exit_code
    return max(exit_code, _compare(judged, signals))


def _grouped(arguments: CompareArguments) -> CompareArguments:
    """Make the runs one group of their tracker, named after the folder of the comparison."""
    if arguments.settings.get("track", NO_TRACKER) == NO_TRACKER:
        return arguments
    group = Path(arguments.options.out).absolute().name
    return arguments._replace(settings={"track_group": group, **arguments.settings})


def _compare(arguments: CompareArguments, signals: StopSignals) -> int:
    """Plan a grid, run it and write its report; return the exit code."""
    options = arguments.options
    out = Path(options.out).absolute() if options.ray else Path(options.out)
    grid = _make_grid(arguments, out)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_connect(options.ray)) if options.ray else None
        plan = _plan(arguments, grid, cluster, out)
        swept = sorted({*read_record(out).sweep, *arguments.sweep})
        configs = {planned.folder: planned.config for planned in plan.grid}
        check_fits(configs, out, swept, arguments.tune)  # before the costs, which take seconds
        check_baseline(options.baseline, norms_in(out, configs.values()))
        question = options.question(read_record(out).question)
        check_stages(_study(options, plan.grid, swept, question), out)
        plan = _measured(arguments, plan)
        configs = {planned.folder: planned.config for planned in plan.grid}
        study = _study(options, plan.grid, swept, question)
        print(
            "\n".join([*describe_plan(plan), *([study.description] if study else [])]), flush=True
        )
        if arguments.dry_run:
            print("\n".join(list_grid(plan)))
            return 0
        stack.enter_context(locked(out, shared=bool(options.only)))
        launch = cluster.launch(out, plan.share) if cluster else local_launch(plan.gpus)
        means = None if options.only else LiveMeans(out, swept)
        here, at_a_time = _runs_here(options, plan, cluster)
        alone = not (options.only or cluster)  # other processes may train at the same time
        remember_command(out, arguments.command, at_a_time if alone else 0, packing_record(plan))

        def run(planned: Sequence[PlannedRun], earlier: Sequence[Run] = ()) -> list[Run]:
            return _run(planned, at_a_time, launch, arguments.sweep, signals, means, earlier)

        if study is None:
            remember(out, configs, swept, question)
            runs = run(here)
        else:
            runs = run_stages(study, out, swept, question, run)
        if signals.received:
            return 128 + signals.received[0]
        failed = {str(run.folder): run.error for run in runs if run.state in NOT_DONE}
        if not options.only:
            write_report(out, options, failed=failed)
            first = grid[0].config.run
            if first.track != NO_TRACKER:
                attach(out / PAGE, first.track, first.track_group, say=partial(print, flush=True))
    return 1 if failed else 0


def _make_grid(arguments: CompareArguments, out: Path) -> list[PlannedRun]:
    options = arguments.options
    grid = arguments.grid(out)
    only = options.only
    if only > len(grid):
        raise UsageError(f"--only {only} is out of range; the grid has {len(grid)} runs")
    check_runnable(grid)
    return grid


def _connect(address: str) -> "Cluster":
    try:
        from wnrl.compare.jobs.ray_cluster import Cluster
    except ModuleNotFoundError as error:
        raise UsageError(f"--ray needs {error.name}; pip install 'wnrl[ray]'") from None
    return Cluster(address)


def _study(
    options: CompareOptions, grid: Sequence[PlannedRun], swept: Sequence[str], question: Question
) -> StagedStudy | None:
    return StagedStudy(grid, options.seeds, swept, question) if options.until else None


def _plan(
    arguments: CompareArguments,
    grid: Sequence[PlannedRun],
    cluster: "Cluster | None",
    out: Path,
) -> Plan:
    options = arguments.options
    jobs = 1 if options.only else options.jobs
    if cluster is None:
        # The runs that a tuned comparison judges are packed as those that it was tuned by.
        records = (read_record(folder).packing for folder in (out, out / TUNING))
        return plan_locally(grid, jobs, next(filter(None, records), None))
    return plan_on_cluster(
        cluster.nodes,
        grid,
        jobs,
        gpus_per_run=options.gpus_per_run,
        memory_per_run=options.memory_per_run,
    )


def _measured(arguments: CompareArguments, plan: Plan) -> Plan:
    """Measure what decides how many runs go at a time, and what --dry-run shows."""
    options = arguments.options
    fixed_jobs = bool(options.only or options.jobs or options.ray)
    needed = arguments.dry_run or not (fixed_jobs or is_brief(plan))
    if arguments.settings.get("calibrate") is False or not needed:
        return plan
    say = partial(print, flush=True)
    if plan.is_open:
        plan = with_packing(plan, say)
    return with_costs(plan, say, fixed_jobs=fixed_jobs)


def _runs_here(
    options: CompareOptions, plan: Plan, cluster: "Cluster | None"
) -> tuple[list[PlannedRun], int]:
    """Return the runs that this process takes care of, and how many of them at a time."""
    if options.only:  # other processes do the others
        return [plan.grid[options.only - 1]], 1
    if cluster is None:
        return plan.grid, plan.jobs
    # Ray queues the runs that have no room yet, so that nodes which join later have work.
    return plan.grid, options.jobs or len(plan.grid)


def _run(
    grid: Sequence[PlannedRun],
    at_a_time: int,
    launch: Launch,
    swept: Iterable[str],
    signals: StopSignals,
    means: LiveMeans | None,
    earlier: Sequence[Run] = (),
) -> list[Run]:
    """Run the grid until every run is done or has failed, or a signal arrives."""
    names = {str(planned.folder): _name(planned, swept) for planned in grid}
    screen = Screen(names, _read_status, interval_s=grid[0].config.run.progress_every_s)
    runner = Runner(grid, at_a_time, launch=launch, report=screen.print_line)
    signals.before_leaving = runner.kill
    signals.defer(stopping := "stopping: every run writes a checkpoint; press again to end now")
    try:
        while not (runner.finished or signals.received):
            runner.poll()
            screen.update(runner.runs)
            if means is not None:
                means.update([*earlier, *runner.runs])
            time.sleep(_POLL_S)
    finally:
        if not signals.received and any(run.state is State.RUNNING for run in runner.runs):
            screen.print_line(stopping)
        runner.stop()
        signals.undefer()
    screen.show(runner.runs)
    return runner.runs


def _name(planned: PlannedRun, swept: Iterable[str]) -> str:
    """Name a run by what varies in the grid: `Breakout weight learning-rate=0.001 seed2`."""
    run, values = planned.config.run, variant_settings(planned.config, swept)
    varied = [f"{flag_name(name)}={values[name]}" for name in swept if name in values]
    return " ".join([run.env, run.norm, *varied, f"seed{run.seed}"])


def _read_status(run: Run) -> RunStatus:
    return read_status(run.folder, running=run.state is State.RUNNING)
