"""Plan a grid: how many runs at a time, with how many CPU threads, at what cost in time and memory.

`wnrl.compare.plan_text` prints the plan.
"""

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from wnrl._settings import UsageError
from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.process import one_gpu
from wnrl.compare.jobs.ray_resources import Node, Share, gpu_share, room
from wnrl.compare.jobs.runner import is_done
from wnrl.compare.packing import Packing, choose_packing, steps_per_s
from wnrl.compare.run_cost import RunCost, Trial, mean_cost, measure_together
from wnrl.config import replace
from wnrl.doctor.cpus import MAX_THREADS, usable_cores
from wnrl.doctor.device import resolve_device, shared_gpus
from wnrl.doctor.memory import available_bytes
from wnrl.envs.make import is_atari
from wnrl.report.find_runs import PackingRecord, PackingSpeed
from wnrl.report.number_format import counted, listed
from wnrl.train.build import build_env, check_norm, resolve
from wnrl.train.memory_budget import RESERVE_BYTES
from wnrl.train.storage.run_folder import read_config
from wnrl.train.storage.run_status import saved_steps
from wnrl.train.tracking.catalogue import check_tracker

# Runs of small networks have one thread, so there is little to choose. With fewer agent steps than
# this, all together, they are over before it pays to measure even their memory.
BRIEF_STEPS = 1_000_000


class Plan(NamedTuple):
    """A grid and all decisions made before it starts."""

    grid: list[PlannedRun]
    jobs: int  # runs at a time
    is_open: bool = False  # neither a flag nor an earlier command fixes runs at a time and threads
    costs: Mapping[str, RunCost] = {}  # by normalization; empty if nothing was measured
    packings: Mapping[Packing, Sequence[RunCost]] = {}  # those that `jobs` was chosen from
    gpus: Sequence[str] = ()  # this machine's, that runs are spread over
    nodes: Sequence[Node] = ()  # the cluster's; empty on this machine
    share: Share = Share(0, 0.0, 0)  # resources that a run reserves on the cluster


def check_runnable(grid: Sequence[PlannedRun]) -> None:
    """Refuse environments and normalizations that cannot be built, and a tracker that is missing.

    Raises:
        UsageError: the first problem.
    """
    check_tracker(grid[0].config.run.track)
    first_seed = [planned for planned in grid if planned.config.run.seed == grid[0].config.run.seed]
    for name in dict.fromkeys(planned.config.run.env for planned in grid):
        configs = [planned.config for planned in first_seed if planned.config.run.env == name]
        with contextlib.closing(build_env(resolve(configs[0]), num_envs=1)) as env:
            for config in configs:
                check_norm(resolve(config), env)


def plan_locally(
    grid: Sequence[PlannedRun], jobs: int, earlier: PackingRecord | None = None
) -> Plan:
    """Plan a grid for this machine.

    Args:
        grid: the runs.
        jobs: runs at a time; 0 for as many as the cores allow.
        earlier: what an earlier command in the same folder measured.

    Raises:
        SettingError: this machine does not have the runs' device.
    """
    device = grid[0].config.run.device
    resolve_device(device)
    cores, threads, chosen_jobs = usable_cores(), _fixed_threads(grid), jobs
    applies = earlier and earlier.cores == cores and _to_do(grid) <= earlier.runs
    if earlier and applies and not jobs and threads in (0, earlier.threads):
        threads, chosen_jobs = earlier.threads, min(earlier.jobs, _to_do(grid))
    packing = _share_cores(grid, Packing(chosen_jobs, threads), cores, MAX_THREADS)
    return Plan(
        _with_threads(grid, packing.threads),
        packing.jobs,
        is_open=not (jobs or threads),
        gpus=shared_gpus(device),
    )


def plan_on_cluster(
    nodes: Sequence[Node],
    grid: Sequence[PlannedRun],
    jobs: int,
    *,
    gpus_per_run: float,
    memory_per_run: int,
) -> Plan:
    """Plan a grid for a Ray cluster.

    Args:
        nodes: the cluster.
        grid: the runs.
        jobs: maximum number of runs at a time; 0 for as many as there is room for.
        gpus_per_run: share of a GPU for each run, if there are GPUs.
        memory_per_run: bytes for each run; 0 to reserve none.

    Raises:
        UsageError: the cluster does not have what a run needs.
    """
    cores, largest = sum(node.cpus for node in nodes), max(node.cpus for node in nodes)
    max_threads = max(1, min(MAX_THREADS, int(largest)))
    fixed = Packing(jobs, _fixed_threads(grid))
    packing = _share_cores(grid, fixed, max(1, int(cores)), max_threads)
    planned_runs = _with_threads(grid, packing.threads)
    threads = max(planned.config.run.threads for planned in planned_runs)
    gpus = gpu_share(nodes, grid[0].config.run.device, gpus_per_run)
    share = Share(threads, gpus, memory_per_run)
    at_a_time = min(jobs or len(planned_runs), room(nodes, share))
    return Plan(planned_runs, at_a_time, nodes=nodes, share=share)


def _share_cores(
    grid: Sequence[PlannedRun], fixed: Packing, cores: int, max_threads: int
) -> Packing:
    """Choose what is not fixed (0) by the number of cores alone."""
    jobs = fixed.jobs or max(1, min(_to_do(grid), cores // max(1, fixed.threads)))
    return Packing(jobs, fixed.threads or max(1, min(max_threads, cores // jobs)))


def _to_do(grid: Sequence[PlannedRun]) -> int:
    return sum(not is_done(planned) for planned in grid)


def _fixed_threads(grid: Sequence[PlannedRun]) -> int:
    """Return the threads that a run asks for or was started with; 0 if none is known.

    Results depend on the number of threads. Existing runs keep theirs, and the others get the same.
    """
    for planned in grid:
        threads = planned.config.run.threads
        with contextlib.suppress(UsageError):
            threads = threads or read_config(planned.folder).run.threads
        if threads:
            return threads
    return 0


def _with_threads(grid: Sequence[PlannedRun], threads: int) -> list[PlannedRun]:
    """Give threads to the runs that do not set their own."""
    return [
        planned._replace(
            config=replace(planned.config, threads=planned.config.run.threads or threads)
        )
        for planned in grid
    ]


def is_brief(plan: Plan) -> bool:
    """Return whether the runs are over before it pays to measure them.

    They are if their networks are small, they have fewer than `BRIEF_STEPS` agent steps to do, and
    they surely fit into the memory.
    """
    runs = [planned.config.run for planned in plan.grid]
    left_steps = sum(
        max(0, planned.config.run.steps - saved_steps(planned.folder)) for planned in plan.grid
    )
    small = not any(is_atari(name) for name in {run.env for run in runs})
    return small and left_steps < BRIEF_STEPS and plan.jobs * RESERVE_BYTES <= available_bytes()


def with_packing(plan: Plan, say: Callable[[str], None]) -> Plan:
    """Choose runs at a time and threads by the steps per second that runs do side by side.

    They are runs of the first normalization and environment with runs to do.

    Args:
        plan: an open plan.
        say: shows a line about what is measured.

    Raises:
        UsageError: a run that cannot be measured.
    """
    to_do = [planned for planned in plan.grid if not is_done(planned)]
    if not to_do:
        return plan
    cores = usable_cores()

    def measure(packing: Packing) -> list[RunCost]:
        say(f"measuring {_packing_text(packing)} (some seconds)")
        config = replace(to_do[0].config, threads=packing.threads)
        return _measure(plan, [to_do[0]._replace(config=config)] * packing.jobs)

    best, packings = choose_packing(
        measure,
        lambda alone: min(len(to_do), cores, _room(alone.peak_bytes)),
        lambda jobs: min(MAX_THREADS, cores // jobs),
    )
    return plan._replace(
        grid=[
            planned._replace(config=replace(planned.config, threads=best.threads))
            for planned in plan.grid
        ],
        jobs=best.jobs,
        costs={to_do[0].config.run.norm: mean_cost(packings[best])},
        packings=packings,
    )


def with_costs(plan: Plan, say: Callable[[str], None], *, fixed_jobs: bool) -> Plan:
    """Measure time and memory of each normalization with runs to do, in the first environment.

    Each is measured next to as many other runs as will train at a time, if the packing was
    measured, and otherwise alone.

    Args:
        plan: a plan with threads.
        say: shows a line about what is measured.
        fixed_jobs: the user chose the number of runs at a time; otherwise it falls to what the
            memory allows.

    Raises:
        UsageError: a run that cannot be measured.
    """
    env = plan.grid[0].config.run.env
    by_norm: dict[str, PlannedRun] = {}
    for planned in plan.grid:
        run = planned.config.run
        if run.env == env and run.norm not in plan.costs and not is_done(planned):
            by_norm.setdefault(run.norm, planned)
    costs, together = dict(plan.costs), plan.jobs if plan.packings else 1
    for first in range(0, len(by_norm), together):
        norms = list(by_norm)[first : first + together]
        say(f"measuring the time and memory of a run with {listed(norms)} (some seconds)")
        beside = itertools.islice(itertools.cycle(norms), together)
        measured = _measure(plan, [by_norm[norm] for norm in beside])
        costs.update(zip(norms, measured, strict=False))
    jobs = plan.jobs
    if costs and not fixed_jobs:
        jobs = min(jobs, _room(max(cost.peak_bytes for cost in costs.values())))
    return plan._replace(jobs=jobs, costs=costs)


def _measure(plan: Plan, runs: Sequence[PlannedRun]) -> list[RunCost]:
    """Measure runs side by side, on the plan's GPUs by turns."""
    gpus = itertools.cycle([one_gpu(gpu) for gpu in plan.gpus] or [{}])
    return measure_together([Trial(*pair) for pair in zip(runs, gpus, strict=False)])


def _room(peak_bytes: int) -> int:
    """Return how many runs fit into the memory, at least one."""
    return max(1, available_bytes() // max(1, peak_bytes))


def _packing_text(packing: Packing) -> str:
    each = " each" if packing.jobs > 1 else ""
    return f"{counted(packing.jobs, 'run')} with {counted(packing.threads, 'CPU thread')}{each}"


def packing_record(plan: Plan) -> PackingRecord | None:
    """Return what compare.json keeps of a measured packing; None if none was measured."""
    if not plan.packings:
        return None
    return PackingRecord(
        plan.jobs,
        plan.grid[0].config.run.threads,
        usable_cores(),
        _to_do(plan.grid),
        [PackingSpeed(*packing, steps_per_s(costs)) for packing, costs in plan.packings.items()],
    )
