"""Print a plan: the first lines of a comparison, and the list of its runs."""

from collections.abc import Sequence

from wnrl.compare.grid import PlannedRun
from wnrl.compare.jobs.ray_resources import describe_nodes
from wnrl.compare.jobs.runner import is_done
from wnrl.compare.packing import Measured, steps_per_s
from wnrl.compare.plan import Plan
from wnrl.config import Config
from wnrl.doctor.memory import available_bytes, format_bytes
from wnrl.report.number_format import counted
from wnrl.train.foreign_text import visible
from wnrl.train.speed import duration_s, format_duration
from wnrl.train.storage.run_status import saved_steps


def describe_plan(plan: Plan) -> list[str]:
    """Return the first lines of a comparison: what runs, how much is done, and what it costs."""
    configs = [planned.config for planned in plan.grid]
    envs = dict.fromkeys(config.run.env for config in configs)
    norms = dict.fromkeys(config.run.norm for config in configs)
    seeds = {config.run.seed for config in configs}
    done = sum(is_done(planned) for planned in plan.grid)
    threads = sorted({config.run.threads for config in configs})
    place = f" on Ray ({describe_nodes(plan.nodes)})" if plan.nodes else ""
    lines = [
        f"{counted(len(configs), 'run')} of {configs[0].run.agent}, {done} done: "
        f"{', '.join(envs)}; norm {', '.join(norms)}; {counted(len(seeds), 'seed')}",
        f"  {plan.jobs} at a time{place}, "
        f"{' or '.join(counted(n, 'CPU thread') for n in threads)} each",
        *_describe_packings(plan.packings),
    ]
    return [*lines, *_describe_memory(plan), *_describe_time(plan)] if plan.costs else lines


def _describe_packings(packings: Measured) -> list[str]:
    """Return a line with the steps per second of each packing that was measured."""
    tried = []
    for packing, costs in packings.items():
        runs = f"{counted(packing.jobs, 'run')} of {counted(packing.threads, 'thread')}"
        tried.append(f"{steps_per_s(costs):,.0f} by {runs}" if costs else f"no room for {runs}")
    return [f"  chosen  by agent steps per second: {', '.join(tried)}"] if tried else []


def _describe_memory(plan: Plan) -> list[str]:
    peak_bytes = max(cost.peak_bytes for cost in plan.costs.values())
    if not peak_bytes:  # the system does not report it
        return []
    line = f"  memory  up to {format_bytes(peak_bytes)} per run"
    if plan.nodes:
        return [line]
    total, free = format_bytes(plan.jobs * peak_bytes), format_bytes(available_bytes())
    return [f"{line}, {total} in total; {free} free"]


def _describe_time(plan: Plan) -> list[str]:
    left_s = [_left_s(plan, planned) for planned in plan.grid]
    total_s = max(sum(left_s) / plan.jobs, max(left_s))
    per_run = ", ".join(
        f"{format_duration(_whole_run_s(plan, norm))} with {norm}" for norm in plan.costs
    )
    configs = [planned.config for planned in plan.grid]
    first_values = " and the first swept values" if _has_sweep(configs) else ""
    beside = (
        f"{plan.jobs} runs side by side" if plan.packings and plan.jobs > 1 else "one run alone"
    )
    return [
        f"  time    about {format_duration(total_s)} in total; one run takes {per_run}",
        f"          (measured with {beside} on this machine, {configs[0].run.env}"
        f"{first_values}, without evaluations and checkpoints)",
    ]


def _has_sweep(configs: Sequence[Config]) -> bool:
    """Return whether more than environment, normalization and seed varies."""
    variants = {(config.run.env, config.run.norm, config.name) for config in configs}
    return len(variants) > len({(env, norm) for env, norm, _ in variants})


def _left_s(plan: Plan, planned: PlannedRun) -> float:
    config, done_steps = planned.config, saved_steps(planned.folder)
    if done_steps >= config.run.steps:
        return 0.0
    speed = plan.costs[config.run.norm].speed
    return duration_s(speed, config.agent.warmup_steps, done_steps, config.run.steps)


def _whole_run_s(plan: Plan, norm: str) -> float:
    config = next(each.config for each in plan.grid if each.config.run.norm == norm)
    speed = plan.costs[norm].speed
    return duration_s(speed, config.agent.warmup_steps, 0, config.run.steps)


def list_grid(plan: Plan) -> list[str]:
    """Return a line for each run: its number, its folder and its progress."""
    lines = []
    for number, planned in enumerate(plan.grid, 1):
        saved, steps = saved_steps(planned.folder), planned.config.run.steps
        progress = "done" if saved >= steps else f"{saved:,} of {steps:,}" if saved else "to do"
        lines.append(f"{number:>4}  {visible(planned.folder)}  {progress}")
    return lines
