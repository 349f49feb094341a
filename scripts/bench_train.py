"""Agent steps per second of DQN's learning phase on Breakout: wnrl against Stable-Baselines3.

Both with the default hyperparameters of the SB3 zoo (batch 32, an update per 4 agent steps, target
copy per 1,000), a warm-up cut short, and the same torch threads. The two take turns in one process,
so that a noisy machine slows both; the ratio is the median over rounds.

    pip install -c constraints.txt -e '.[bench]'
    python scripts/bench_train.py [--rounds 7] [--steps 1_000] [--norm weight none] [--csv FILE]

wnrl acts in 8 environments, its default; SB3 in one, its zoo's.
"""

import argparse
import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ale_py
import gymnasium
import stable_baselines3
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

from wnrl.allocator import keep_freed_memory
from wnrl.build import build_env, build_network
from wnrl.build_agent import build_agent
from wnrl.config import make_config
from wnrl.envs.vector import EpisodeStatistics
from wnrl.loop import Tick, run
from wnrl.provenance import git_commit

WARMUP_STEPS = 1_000
BUFFER_TRANSITIONS = 10_000
EPSILON = 0.01  # both act by their network in 99 of 100 steps, as in most of a run


def ours(norm: str) -> Callable[[int], int]:
    """Advance wnrl by about this many agent steps; returns how many."""
    config = make_config(
        norm=norm,
        warmup_steps=WARMUP_STEPS,
        buffer_size=BUFFER_TRANSITIONS,
        epsilon_start=EPSILON,
        epsilon_end=EPSILON,
    )
    env = build_env(config)
    agent = build_agent(config, env, build_network(config, env)[0], torch.device("cpu"))
    env.reset()
    ticks: Iterator[Tick] = run(env, agent, EpisodeStatistics(env.num_envs), 0, 2**62)
    done = 0

    def advance(steps: int) -> int:
        nonlocal done
        start = done
        while done < start + steps:
            done = next(ticks).agent_steps
        return done - start

    return advance


def sb3() -> Callable[[int], int]:
    """Advance SB3 by this many agent steps; returns how many."""
    gymnasium.register_envs(ale_py)
    env = VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=1, seed=1), n_stack=4)
    model = DQN(
        "CnnPolicy",
        env,
        buffer_size=BUFFER_TRANSITIONS,
        learning_rate=1e-4,
        batch_size=32,
        learning_starts=WARMUP_STEPS,
        target_update_interval=1_000,
        train_freq=4,
        gradient_steps=1,
        exploration_initial_eps=EPSILON,
        exploration_final_eps=EPSILON,
        optimize_memory_usage=False,
        seed=1,
        device="cpu",
    )

    def advance(steps: int) -> int:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return model.num_timesteps - before

    return advance


def main() -> None:
    """Take turns, print the table, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1_000, help="agent steps of one turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--norm", nargs="+", default=["weight", "none"])
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    keep_freed_memory()  # as in training
    torch.set_num_threads(given.threads)

    advance = {"sb3": sb3(), **{f"wnrl {norm}": ours(norm) for norm in given.norm}}
    for go in advance.values():
        go(WARMUP_STEPS + 200)
    rates: dict[str, list[float]] = {name: [] for name in advance}
    for _ in range(given.rounds):
        for name, go in advance.items():
            began = time.perf_counter()
            steps = go(given.steps)
            rates[name].append(steps / (time.perf_counter() - began))

    rows = []
    for name, measured in rates.items():
        ratios = [a / b for a, b in zip(measured, rates["sb3"], strict=True)]
        rows.append(
            {
                "agent": name,
                "steps_per_s_median": f"{statistics.median(measured):.1f}",
                "steps_per_s_min": f"{min(measured):.1f}",
                "steps_per_s_max": f"{max(measured):.1f}",
                "ratio_to_sb3_median": f"{statistics.median(ratios):.2f}",
                "ratio_to_sb3_min": f"{min(ratios):.2f}",
                "ratio_to_sb3_max": f"{max(ratios):.2f}",
                "rounds": given.rounds,
                "steps_per_round": given.steps,
                "threads": given.threads,
                "machine": platform.machine(),
                "torch": torch.__version__,
                "sb3": stable_baselines3.__version__,
                "commit": git_commit() or "",
            }
        )
    for row in rows:
        print(
            f"{row['agent']:<14} {row['steps_per_s_median']:>7} agent steps/s "
            f"({row['steps_per_s_min']} to {row['steps_per_s_max']}), "
            f"{row['ratio_to_sb3_median']}x SB3 "
            f"({row['ratio_to_sb3_min']} to {row['ratio_to_sb3_max']})"
        )
    if given.csv:
        given.csv.parent.mkdir(parents=True, exist_ok=True)
        with given.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
