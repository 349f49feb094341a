"""Agents on a device without an emulator: one update of given rows, acting, and the whole loop.

With `graphs`, acting and updates are captured as CUDA graphs. On the CPU, for a dry run, they are
plain calls. What is measured and checked is in gpu.py and gpu_checks.py.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wnrl.agents.on_policy import RolloutPass
from wnrl.config import Config, make_config
from wnrl.envs.vector import EpisodeStatistics, ObservationSpec, Step
from wnrl.rl.replay import Batch
from wnrl.rl.rollout import RolloutBatch
from wnrl.train.build import build_agent, build_network, resolve
from wnrl.train.loop import run

ACTIONS = 6
SIDE = 84  # pixels; fewer in a dry run
NEVER = 10**9
Rows = Batch | RolloutBatch


class Noise:
    """Environments whose frames are noise and cost nothing; an episode never ends."""

    num_actions = ACTIONS

    def __init__(self, num_envs: int, side: int) -> None:
        self.num_envs = num_envs
        self.observation = ObservationSpec((4, side, side), "uint8", 4)
        shape = (16, num_envs, *self.observation.shape)
        self._frames = list(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        self._sent = np.zeros(num_envs, np.int64)
        self._steps = 0

    @property
    def obs(self) -> Any:
        """The newest observations (N, 4, H, W)."""
        return self._frames[self._steps % len(self._frames)]

    @property
    def first(self) -> Any:
        """Flags (N,): whether nothing was played yet."""
        return np.full(self.num_envs, self._steps == 0)

    def send(self, actions: Any) -> None:
        """Keep the actions (N,)."""
        self._sent = actions

    def recv(self) -> Step:
        """Return the next frames."""
        no, first = np.zeros(self.num_envs, np.bool_), np.zeros(self.num_envs, np.bool_)
        self._steps += 1
        reward = np.zeros(self.num_envs, np.float32)
        return Step(self._sent, reward, no, no, no, first, self.obs)


def configured(agent: str, norm: str, *, graphs: bool, **changes: Any) -> Config:
    """Return a configuration for Atari's images; updates are read by no instruments."""
    given = {"agent": agent, "norm": norm, "graphs": graphs, "instruments_every_updates": 0}
    return make_config({**given, "env": "Breakout", "threads": 1, **changes})


def agent_of(config: Config, device: torch.device, side: int = SIDE) -> Any:
    """Return the agent of a configuration as it starts, in the environments of `Noise`."""
    parts = resolve(config)
    env: Any = Noise(config.agent.num_envs, side)
    agent = build_agent(parts, env, build_network(parts, env)[0], device)
    assert (agent.learner._make_graph is None) != config.run.graphs
    return agent


def drawn_rows(agent: str, count: int, device: torch.device, seed: int, side: int = SIDE) -> Rows:
    """Return random rows (B, ...) as the agent's update takes them, the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    obs, following = (
        torch.randint(0, 256, (count, 4, side, side), generator=generator).to(torch.uint8)
        for _ in "ab"
    )
    action = torch.randint(0, ACTIONS, (count,), generator=generator)
    reward, value, advantage = (torch.randn(count, generator=generator) for _ in "abc")
    discount = torch.full((count,), 0.99)
    if agent == "dqn":
        batch = Batch(obs, action, reward, discount, following)
        return Batch(*(x.to(device) for x in batch))
    valid = torch.ones(count, dtype=torch.bool)
    log_prob = torch.full((count,), -float(np.log(ACTIONS)))
    extras = {
        "value": value,
        "log_prob": log_prob,
        "advantage": advantage,
        "return": advantage + value,
    }
    fields = (x.to(device) for x in (obs, ~valid, action, reward, discount, valid))
    return RolloutBatch._make([*fields, {name: x.to(device) for name, x in extras.items()}])


def learning(name: str, agent: Any, updates: int = 1) -> Callable[[Any], Any]:
    """Return the named agent's updates from rows, which are divided among them; A2C has one."""

    def one_pass(rows: RolloutBatch) -> RolloutPass:
        order = torch.arange(len(rows.action), device=rows.action.device)
        return RolloutPass(rows, order.view(updates, -1))

    def batches(rows: Batch) -> Iterator[Batch]:
        return map(Batch._make, zip(*(field.chunk(updates) for field in rows), strict=True))

    works: dict[str, Callable[[Any], Any]] = {
        "dqn": lambda rows: agent._learn_from(*batches(rows)),
        "a2c": lambda rows: agent._learn(rows),
        "pqn": lambda rows: agent._learn(one_pass(rows)),
        "ppo": lambda rows: agent._learn(one_pass(rows), agent.learner.number(0.1)),
    }
    return works[name]


def playing(agent: Any, num_envs: int, side: int = SIDE) -> Iterator[int]:
    """Yield the agent steps so far of the training loop, after each step of all environments."""
    env: Any = Noise(num_envs, side)
    for tick in run(env, agent, EpisodeStatistics(num_envs), 0, NEVER):
        yield tick.agent_steps


def frames(count: int, device: torch.device, side: int = SIDE) -> Tensor:
    """(count, 4, side, side) uint8 noise."""
    return torch.randint(0, 256, (count, 4, side, side), dtype=torch.uint8, device=device)
