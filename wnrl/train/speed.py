"""Forecast the duration of a run and choose its threads, from a short calibration at its start."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch

from wnrl.agents.catalogue import AGENTS
from wnrl.agents.record import AgentSettings
from wnrl.config import Config, replace
from wnrl.envs.make import is_atari
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import EpisodeStatistics, VectorEnv
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import Tick, run

DAY_S = 86_400.0
WORTH = 0.95  # more threads must take at most this share of the time that fewer take


class Speed(NamedTuple):
    """Seconds per agent step."""

    warmup_s: float  # random actions without updates
    learning_s: float  # acting and learning


@contextlib.contextmanager
def lent(config: Config, env: VectorEnv) -> Iterator[VectorEnv]:
    """Yield environments to measure with, reset; the run resets its own afterwards.

    Emulators are slow to open and begin again from their seeds, so they are the run's own. Others
    are copies, since not every environment begins again.
    """
    if is_atari(config.run.env):
        env.reset()
        yield env
        return
    with contextlib.closing(build_env(resolve(config))) as copies:
        copies.reset()
        yield copies


def measure_speed(
    config: Config, device: torch.device, env: VectorEnv, budget_s: float = 2.0
) -> Speed:
    """Run a throwaway agent for about `budget_s` seconds, half in its warm-up, half learning.

    It shares no network or generator with the run, which is the same with and without this. Its
    replay is small; sampling from a large one costs a little more.

    Args:
        config: the run's configuration.
        device: the run's device.
        env: from `lent`; it is left in the middle of its episodes.
        budget_s: time to take, about.
    """
    scratch = replace(
        config,
        seed=integer_seed(config.run.seed, "calibration"),
        init="default",
        **config.agent.calibration(),
    )
    parts = resolve(scratch)
    network, _ = build_network(parts, env)
    agent = build_agent(parts, env, network, device)
    agent.learner.optimizer.prepare()
    ticks = run(env, agent, EpisodeStatistics(env.num_envs), 0, 2**62)
    start = next(ticks).agent_steps  # the first pays for allocations
    warmup_steps = scratch.agent.warmup_steps
    warmup_s, done_steps = _seconds_per_step(ticks, start, warmup_steps, budget_s / 2)
    # On a busy machine the warm-up takes longer than its half; its rest is not learning.
    _, done_steps = _seconds_per_step(ticks, done_steps, warmup_steps, 5 * budget_s)
    learning_s = _learning_seconds(ticks, done_steps, budget_s / 2)
    return Speed(warmup_s if warmup_steps else learning_s, learning_s)


def choose_threads(
    config: Config, device: torch.device, env: VectorEnv, most: int
) -> tuple[int, dict[int, Speed]]:
    """Measure with 1 CPU thread, with 2, 4 and so on until more are not worth it; set the best.

    Other work on the machine slows the measurements as it will slow the run.

    Args:
        config: configuration of the run.
        device: device of its network.
        env: from `lent`.
        most: largest number of threads to try.

    Returns:
        The number that torch has from now on, and what was measured, by number of threads.
    """

    def measured(threads: int) -> Speed:
        torch.set_num_threads(threads)
        return measure_speed(config, device, env)

    chosen, tried = 1, {1: measured(1)}
    for threads in doublings(most)[1:]:
        tried[threads] = measured(threads)
        if tried[threads].learning_s > WORTH * tried[chosen].learning_s:
            break
        chosen = threads
    torch.set_num_threads(chosen)
    return chosen, tried


def doublings(most: int) -> list[int]:
    """Return 1, 2, 4 and so on, and `most` as the last."""
    return sorted({*(2**power for power in range(most.bit_length())), most})


def _seconds_per_step(
    ticks: Iterator[Tick], start_steps: int, until_steps: int, budget_s: float
) -> tuple[float, int]:
    """Time ticks until agent step `until_steps` or `budget_s`; return s per step and the last."""
    start_s, steps, elapsed_s = time.perf_counter(), start_steps, 0.0
    while steps < until_steps and elapsed_s <= budget_s:
        steps = next(ticks).agent_steps
        elapsed_s = time.perf_counter() - start_s
    return elapsed_s / max(1, steps - start_steps), steps


def _learning_seconds(ticks: Iterator[Tick], start_steps: int, budget_s: float) -> float:
    """Return seconds per agent step over whole rounds of acting and updating.

    The first round pays for allocations: it counts only if it takes the whole budget by itself.
    If no update comes within ten times the budget, acting alone is measured.
    """
    start_s, warm = time.perf_counter(), False
    for tick in ticks:
        elapsed_s, steps = time.perf_counter() - start_s, max(1, tick.agent_steps - start_steps)
        if elapsed_s > (budget_s if tick.metrics is not None else 10 * budget_s):
            break
        if tick.metrics is not None and not warm:
            start_s, start_steps, warm = time.perf_counter(), tick.agent_steps, True
    return elapsed_s / steps


def duration_s(speed: Speed, warmup_steps: int, done_steps: int, until_steps: int) -> float:
    """Return the seconds from agent step `done_steps` to `until_steps`."""
    warmup = max(0, min(until_steps, warmup_steps) - done_steps)
    return warmup * speed.warmup_s + (until_steps - done_steps - warmup) * speed.learning_s


def cheaper(config: Config, speed: Speed, done_steps: int) -> str:
    """Suggest alternatives to a run of more than a day, with their durations, in one line."""
    warmup_steps, offers = config.agent.warmup_steps, []
    preset = AGENTS[config.run.agent].presets.get("fast")
    if preset is not None and not done_steps and config.run.preset == "none":
        fast = replace(config, **{k: v for k, v in preset.items() if k not in config.explicit})
        learning_s = speed.learning_s * _learnt(fast.agent) / _learnt(config.agent)
        for steps in (500_000, 150_000):
            fast_s = duration_s(
                Speed(speed.warmup_s, learning_s), fast.agent.warmup_steps, 0, steps
            )
            if fast_s < DAY_S:
                offers.append(f"--preset fast --steps {steps:_} ({format_duration(fast_s)})")
                break
    warmup = max(0, warmup_steps - done_steps)
    learning_steps = int((DAY_S - warmup * speed.warmup_s) / speed.learning_s)
    within = (done_steps + warmup + learning_steps) // 100_000 * 100_000
    if within > max(done_steps, warmup_steps):
        offers.append(f"--steps {within:_} (within a day)")
    if config.run.device in ("auto", "cpu"):
        offers.append("a CUDA device")
    offers.append("stop at any time and continue with --resume")
    return ", or ".join(offers)


def _learnt(agent: AgentSettings) -> float:
    """Return how often each row is learnt from, in the long run."""
    rows: float = agent.updates(2**40) * agent.learning_batch
    return rows / 2**40


def format_duration(seconds: float) -> str:
    """Format as `40 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for limit, unit, name in ((90.0, 1.0, "s"), (5_400.0, 60.0, "min"), (DAY_S, 3_600.0, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.1f} {name}" if name == "h" else f"{value:.0f} {name}"
    return f"{seconds / DAY_S:.1f} days"
