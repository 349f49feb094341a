"""How a grid is run here: how many at a time, with how many threads, in what time and memory."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wnrl import memory
from wnrl.build import build_env, check_norm
from wnrl.calibration import Cost, calibrate
from wnrl.config import replace
from wnrl.cpus import MAX_THREADS, cpu_quota, usable_cpus
from wnrl.device import resolve_device
from wnrl.errors import UsageError
from wnrl.forecast import duration_s, format_duration
from wnrl.grid import Planned
from wnrl.run_status import saved_steps
from wnrl.rundir import read_config
from wnrl.runner import is_done


class Plan(NamedTuple):
    """A grid with all that is decided before it starts."""

    grid: list[Planned]
    jobs: int
    costs: Mapping[str, Cost]  # by normalization; empty where nothing was measured


def check_runnable(grid: Sequence[Planned]) -> None:
    """Refuse what cannot be run here: devices, environments, normalizations in their networks.

    Raises:
        UsageError: the first thing that cannot.
    """
    for device in dict.fromkeys(planned.config.run.device for planned in grid):
        resolve_device(device)
    first_seed = [planned for planned in grid if planned.config.run.seed == grid[0].config.run.seed]
    for name in dict.fromkeys(planned.config.run.env for planned in grid):
        configs = [planned.config for planned in first_seed if planned.config.run.env == name]
        with contextlib.closing(build_env(configs[0], num_envs=1)) as env:
            for config in configs:
                check_norm(config, env)


def share_out(grid: Sequence[Planned], jobs: int) -> tuple[list[Planned], int]:
    """Decide how many run at a time and with how many threads, one number for all that do not say.

    Results depend on the number of threads, so runs that are there already keep theirs, and the
    others have the same.

    Args:
        grid: the runs.
        jobs: how many at a time; 0 for as many as there are cores for.

    Returns:
        The grid with threads, and how many at a time.
    """
    todo = sum(not is_done(planned) for planned in grid)
    cores = max(1, min(usable_cpus(), int(cpu_quota() or usable_cpus())))
    threads = next(filter(None, map(_threads, grid)), 0)
    jobs = jobs or max(1, min(todo, cores // max(1, threads)))
    threads = threads or max(1, min(MAX_THREADS, cores // jobs))
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
        room = memory.available_bytes() // max(cost.peak_bytes for cost in costs.values())
        jobs = max(1, min(jobs, room))
    return Plan(plan.grid, jobs, costs)


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
    lines = [
        f"{len(configs)} runs of {configs[0].run.agent}, {done} done: {', '.join(envs)} with norm "
        f"{', '.join(norms)}, {configs[-1].run.seed} seeds",
        f"  {plan.jobs} at a time with {' or '.join(map(str, threads))} CPU threads each",
    ]
    if not plan.costs:
        return lines
    peak_bytes = max(cost.peak_bytes for cost in plan.costs.values())
    together = memory.format_bytes(plan.jobs * peak_bytes)
    lines.append(
        f"  memory  up to {memory.format_bytes(peak_bytes)} a run, {together} together, of "
        f"{memory.format_bytes(memory.available_bytes())} that are free"
    )
    left = [_left_s(planned, plan.costs) for planned in plan.grid]
    total_s = max(sum(left) / plan.jobs, max(left))
    of_each = ", ".join(f"{norm} {format_duration(_whole_s(plan, norm))}" for norm in plan.costs)
    lines.append(
        f"  time    about {format_duration(total_s)} ({of_each} a run; measured on {envs[0]}, "
        "without other runs beside it, evaluations and checkpoints)"
    )
    return lines


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
    """A line a run: its folder, and how far it is."""
    lines = []
    for planned in plan.grid:
        saved, steps = saved_steps(planned.folder), planned.config.run.steps
        state = "done" if saved >= steps else f"{saved:,} of {steps:,}" if saved else "to do"
        lines.append(f"  {planned.folder}  {state}")
    return lines
