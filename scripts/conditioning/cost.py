"""Measure what a reading of the curvature costs, in updates of the same run.

    python scripts/conditioning/cost.py [--csv FILE]

CPU time of the process, one thread: medians of updates without and of 5 updates with a reading.
"""

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from wnrl.agents.base import Agent
from wnrl.agents.learner import Unobserved
from wnrl.config import make_config
from wnrl.envs.vector import VectorEnv
from wnrl.instruments.curvature.instrument import CurvatureInstrument
from wnrl.train.build import build_agent, build_env, build_network, resolve

RUNS: dict[str, dict[str, Any]] = {
    "DQN, Breakout, 32 transitions": {
        "env": "Breakout",
        "agent": "dqn",
        "warmup_steps": 200,
        "buffer_size": 2_000,
    },
    "PPO, CartPole-v1, 256 transitions": {"env": "CartPole-v1", "agent": "ppo"},
}
READINGS = 5
WITHOUT = 20  # updates


class Timed(Unobserved):
    """Observer that measures every update of a stretch, and notes the CPU time of each."""

    def __init__(self, watch: CurvatureInstrument) -> None:
        self.watch = watch
        self.reading = False
        self.seconds: dict[bool, list[float]] = {False: [], True: []}
        self._start_s = 0.0

    def start(self) -> None:
        """Note the time before an update's loss."""
        self._start_s = time.process_time()

    def before_step(self, obs: torch.Tensor, learning_batch: torch.Tensor) -> None:
        """Read the curvature if this update is one of those with a reading."""
        if self.reading:
            self.watch.before_step(obs, learning_batch)

    def after_step(self) -> None:
        """Note the time of the update."""
        self.seconds[self.reading].append(time.process_time() - self._start_s)
        self.reading = len(self.seconds[False]) >= WITHOUT


def walk(env: VectorEnv, agent: Agent, timed: Timed) -> None:
    """Act and learn until there are enough updates of both kinds."""
    step = agent.learner.step

    def timed_step(*arguments: Any) -> Any:
        timed.start()
        return step(*arguments)

    agent.learner.step = timed_step  # type: ignore[method-assign]
    env.reset()
    while len(timed.seconds[True]) < READINGS:
        env.send(agent.act(env.obs, env.first))
        agent.observe(env.recv())
        agent.update()


def main() -> None:
    """Measure every run; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, settings in RUNS.items():
        parts = resolve(make_config(norm="weight", threads=1, **settings))
        env = build_env(parts)
        network, _ = build_network(parts, env)
        agent = build_agent(parts, env, network, torch.device("cpu"))
        learner = agent.learner
        watch = CurvatureInstrument(
            network, learner.optimizer, 1, lambda x=learner: x.problem, lambda x=learner: x.updates
        )
        learner.observer = timed = Timed(watch)
        walk(env, agent, timed)
        env.close()
        update_s, reading_s = (statistics.median(timed.seconds[with_]) for with_ in (False, True))
        updates = (reading_s - update_s) / update_s
        rows.append((name, f"{1e3 * update_s:.3g}", f"{1e3 * reading_s:.3g}", f"{updates:.0f}"))
    table = [("run", "update_ms", "update_with_reading_ms", "reading_in_updates"), *rows]
    csv.writer(sys.stdout, lineterminator="\n").writerows(table)
    if given.csv:
        with given.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
