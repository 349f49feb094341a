"""Runs of whole agents on toys, as the loop runs them, for the tests that need one."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wnrl.agents.base import Agent
from wnrl.config import Config, make_config
from wnrl.envs.vector import EpisodeStatistics, Step, VectorEnv
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import Tick, run
from wnrl.train.storage.checkpoint_manifest import read_manifest, write_manifest

CPU = torch.device("cpu")
ON_POLICY = ("a2c", "pqn", "ppo")
# Mean returns before and after learning on the fixture `small_catch`, where random play has -0.33.
BEFORE, AFTER = 0.3, 0.8
BLIND = 0.4  # of 200 episodes without a memory: 0, with a standard deviation of 0.07


def configured(agent: str, **changes: Any) -> Config:
    """A configuration on `toy/Catch` unless `changes` say otherwise."""
    return make_config({"env": "toy/Catch", "agent": agent, "steps": 4_000, **changes})


def built(config: Config) -> tuple[VectorEnv, Any]:
    """Environments, not yet reset, and the agent as it starts."""
    env = build_env(resolve(config))
    return env, build_agent(resolve(config), env, build_network(resolve(config), env)[0], CPU)


def ticks(env: VectorEnv, learner: Agent, begin: int, end: int) -> Iterator[Tick]:
    """The loop from one agent step to another."""
    return run(env, learner, EpisodeStatistics(env.num_envs), begin, end)


def walked(agent: str, until_steps: int, **changes: Any) -> tuple[Any, list[float]]:
    """An agent after so many agent steps, and the returns of its episodes."""
    env, learner = built(configured(agent, **changes))
    env.reset()
    returns = [e.raw_return for tick in ticks(env, learner, 0, until_steps) for e in tick.episodes]
    return learner, returns


def until_learnt(env: VectorEnv, learner: Agent, rollouts: int) -> list[dict[str, Tensor]]:
    """Step until so many rollouts were learnt from; the metrics of each."""
    metrics: list[dict[str, Tensor]] = []
    for tick in ticks(env, learner, 0, 1_000_000):
        if tick.metrics is not None:
            metrics.append(tick.metrics)
        if len(metrics) == rollouts:
            return metrics
    raise AssertionError("the loop ended")


def content(learner: Agent) -> dict[str, bytes]:
    """Every weight and buffer of the network, to the bit."""
    return {name: x.numpy().tobytes() for name, x in learner.network.state_dict().items()}


def step_of(num_envs: int, **changes: Any) -> Step:
    """An uneventful step of observations (N, 1)."""
    no = np.zeros(num_envs, np.bool_)
    return Step(
        action=np.zeros(num_envs, np.int64),
        reward=np.zeros(num_envs, np.float32),
        terminated=no,
        truncated=no,
        life_lost=no,
        first=no,
        obs=np.zeros((num_envs, 1), np.float32),
    )._replace(**changes)


class Watch:
    """An observer that notes when it is called and what the network is then."""

    def __init__(self, learner: Any) -> None:
        self._learner = learner
        self.calls: list[str] = []
        self.rows: list[int] = []  # in each update
        self.rates: list[float] = []
        self.weights: list[dict[str, bytes]] = []  # at each call

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Look at every update."""
        return True

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Note it."""
        assert learning_batch is obs
        self.calls.append("before")
        self.rows.append(len(obs))
        self.rates.append(self._learner.learner.optimizer.param_groups[0]["lr"])
        self.weights.append(content(self._learner))

    def after_step(self) -> None:
        """Note it."""
        self.calls.append("after")
        self.weights.append(content(self._learner))


def forget_records(run_dir: Path) -> None:
    """Make a run's checkpoints as they were before they held records of their settings."""
    for path in (run_dir / "checkpoints").glob("step_*/manifest.json"):
        manifest = dataclasses.replace(read_manifest(path), record={})
        with path.open("wb") as file:
            write_manifest(file, manifest)
