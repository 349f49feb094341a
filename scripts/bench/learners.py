"""Agents of wnrl and SB3 that learn Breakout, each as one call: advance by N agent steps.

wnrl's agents have its defaults (PQN its preset fast), SB3's agents those of its zoo
(rl-baselines3-zoo, dqn.yml, a2c.yml, ppo.yml, atari), with three changes: DQN acts in 8
environments, as wnrl's does, and not in one; its warm-up is short; learning rate and clip range are
constant, because timings do not depend on them. What is measured is in train.py and sb3.py.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import ale_py
import gymnasium
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from wnrl.agents.catalogue import AGENTS
from wnrl.agents.settings.dqn import DQNConfig
from wnrl.config import Config, make_config
from wnrl.envs.vector import EpisodeStatistics
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import Tick, run

WARMUP_STEPS = 1_000  # of DQN
BUFFER_TRANSITIONS = 10_000
EPSILON = 0.01  # both DQNs act by their network in 99 of 100 steps, as they do in most of a run

DQN_SETTINGS: dict[str, Any] = {
    "warmup_steps": WARMUP_STEPS,
    "buffer_size": BUFFER_TRANSITIONS,
    "epsilon_start": EPSILON,
    "epsilon_end": EPSILON,
}


class Learner(NamedTuple):
    """An agent with its environments, ready to train."""

    name: str
    peer: str  # name of the learner that it is compared with; its own name for SB3's agents
    round_steps: int  # agent steps of one round of acting and updating
    warm_up_steps: int  # agent steps before steps cost what all later ones cost
    advance: Callable[[int], int]  # agent steps (whole rounds) -> those that the emulators used

    def turn_steps(self, at_least: int) -> int:
        """Round up to whole rounds of agent steps."""
        return -(-at_least // self.round_steps) * self.round_steps


Policy = str | type[BasePolicy]


class Sb3(NamedTuple):
    """An agent of SB3 with its zoo's settings for Atari."""

    make: Callable[[Policy, VecEnv, dict[str, Any]], BaseAlgorithm]
    num_envs: int
    round_steps: int
    warm_up_steps: int


def _dqn(policy: Policy, env: VecEnv, policy_kwargs: dict[str, Any]) -> BaseAlgorithm:
    return DQN(
        policy,
        env,
        policy_kwargs=policy_kwargs,
        buffer_size=BUFFER_TRANSITIONS,
        learning_rate=1e-4,
        batch_size=32,
        learning_starts=WARMUP_STEPS,
        target_update_interval=1_000,
        train_freq=1,  # 8 agent steps, so one update per 4 as in the zoo
        gradient_steps=2,
        exploration_initial_eps=EPSILON,
        exploration_final_eps=EPSILON,
        optimize_memory_usage=False,
        seed=1,
        device="cpu",
    )


def _a2c(policy: Policy, env: VecEnv, policy_kwargs: dict[str, Any]) -> BaseAlgorithm:
    optimizer = {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
    return A2C(
        policy,
        env,
        ent_coef=0.01,
        vf_coef=0.25,
        policy_kwargs={**optimizer, **policy_kwargs},
        seed=1,
        device="cpu",
    )


def _ppo(policy: Policy, env: VecEnv, policy_kwargs: dict[str, Any]) -> BaseAlgorithm:
    return PPO(
        policy,
        env,
        policy_kwargs=policy_kwargs,
        n_steps=128,
        n_epochs=4,
        batch_size=256,
        learning_rate=2.5e-4,
        clip_range=0.1,
        vf_coef=0.5,
        ent_coef=0.01,
        seed=1,
        device="cpu",
    )


SB3S = {
    "dqn": Sb3(_dqn, num_envs=8, round_steps=8, warm_up_steps=WARMUP_STEPS + 200),
    "a2c": Sb3(_a2c, num_envs=16, round_steps=16 * 5, warm_up_steps=16 * 5),
    "ppo": Sb3(_ppo, num_envs=8, round_steps=8 * 128, warm_up_steps=8 * 128),
}
PEERS = {agent: agent if agent in SB3S else "dqn" for agent in AGENTS}  # SB3 has no PQN


def sb3_env(num_envs: int, vec_env_cls: type[VecEnv] | None = None) -> VecEnv:
    """SB3's Breakout, with all emulators in this process unless `vec_env_cls` says otherwise."""
    gymnasium.register_envs(ale_py)
    env = make_atari_env("BreakoutNoFrameskip-v4", n_envs=num_envs, seed=1, vec_env_cls=vec_env_cls)
    return VecFrameStack(env, n_stack=4)


def sb3(
    agent: str,
    env: VecEnv | None = None,
    policy: Policy = "CnnPolicy",
    policy_kwargs: Mapping[str, Any] | None = None,
    name: str = "",
) -> Learner:
    """SB3's agent with its zoo's settings, except for those given."""
    make, num_envs, round_steps, warm_up_steps = SB3S[agent]
    model = make(policy, env or sb3_env(num_envs), dict(policy_kwargs or {}))

    def advance(steps: int) -> int:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return model.num_timesteps - before

    stock = f"sb3 {agent}"
    return Learner(name or stock, stock, round_steps, warm_up_steps, advance)


def configure(agent: str, norm: str, threads: int) -> Config:
    """Configuration of wnrl's run of this agent and normalization.

    Raises:
        UsageError: the agent or the normalization is unknown.
    """
    changes = DQN_SETTINGS if agent == "dqn" else {"preset": "fast"} if agent == "pqn" else {}
    return make_config(agent=agent, norm=norm, threads=threads, **changes)


def round_ticks(config: Config) -> int:
    """Return the steps of all environments in one round of acting and updating.

    DQN updates between actions; the others update after each rollout.
    """
    return 1 if isinstance(config.agent, DQNConfig) else config.agent.rollout_steps


def ours(config: Config) -> Learner:
    """wnrl's agent."""
    settings, agent_name = config.agent, config.run.agent
    parts = resolve(config)
    env = build_env(parts)
    agent = build_agent(parts, env, build_network(parts, env)[0], torch.device("cpu"))
    env.reset()
    ticks: Iterator[Tick] = run(env, agent, EpisodeStatistics(env.num_envs), 0, 2**62)
    done = 0

    def advance(steps: int) -> int:
        nonlocal done
        start = done
        for _ in range(steps // env.num_envs):
            done = next(ticks).agent_steps  # autoreset rows are not counted
        return done - start

    rows = env.num_envs * round_ticks(config)
    warm_up_steps = SB3S["dqn"].warm_up_steps if isinstance(settings, DQNConfig) else rows
    peer = f"sb3 {PEERS[agent_name]}"
    return Learner(f"wnrl {agent_name} {config.run.norm}", peer, rows, warm_up_steps, advance)
