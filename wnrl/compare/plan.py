"""How a grid is run: how many at a time, with how many threads, in what time and memory."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wnrl._settings import UsageError
from wnrl.compare.grid import Planned
from wnrl.compare.jobs.ray_resources import Node, Share, describe_nodes, gpu_share, room
from wnrl.compare.jobs.runner import is_done
from wnrl.compare.run_cost import Cost, calibrate
from wnrl.config import Config, replace
from wnrl.doctor import memory
from wnrl.doctor.cpus import MAX_THREADS, cpu_quota, usable_cpus
from wnrl.doctor.device import resolve_device
from wnrl.report.number_format import counted
from wnrl.train.build import build_env, check_norm
from wnrl.train.speed import duration_s, format_duration
from wnrl.train.storage.run_folder import read_config
from wnrl.train.storage.run_status import saved_steps


class Plan(NamedTuple):
    """A grid with all that is decided before it starts."""

    grid: list[Planned]
    jobs: int
    costs: Mapping[str, Cost] = {}  # by normalization; empty where nothing was measured
    nodes: Sequence[Node] = ()  # of the cluster that runs it; else this machine does
    share: Share = Share(0, 0.0, 0)  # what a run reserves there


def check_runnable(grid: Sequence[Planned]) -> None:
    """Refuse what cannot be run: environments, normalizations in their networks.

    Raises:
        UsageError: the first thing that cannot.
    """
    first_seed = [planned for planned in grid if planned.config.run.seed == grid[0].config.run.seed]
    for name in dict.fromkeys(planned.config.run.env for planned in grid):
        configs = [planned.config for planned in first_seed if planned.config.run.env == name]
        with contextlib.closing(build_env(configs[0], num_envs=1)) as env:
            for config in configs:
                check_norm(config, env)


def plan_here(grid: Sequence[Planned], jobs: int) -> Plan:
    """Plan a grid for this machine.

    Args:
        grid: the runs.
        jobs: how many at a time; 0 for as many as there are cores for.

    Raises:
        UsageError: this machine does not have their device.
    """
    resolve_device(grid[0].config.run.device)
    cores = max(1, min(usable_cpus(), int(cpu_quota() or usable_cpus())))
    return Plan(*_share_out(grid, jobs, cores, MAX_THREADS))


def plan_on(
    nodes: Sequence[Node],
    grid: Sequence[Planned],
    jobs: int,
    *,
    gpus_per_run: float,
    memory_per_run: int,
) -> Plan:
    """Plan a grid for a cluster.

    Args:
        nodes: the cluster.
        grid: the runs.
        jobs: how many at a time at most; 0 for as many as there is room for.
        gpus_per_run: part of a GPU for each, where there are GPUs.
        memory_per_run: bytes for each; 0 to reserve none.

    Raises:
        UsageError: the cluster does not have what a run needs.
    """
    cores, largest = sum(node.cpus for node in nodes), max(node.cpus for node in nodes)
    planned, _ = _share_out(grid, jobs, max(1, int(cores)), max(1, min(MAX_THREADS, int(largest))))
    threads = max(each.config.run.threads for each in planned)
    gpus = gpu_share(nodes, grid[0].config.run.device, gpus_per_run)
    share = Share(threads, gpus, memory_per_run)
    at_a_time = min(jobs or len(planned), room(nodes, share))
    return Plan(planned, at_a_time, nodes=nodes, share=share)


def _share_out(
    grid: Sequence[Planned], jobs: int, cores: int, most_threads: int
) -> tuple[list[Planned], int]:
    """Decide how many run at a time and with how many threads, one number for all that do not say.

    Results depend on the number of threads, so runs that are there already keep theirs, and the
    others have the same.
    """
    todo = sum(not is_done(planned) for planned in grid)
    threads = next(filter(None, map(_threads, grid)), 0)
    jobs = jobs or max(1, min(todo, cores // max(1, threads)))
    threads = threads or max(1, min(most_threads, cores // jobs))
    shared = []
    for planned in grid:
        config = replace(planned.config, threads=planned.config.run.threads or threads)
        shared.append(planned._replace(config=config))
    return shared, jobs


def calibrated(plan: Plan, *, fixed: bool) -> Plan:
    """Measure time and memory of each normalization that is to run, in the first environment.

    Args:
        plan: with threads.
        fixed: the number at a time was asked for; else it falls to what memory allows.

    Raises:
        UsageError: a run that cannot be measured.
    """
    todo = {planned.config.run.norm for planned in plan.grid if not is_done(planned)}
    costs: dict[str, Cost] = {}
    for planned in plan.grid:
        run = planned.config.run
        if run.env == plan.grid[0].config.run.env and run.norm in todo - set(costs):
            costs[run.norm] = calibrate(planned.config)
    jobs = plan.jobs
    if costs and not fixed:
        fitting = memory.available_bytes() // max(cost.peak_bytes for cost in costs.values())
        jobs = max(1, min(jobs, fitting))
    return plan._replace(jobs=jobs, costs=costs)


def _threads(planned: Planned) -> int:
    """The threads that a run says or began with; 0 if it has neither."""
    with contextlib.suppress(UsageError):
        return planned.config.run.threads or read_config(planned.folder).run.threads
    return planned.config.run.threads


def describe_plan(plan: Plan) -> list[str]:
    """The first lines of a comparison: how many runs, done and to do, and what they take."""
    configs = [planned.config for planned in plan.grid]
    envs = list(dict.fromkeys(config.run.env for config in configs))
    norms = list(dict.fromkeys(config.run.norm for config in configs))
    done = sum(is_done(planned) for planned in plan.grid)
    threads = sorted({config.run.threads for config in configs})
    place = f" on Ray, {describe_nodes(plan.nodes)}" if plan.nodes else ""
    lines = [
        f"{len(configs)} runs of {configs[0].run.agent}, {done} done: {', '.join(envs)} with norm "
        f"{', '.join(norms)}, {counted(configs[-1].run.seed, 'seed')}",
        f"  {plan.jobs} at a time with "
        f"{' or '.join(counted(n, 'CPU thread') for n in threads)} each{place}",
    ]
    if not plan.costs:
        return lines
    peak_bytes = max(cost.peak_bytes for cost in plan.costs.values())
    lines.append(f"  memory  up to {memory.format_bytes(peak_bytes)} a run")
    if not plan.nodes:
        together = memory.format_bytes(plan.jobs * peak_bytes)
        free = memory.format_bytes(memory.available_bytes())
        lines[-1] += f", {together} together, of {free} that are free"
    left = [_left_s(planned, plan.costs) for planned in plan.grid]
    total_s = max(sum(left) / plan.jobs, max(left))
    first = " and the first value of what is swept" if _sweeps(configs) else ""
    of_each = ", ".join(f"{norm} {format_duration(_whole_s(plan, norm))}" for norm in plan.costs)
    lines.append(
        f"  time    about {format_duration(total_s)} ({of_each} a run; measured on "
        f"{envs[0]}{first} here, without other runs beside it, evaluations and checkpoints)"
    )
    return lines


def _sweeps(configs: Sequence[Config]) -> bool:
    """Whether more is varied than environment, normalization and seed."""
    kinds = {(config.run.env, config.run.norm, config.name) for config in configs}
    return len(kinds) > len({(env, norm) for env, norm, _ in kinds})


def _left_s(planned: Planned, costs: Mapping[str, Cost]) -> float:
    config, done_steps = planned.config, saved_steps(planned.folder)
    if done_steps >= config.run.steps:
        return 0.0
    speed = costs[config.run.norm].speed
    return duration_s(speed, config.agent.warmup_steps, done_steps, config.run.steps)


def _whole_s(plan: Plan, norm: str) -> float:
    config = next(each.config for each in plan.grid if each.config.run.norm == norm)
    speed = plan.costs[norm].speed
    return duration_s(speed, config.agent.warmup_steps, 0, config.run.steps)


def list_grid(plan: Plan) -> list[str]:
    """A line a run: its number, its folder, and how far it is."""
    lines = []
    for number, planned in enumerate(plan.grid, 1):
        saved, steps = saved_steps(planned.folder), planned.config.run.steps
        state = "done" if saved >= steps else f"{saved:,} of {steps:,}" if saved else "to do"
        lines.append(f"{number:>4}  {planned.folder}  {state}")
    return lines
