"""Train the same agent in wnrl and in Stable-Baselines3 and test whether they learn alike.

Both get the same environment, network, hyperparameters and number of agent steps; only the code
differs. Each run is one row of the CSV file, and a repeated command does what is missing. At the
end it prints a table with each pair's difference of the mean final returns, its interval and a
verdict.

    python scripts/parity/with_sb3.py --csv FILE
        [--agent ppo a2c dqn] [--env CartPole-v1 ...] [--seeds 10]

The Atari game is for PPO alone, and a run takes 20 to 25 minutes, so it has to be asked for:
--agent ppo --env Breakout --seeds 3.
"""

import argparse
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from contest import Episodes, Task, table, train_missing, train_wnrl, verdicts
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from wnrl.envs.make import is_minatar
from wnrl.nn.networks.minatar import MinAtarTorso
from wnrl.nn.norms.catalogue import get_norm
from wnrl.sb3 import AtariVecEnv

PPO_SETTINGS: Mapping[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 32,
    "epochs": 20,
    "minibatches": 1,
    "learning_rate": 1e-3,
    "learning_rate_decay": True,
    "clip_range": 0.2,
    "clip_range_decay": True,
    "gae_lambda": 0.8,
    "gamma": 0.98,
    "entropy_coef": 0.0,
    "value_coef": 0.5,
    "max_grad_norm": 0.5,
    "optimizer": "adam",
    "optimizer_eps": 1e-5,
    "clip_rewards": False,
    "normalize_advantage": True,
}
PPO_ATARI_SETTINGS: Mapping[str, Any] = {  # SB3's zoo, ppo.yml, atari
    **PPO_SETTINGS,
    "rollout_steps": 128,
    "epochs": 4,
    "minibatches": 4,
    "learning_rate": 2.5e-4,
    "clip_range": 0.1,
    "gae_lambda": 0.95,
    "gamma": 0.99,
    "entropy_coef": 0.01,
    "clip_rewards": True,
    "protocol": "sticky",  # lost lives end no episode, unlike with SB3's wrapper
}
A2C_SETTINGS: Mapping[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 8,
    "learning_rate": 2e-3,
    "learning_rate_decay": True,
    "gae_lambda": 0.95,
    "gamma": 0.99,
    "entropy_coef": 0.01,
    "value_coef": 0.5,
    "max_grad_norm": 0.5,
    "optimizer": "adam",
    "optimizer_eps": 1e-5,
    "clip_rewards": False,
    "normalize_advantage": False,
}
DQN_SETTINGS: Mapping[str, Any] = {
    "num_envs": 1,
    "learning_rate": 1e-3,
    "batch_size": 64,
    "buffer_size": 30_000,
    "warmup_steps": 1_000,
    "update_period_steps": 2,
    "target_period_steps": 500,
    "gamma": 0.99,
    "epsilon_start": 1.0,
    "epsilon_end": 0.04,
    "epsilon_steps": 3_000,
    "max_grad_norm": 10.0,
    "optimizer": "adam",
    "optimizer_eps": 1e-8,
    "loss": "huber",
    "clip_rewards": False,
    "n_step": 1,
    "double": False,
    "dueling": False,
}


WIDTH = 64  # units of each of the two hidden layers for vectors


class MinAtarExtractor(BaseFeaturesExtractor):
    """The torso of wnrl without a normalization, as SB3's features."""

    def __init__(self, observation_space: gymnasium.spaces.Box) -> None:
        super().__init__(observation_space, features_dim=128)
        self.torso = MinAtarTorso(observation_space.shape, "uint8", get_norm("none"))

    def forward(self, observations: Tensor) -> Tensor:
        """Return features (B, 128) of images (B, C, H, W) that SB3 has divided by 255."""
        features: Tensor = self.torso.layers(observations)
        return features


@dataclass(frozen=True)
class Policy:
    """A policy of SB3's and its arguments, without those of the network."""

    kind: str | type
    own: Mapping[str, Any] = field(default_factory=dict)

    def kwargs(self, env: str, *, actor_critic: bool) -> dict[str, Any]:
        """Return them with the network's: two ReLU layers, MinAtar's torso, or SB3's for Atari."""
        if is_minatar(env):
            return {"features_extractor_class": MinAtarExtractor, "net_arch": [], **self.own}
        if env == ATARI:
            return dict(self.own)
        if actor_critic:
            arch = {"pi": [WIDTH, WIDTH], "vf": [WIDTH, WIDTH]}
            return {"activation_fn": nn.ReLU, "net_arch": arch, **self.own}
        return {"net_arch": [WIDTH, WIDTH], **self.own}


def stock(env: str) -> Policy:
    """Return the policy that SB3 has for the environment's observations."""
    return Policy("CnnPolicy" if has_images(env) else "MlpPolicy")


def has_images(env: str) -> bool:
    """Return whether the environment's observations are images."""
    return is_minatar(env) or env == ATARI


def sb3_ppo(env: str, steps: int, seed: int, policy: Policy) -> BaseAlgorithm:
    """Return SB3's PPO with wnrl's settings."""
    s = CASES["ppo"].settings_in(env)
    return PPO(
        policy.kind,
        environments(env, s["num_envs"], seed),
        n_steps=s["rollout_steps"],
        n_epochs=s["epochs"],
        batch_size=s["num_envs"] * s["rollout_steps"] // s["minibatches"],
        learning_rate=falling(s["learning_rate"]),
        clip_range=falling(s["clip_range"]),
        gae_lambda=s["gae_lambda"],
        gamma=s["gamma"],
        ent_coef=s["entropy_coef"],
        vf_coef=s["value_coef"],
        max_grad_norm=s["max_grad_norm"],
        normalize_advantage=s["normalize_advantage"],
        policy_kwargs=policy.kwargs(env, actor_critic=True),
        seed=seed,
    )


def sb3_a2c(env: str, steps: int, seed: int, policy: Policy) -> BaseAlgorithm:
    """Return SB3's A2C with wnrl's settings."""
    s = CASES["a2c"].settings_in(env)
    return A2C(
        policy.kind,
        environments(env, s["num_envs"], seed),
        n_steps=s["rollout_steps"],
        learning_rate=falling(s["learning_rate"]),
        gae_lambda=s["gae_lambda"],
        gamma=s["gamma"],
        ent_coef=s["entropy_coef"],
        vf_coef=s["value_coef"],
        max_grad_norm=s["max_grad_norm"],
        normalize_advantage=s["normalize_advantage"],
        use_rms_prop=False,
        policy_kwargs=policy.kwargs(env, actor_critic=True),
        seed=seed,
    )


def sb3_dqn(env: str, steps: int, seed: int, policy: Policy) -> BaseAlgorithm:
    """Return SB3's DQN with wnrl's settings."""
    s = CASES["dqn"].settings_in(env)
    return DQN(
        policy.kind,
        environments(env, s["num_envs"], seed),
        learning_rate=s["learning_rate"],
        batch_size=s["batch_size"],
        buffer_size=s["buffer_size"],
        learning_starts=s["warmup_steps"],
        train_freq=s["update_period_steps"],
        target_update_interval=s["target_period_steps"],
        gamma=s["gamma"],
        exploration_initial_eps=s["epsilon_start"],
        exploration_final_eps=s["epsilon_end"],
        exploration_fraction=s["epsilon_steps"] / steps,
        max_grad_norm=s["max_grad_norm"],
        policy_kwargs=policy.kwargs(env, actor_critic=False),
        seed=seed,
    )


def environments(env: str, count: int, seed: int) -> VecEnv:
    """Return SB3's environments; Atari's are the ones that wnrl plays in, as SB3 sees them."""
    if env == ATARI:
        return AtariVecEnv(env, count, seed, PPO_ATARI_SETTINGS["protocol"])
    return make_vec_env(minatar_breakout if is_minatar(env) else env, count, seed=seed)


def minatar_breakout() -> gymnasium.Env[Any, Any]:
    """Return the package's own MinAtar/Breakout-v1 with images as bytes (C, H, W), 0 and 255."""
    from minatar.gym import BaseEnv  # here, because it warns where seaborn is missing

    env = BaseEnv("breakout", use_minimal_action_set=True)
    height, width, channels = env.observation_space.shape
    space = gymnasium.spaces.Box(0, 255, (channels, height, width), np.uint8)
    return gymnasium.wrappers.TransformObservation(
        env, lambda obs: np.moveaxis(obs, 2, 0).astype(np.uint8) * 255, space
    )


def falling(start: float) -> Callable[[float], float]:
    """Return SB3's schedule from a value to 0."""
    return lambda remaining: remaining * start


@dataclass(frozen=True)
class Case:
    """An agent on both sides."""

    settings: Mapping[str, Any]
    sb3: Callable[[str, int, int, Policy], BaseAlgorithm]
    steps: Mapping[str, int]  # by environment
    control: Mapping[str, Any]  # settings of wnrl's network for vectors
    atari: Mapping[str, Any] = field(default_factory=dict)  # in place of `settings`

    def settings_in(self, env: str) -> Mapping[str, Any]:
        """Return the settings in an environment."""
        return self.atari if env == ATARI else self.settings


BREAKOUT = "MinAtar/Breakout-v1"
ATARI = "Breakout"
CASES = {
    "ppo": Case(
        PPO_SETTINGS,
        sb3_ppo,
        {"CartPole-v1": 30_000, "Acrobot-v1": 50_000, BREAKOUT: 100_000, ATARI: 300_000},
        {"hidden": WIDTH, "separate": True},
        PPO_ATARI_SETTINGS,
    ),
    "a2c": Case(
        A2C_SETTINGS,
        sb3_a2c,
        {"CartPole-v1": 40_000, "Acrobot-v1": 50_000, BREAKOUT: 100_000},
        {"hidden": WIDTH, "separate": True},
    ),
    "dqn": Case(
        DQN_SETTINGS,
        sb3_dqn,
        {"CartPole-v1": 15_000, "Acrobot-v1": 30_000, BREAKOUT: 50_000},
        {"hidden": WIDTH},
    ),
}
ENVS = list(CASES["ppo"].steps)


def ours(agent: str, env: str) -> dict[str, Any]:
    """Return the settings of wnrl's run, without its seed."""
    case = CASES[agent]
    network = {} if has_images(env) else case.control
    steps = case.steps[env]
    return {"env": env, "agent": agent, "steps": steps, **case.settings_in(env), **network}


def train_ours(agent: str, env: str, seed: int) -> Episodes:
    """Train with wnrl; return agent steps (E,) and returns (E,) of the episodes."""
    return train_wnrl(seed=seed, **ours(agent, env))


def train_sb3(agent: str, env: str, seed: int) -> Episodes:
    """Train with SB3; return agent steps (E,) and returns (E,) of the episodes."""
    case = CASES[agent]
    return learn(case.sb3(env, case.steps[env], seed, stock(env)), case.steps[env])


def learn(model: BaseAlgorithm, total: int) -> Episodes:
    """Train SB3's model; return agent steps (E,) and returns (E,) of the episodes."""
    ended: list[tuple[int, float]] = []

    def note_episodes(scope: dict[str, Any], _: dict[str, Any]) -> bool:
        for info in scope["infos"]:
            if "episode" in info:
                ended.append((model.num_timesteps, float(info["episode"]["r"])))
        return True

    model.learn(total, callback=note_episodes)
    table = np.array([row for row in ended if row[0] <= total], np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


SIDES = {"sb3": train_sb3, "wnrl": train_ours}


def main() -> None:
    """Train what the file lacks, and print the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", type=Path, required=True, help="file of the runs' scores")
    parser.add_argument("--agent", nargs="+", choices=CASES, default=list(CASES), help="agents")
    small = [env for env in ENVS if env != ATARI]
    parser.add_argument("--env", nargs="+", choices=ENVS, default=small, help="environments")
    parser.add_argument("--seeds", type=int, default=10, help="seeds, numbered from 1")
    given = parser.parse_args()
    if not any(env in CASES[agent].steps for agent in given.agent for env in given.env):
        parser.error(f"{ATARI} is for ppo alone; name another environment, or --agent ppo")
    seeds = range(1, given.seeds + 1)
    tasks = (
        Task(
            agent, env, side, seed, CASES[agent].steps[env], partial(SIDES[side], agent, env, seed)
        )
        for seed, env, agent, side in itertools.product(seeds, given.env, given.agent, SIDES)
        if env in CASES[agent].steps
    )
    for line in table(verdicts(train_missing(tasks, given.csv), peer="sb3")):
        print(line)


if __name__ == "__main__":
    main()
