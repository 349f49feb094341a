"""Small algorithms of Stable-Baselines3 on small environments, for tests."""

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.envs import FakeImageEnv

from wnrl.sb3 import (
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNActorCriticMultiInputPolicy,
    WNCnnPolicy,
    WNMlpPolicy,
    WNMultiInputPolicy,
)

ALGORITHMS = {"DQN": DQN, "PPO": PPO, "A2C": A2C}
SHORT: dict[str, dict[str, Any]] = {
    "DQN": {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "train_freq": 2},
    "PPO": {"n_steps": 16, "batch_size": 8, "n_epochs": 2},
    "A2C": {"n_steps": 8},
}
STEPS = 32  # environment steps in which each algorithm learns a few times
_ALGORITHM_OPTIONS = (
    "env",
    "device",
    "tau",
    "train_freq",
    "target_update_interval",
    "max_grad_norm",
)
ACTOR_CRITICS = {
    "MlpPolicy": WNActorCriticMlpPolicy,
    "CnnPolicy": WNActorCriticCnnPolicy,
    "MultiInputPolicy": WNActorCriticMultiInputPolicy,
}
VALUES = {
    "MlpPolicy": WNMlpPolicy,
    "CnnPolicy": WNCnnPolicy,
    "MultiInputPolicy": WNMultiInputPolicy,
}


class DictEnv(gymnasium.Env[Any, int]):
    """Observations of a noise picture and a noise vector, with a reward of 0."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "picture": spaces.Box(0, 255, (1, 40, 40), "uint8"),
                "vector": spaces.Box(-1.0, 1.0, (3,)),
            }
        )
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


def env_of(policy: str) -> gymnasium.Env[Any, Any]:
    """Make an environment that a policy of this name takes."""
    if policy == "MlpPolicy":
        return gymnasium.make("CartPole-v1")
    env: gymnasium.Env[Any, Any] = DictEnv()
    if policy == "CnnPolicy":
        env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=True)
    env.observation_space.seed(0)  # observations are drawn from it, and nothing else seeds it
    return env


def ours(algorithm: str, policy: str) -> type:
    """Return the class of `wnrl.sb3` that replaces the stock policy of this name."""
    return (VALUES if algorithm == "DQN" else ACTOR_CRITICS)[policy]


def make(algorithm: str, policy: str = "MlpPolicy", *, stock: bool = False, **options: Any) -> Any:
    """Make an algorithm with a policy of `wnrl.sb3`, or a stock one, on an environment for it.

    Options are the policy's, except those of the algorithm that are listed above.
    """
    own = {name: options.pop(name) for name in _ALGORITHM_OPTIONS if name in options}
    own = {"env": env_of(policy), "device": "cpu", **own}
    kind = policy if stock else ours(algorithm, policy)
    return ALGORITHMS[algorithm](kind, seed=3, policy_kwargs=options, **{**SHORT[algorithm], **own})


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Return whether two networks have the same state under the same names, bit for bit."""
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(value, theirs[name]) for name, value in mine.items()
    )


def cart_pole() -> Any:
    """Return the vector environment; a process that is spawned finds this function by its name."""
    return env_of("MlpPolicy")
