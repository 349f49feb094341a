"""Small algorithms of Stable-Baselines3 on small environments, for tests."""

from typing import Any

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.envs import FakeImageEnv

from wnrl.nn import NORMS
from wnrl.sb3 import (
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNActorCriticMultiInputPolicy,
    WNCnnPolicy,
    WNMlpPolicy,
    WNMultiInputPolicy,
    WNSACCnnPolicy,
    WNSACMultiInputPolicy,
    WNSACPolicy,
    WNTD3CnnPolicy,
    WNTD3MultiInputPolicy,
    WNTD3Policy,
)

ALGORITHMS = {"DQN": DQN, "PPO": PPO, "A2C": A2C, "SAC": SAC, "TD3": TD3, "DDPG": DDPG}
CONTINUOUS = ("SAC", "TD3", "DDPG", "TQC", "CrossQ")
OFF_POLICY = {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "train_freq": 2}
SHORT: dict[str, dict[str, Any]] = {
    "DQN": OFF_POLICY,
    "PPO": {"n_steps": 16, "batch_size": 8, "n_epochs": 2},
    "A2C": {"n_steps": 8},
    **dict.fromkeys(CONTINUOUS, OFF_POLICY),
}
# Their optimizers wrap another one; SB3 needs one of torch's classes.
OTHER_STEPS = ("hyperball", "spectral-grad")
IN_SB3 = [name for name in NORMS if name not in OTHER_STEPS]
STEPS = 32  # environment steps in which each algorithm learns a few times
_ALGORITHM_OPTIONS = (
    "env",
    "device",
    "tau",
    "train_freq",
    "target_update_interval",
    "max_grad_norm",
    "gradient_steps",
    "use_sde",
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
SACS = {
    "MlpPolicy": WNSACPolicy,
    "CnnPolicy": WNSACCnnPolicy,
    "MultiInputPolicy": WNSACMultiInputPolicy,
}
TD3S = {
    "MlpPolicy": WNTD3Policy,
    "CnnPolicy": WNTD3CnnPolicy,
    "MultiInputPolicy": WNTD3MultiInputPolicy,
}
CLASSES: dict[str, Any] = {
    "DQN": VALUES,
    "PPO": ACTOR_CRITICS,
    "A2C": ACTOR_CRITICS,
    "SAC": SACS,
    "TD3": TD3S,
    "DDPG": TD3S,
}


class DictEnv(gymnasium.Env[Any, Any]):
    """Observations of a noise picture and a noise vector, with a reward of 0."""

    def __init__(self, *, continuous: bool = False) -> None:
        self.observation_space = spaces.Dict(
            {
                "picture": spaces.Box(0, 255, (1, 40, 40), "uint8"),
                "vector": spaces.Box(-1.0, 1.0, (3,)),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,)) if continuous else spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observation_space.sample(), 0.0, False, False, {}


def env_of(policy: str, *, continuous: bool = False) -> gymnasium.Env[Any, Any]:
    """Make an environment that a policy of this name takes."""
    if policy == "MlpPolicy":
        return gymnasium.make("Pendulum-v1" if continuous else "CartPole-v1")
    env: gymnasium.Env[Any, Any] = DictEnv(continuous=continuous)
    if policy == "CnnPolicy":
        size = {"screen_height": 40, "screen_width": 40, "n_channels": 1}
        env = FakeImageEnv(**size, discrete=not continuous)
        env.action_space.seed(0)  # whose samples are actions before learning
    env.observation_space.seed(0)  # observations are drawn from it, and nothing else seeds it
    return env


def ours(algorithm: str, policy: str) -> type:
    """Return the class of `wnrl.sb3` that replaces the stock policy of this name."""
    kind: type = CLASSES[algorithm][policy]
    return kind


def make(algorithm: str, policy: str = "MlpPolicy", *, stock: bool = False, **options: Any) -> Any:
    """Make an algorithm with a policy of `wnrl.sb3`, or a stock one, on an environment for it.

    Options are the policy's, except those of the algorithm that are listed above.
    """
    own = {name: options.pop(name) for name in _ALGORITHM_OPTIONS if name in options}
    env = env_of(policy, continuous=algorithm in CONTINUOUS)
    own = {"env": env, "device": "cpu", **own}
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
