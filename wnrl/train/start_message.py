"""The start of a run in a few lines: what is run, on what, how much memory, how long it takes."""

from pathlib import Path

import torch

from wnrl import __version__
from wnrl.agents.dqn import DQNConfig
from wnrl.config import AnyAgentConfig, Config
from wnrl.doctor import memory
from wnrl.envs.make import is_atari
from wnrl.nn.networks.data_initialization import InitReport
from wnrl.train.build import run_protocol
from wnrl.train.speed import DAY_S, Speed, cheaper, duration_s, format_duration


def describe(config: Config, run_dir: Path, device: torch.device, done_steps: int) -> list[str]:
    """The first lines: what is run, and on what.

    Args:
        config: resolved.
        run_dir: where the run is kept.
        device: what it computes on.
        done_steps: agent steps done before, 0 for a new run.
    """
    run, agent = config.run, config.agent
    what = f"wnrl {__version__}: {run.agent} with norm {run.norm} on {run.env}"
    if run.preset != "none":
        what += f", preset {run.preset}"
    going_on = f" from {done_steps:,}" if done_steps else ""
    lines = [f"{what}, seed {run.seed},{going_on} to {run.steps:,} agent steps"]
    if is_atari(run.env):
        lines.append(f"  protocol  {run_protocol(config).description}")
    lines.append(
        f"  device    {device}, {run.threads} CPU threads, {agent.num_envs} environments, "
        f"{_stored(agent)}"
    )
    lines.append(f"  folder    {run_dir}")
    if agent.updates(run.steps) < 1:
        lines.append(
            f"  note      nothing will be learnt: {run.steps:,} steps {_why(agent, run.steps)}"
        )
    elif config.rate_ends and run.steps > run.schedule_steps:
        lines.append(
            f"  note      the learning rate is 0 after the {run.schedule_steps:,} steps of "
            "--schedule-steps: nothing is learnt from there on"
        )
    return lines


def _stored(agent: AnyAgentConfig) -> str:
    if isinstance(agent, DQNConfig):
        return f"replay of {agent.buffer_size:,} transitions"
    return f"rollouts of {agent.rollout_steps:,} steps in each"


def _why(agent: AnyAgentConfig, steps: int) -> str:
    if isinstance(agent, DQNConfig):
        warmup = f"the warm-up of {agent.warmup_steps:,} random ones"
        why = f"are no more than {warmup}"
        if steps > agent.warmup_steps:
            why = f"leave {warmup} fewer than the {agent.steps_per_update:,} of an update"
        return f"{why}; change --steps or --warmup-steps"
    return (
        f"are less than one rollout of {agent.num_envs * agent.rollout_steps:,}; change --steps or "
        "--rollout-steps"
    )


def describe_costs(
    config: Config, peak_bytes: int, speed: Speed | None, done_steps: int
) -> list[str]:
    """The last lines: memory and time, and what to do instead of more than a day.

    Args:
        config: resolved.
        peak_bytes: the most memory that the process has held, with everything built.
        speed: as measured; None without a calibration, which leaves the memory of an update out.
        done_steps: agent steps done before.
    """
    there = memory.format_bytes(memory.available_bytes() + memory.resident_bytes())
    held = memory.format_bytes(peak_bytes)
    if speed is None:
        return [f"  memory    {held} before the first update, of {there} there are"]
    warmup_steps = config.agent.warmup_steps
    total_s = duration_s(speed, warmup_steps, done_steps, config.run.steps)
    rates = f"{1 / speed.learning_s:,.0f} steps per second learning"
    if done_steps < warmup_steps:
        rates = f"{1 / speed.warmup_s:,.0f} in the warm-up, {rates}"
    lines = [
        f"  memory    {held} at its peak, of {there} there are",
        f"  time      about {format_duration(total_s)} ({rates})",
    ]
    if total_s > DAY_S:
        lines.append(f"  cheaper   {cheaper(config, speed, done_steps)}")
    return lines


def describe_init(report: InitReport) -> str:
    """The line after data-dependent initialization: where sigma met its floor, or had no effect."""
    clipped = [f"{x.name} {x.clipped_fraction:.1%}" for x in report.layers if x.clipped_fraction]
    fixed = [layer.name for layer in report.layers if not layer.scale_set]
    line = (
        f"data-dependent in {len(report.layers)} layers; units whose sigma met the floor: "
        f"{', '.join(clipped) or 'none'}"
    )
    if fixed:
        line += f"; the mean alone, for the normalization fixes the scale: {', '.join(fixed)}"
    return line
