"""The lines a run prints at its start: what is run, on what device, its memory and its duration."""

from collections.abc import Mapping
from pathlib import Path

import torch

from wnrl import __version__
from wnrl.config import Config
from wnrl.doctor import memory
from wnrl.envs.vector import ObservationSpec
from wnrl.nn.networks.data_initialization import InitReport
from wnrl.nn.networks.torsos import get_network
from wnrl.train.build import resolve
from wnrl.train.foreign_text import visible
from wnrl.train.speed import DAY_S, Speed, cheaper, duration_s, format_duration


def describe(config: Config, run_dir: Path, device: torch.device, done_steps: int) -> list[str]:
    """Return the first lines: what is run, and on what.

    Args:
        config: configuration of the run.
        run_dir: folder of the run.
        device: device of its network.
        done_steps: agent steps done before; 0 for a new run.
    """
    run, agent = config.run, config.agent
    what = f"wnrl {__version__}: {run.agent} with norm {run.norm} on {run.env}"
    if run.env_kwargs:
        what += f" ({run.env_kwargs})"
    if run.preset != "none":
        what += f", preset {run.preset}"
    start = f" from {done_steps:,}" if done_steps else ""
    lines = [f"{what}, seed {run.seed},{start} to {run.steps:,} agent steps"]
    if protocol := resolve(config).protocol:
        lines.append(f"  protocol  {protocol.description}")
        if not protocol.default_game:
            lines.append(
                "  note      the ALE's own threads play no other mode or difficulty than a game's "
                "default: the emulators step one after the other, on one core"
            )
    threads = f"{run.threads} CPU thread{'s' * (run.threads > 1)}, " if run.threads else ""
    lines.append(
        f"  device    {device}, {threads}"
        f"{agent.num_envs} environment{'s' * (agent.num_envs > 1)}, {agent.stored}"
    )
    lines.append(f"  folder    {visible(run_dir)}")
    if agent.updates(run.steps) < 1:
        why = agent.why_no_update(run.steps)
        lines.append(f"  note      nothing will be learnt: {run.steps:,} steps {why}")
    elif config.rate_ends and run.steps > run.schedule_steps:
        lines.append(
            f"  note      the learning rate falls to 0 at {run.schedule_steps:,} agent steps, the "
            "end of the schedule: nothing is learnt after that"
        )
    return lines


def describe_observations(config: Config, observation: ObservationSpec) -> list[str]:
    """Return a line about what the network gets, if an environment gives something else."""
    if not observation.source:
        return []
    network = get_network(config.run.network, observation.shape)
    shape = "x".join(map(str, observation.shape))
    flat = ", flattened" if network.flattens and len(observation.shape) > 1 else ""
    return [f"  observes  {observation.source}; network {network.name} gets {shape}{flat}"]


def describe_threads(chosen: int, tried: Mapping[int, Speed]) -> str:
    """Say how many CPU threads were chosen, and by what."""
    rates = [f"{1 / speed.learning_s:,.0f} with {threads}" for threads, speed in tried.items()]
    return (
        f"{chosen} on the CPU: {', '.join(rates)} agent steps per second while learning; "
        f"--threads {chosen} repeats the run bit for bit"
    )


def describe_costs(
    config: Config, held_bytes: int, saving_bytes: int, speed: Speed | None, done_steps: int
) -> list[str]:
    """Return the last lines: memory and duration, and alternatives to more than a day.

    Args:
        config: configuration of the run.
        held_bytes: peak memory of the process until now, with everything built.
        saving_bytes: memory that a checkpoint will take besides.
        speed: measured speed; None without calibration, when no update has taken memory yet.
        done_steps: agent steps done before.
    """
    total = memory.format_bytes(memory.available_bytes() + memory.resident_bytes())
    if speed is None:
        held = memory.format_bytes(held_bytes)
        return [f"  memory    {held} before the first update, of {total} available"]
    peak = memory.format_bytes(held_bytes + saving_bytes)
    warmup_steps = config.agent.warmup_steps
    total_s = duration_s(speed, warmup_steps, done_steps, config.run.steps)
    rates = f"{1 / speed.learning_s:,.0f} steps per second while learning"
    if done_steps < warmup_steps:
        rates = f"{1 / speed.warmup_s:,.0f} in the warm-up, {rates}"
    lines = [
        f"  memory    {peak} at the peak, of {total} available",
        f"  time      about {format_duration(total_s)} ({rates})",
    ]
    if total_s > DAY_S:
        lines.append(f"  cheaper   {cheaper(config, speed, done_steps)}")
    return lines


def describe_init(report: InitReport) -> str:
    """Report on data-dependent initialization: where sigma met its floor or had no effect."""
    clipped = [f"{x.name} {x.clipped_fraction:.1%}" for x in report.layers if x.clipped_fraction]
    fixed = [layer.name for layer in report.layers if not layer.scale_set]
    line = (
        f"data-dependent in {len(report.layers)} layers; units whose sigma met the floor: "
        f"{', '.join(clipped) or 'none'}"
    )
    if fixed:
        line += f"; only the mean, since the normalization fixes the scale: {', '.join(fixed)}"
    return line
