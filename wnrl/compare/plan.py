"""Plan a grid: how many runs at a time, with how many CPU threads, at what cost in time and memory.

`wnrl.compare.plan_text` prints the plan.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from wnrl._settings import UsageError
from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.ray_resources import Node, Share, gpu_share, room
from wnrl.compare.jobs.runner import is_done
from wnrl.compare.run_cost import RunCost, measure_cost
from wnrl.config import replace
from wnrl.doctor.cpus import MAX_THREADS, cpu_quota, usable_cpus
from wnrl.doctor.device import resolve_device
from wnrl.doctor.memory import available_bytes
from wnrl.train.build import build_env, check_norm, resolve
from wnrl.train.storage.run_folder import read_config


class Plan(NamedTuple):
    """A grid and all decisions made before it starts."""

    grid: list[PlannedRun]
    jobs: int  # runs at a time
    costs: Mapping[str, RunCost] = {}  # by normalization; empty if nothing was measured
    nodes: Sequence[Node] = ()  # the cluster's; empty on this machine
    share: Share = Share(0, 0.0, 0)  # resources that a run reserves on the cluster


def check_runnable(grid: Sequence[PlannedRun]) -> None:
    """Refuse environments that cannot be built, and normalizations that do not fit their network.

    Raises:
        UsageError: the first problem.
    """
    first_seed = [planned for planned in grid if planned.config.run.seed == grid[0].config.run.seed]
    for name in dict.fromkeys(planned.config.run.env for planned in grid):
        configs = [planned.config for planned in first_seed if planned.config.run.env == name]
        with contextlib.closing(build_env(resolve(configs[0]), num_envs=1)) as env:
            for config in configs:
                check_norm(resolve(config), env)


def plan_locally(grid: Sequence[PlannedRun], jobs: int) -> Plan:
    """Plan a grid for this machine.

    Args:
        grid: the runs.
        jobs: runs at a time; 0 for as many as the cores allow.

    Raises:
        SettingError: this machine does not have the runs' device.
    """
    resolve_device(grid[0].config.run.device)
    cores = max(1, min(usable_cpus(), int(cpu_quota() or usable_cpus())))
    return Plan(*_share_cores(grid, jobs, cores, MAX_THREADS))


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
    planned_runs, _ = _share_cores(grid, jobs, max(1, int(cores)), max_threads)
    threads = max(planned.config.run.threads for planned in planned_runs)
    gpus = gpu_share(nodes, grid[0].config.run.device, gpus_per_run)
    share = Share(threads, gpus, memory_per_run)
    at_a_time = min(jobs or len(planned_runs), room(nodes, share))
    return Plan(planned_runs, at_a_time, nodes=nodes, share=share)


def _share_cores(
    grid: Sequence[PlannedRun], jobs: int, cores: int, max_threads: int
) -> tuple[list[PlannedRun], int]:
    """Choose how many runs go at a time, and the threads of the runs that do not set their own.

    Results depend on the number of threads. Existing runs keep theirs, and the others get the same.
    """
    to_do = sum(not is_done(planned) for planned in grid)
    threads = next(filter(None, map(_fixed_threads, grid)), 0)
    jobs = jobs or max(1, min(to_do, cores // max(1, threads)))
    threads = threads or max(1, min(max_threads, cores // jobs))
    with_threads = []
    for planned in grid:
        config = replace(planned.config, threads=planned.config.run.threads or threads)
        with_threads.append(planned._replace(config=config))
    return with_threads, jobs


def _fixed_threads(planned: PlannedRun) -> int:
    """Return the threads that a run asks for or was started with; 0 if neither is known."""
    with contextlib.suppress(UsageError):
        return planned.config.run.threads or read_config(planned.folder).run.threads
    return planned.config.run.threads


def with_costs(plan: Plan, say: Callable[[str], None], *, fixed_jobs: bool) -> Plan:
    """Measure time and memory of each normalization with runs to do, in the first environment.

    Args:
        plan: a plan with threads.
        say: shows a line about what is measured.
        fixed_jobs: the user chose the number of runs at a time; otherwise it falls to what the
            memory allows.

    Raises:
        UsageError: a run that cannot be measured.
    """
    norms_to_do = {planned.config.run.norm for planned in plan.grid if not is_done(planned)}
    costs: dict[str, RunCost] = {}
    for planned in plan.grid:
        run = planned.config.run
        if run.env == plan.grid[0].config.run.env and run.norm in norms_to_do - set(costs):
            say(f"measuring the time and memory of a run with {run.norm} (some seconds)")
            costs[run.norm] = measure_cost(planned)
    jobs = plan.jobs
    peak_bytes = max((cost.peak_bytes for cost in costs.values()), default=0)
    if peak_bytes and not fixed_jobs:
        jobs = max(1, min(jobs, available_bytes() // peak_bytes))
    return plan._replace(jobs=jobs, costs=costs)
