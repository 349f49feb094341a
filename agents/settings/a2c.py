"""Settings of A2C (Mnih et al. 2016)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wnrl.agents.settings import shared
from wnrl.agents.settings.rollout import RolloutSettings

ZOO = "SB3 zoo, a2c.yml, atari"
SB3 = "SB3 A2C"


@dataclasses.dataclass(frozen=True)
class A2CConfig(RolloutSettings):
    """Hyperparameters of A2C. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = shared.num_envs(16, ZOO)
    rollout_steps: int = shared.rollout_steps(5, SB3)
    learning_rate: float = shared.learning_rate(7e-4, SB3)
    learning_rate_decay: bool = shared.learning_rate_decay(False, SB3)
    optimizer: str = shared.optimizer("rmsprop-tf", ZOO)  # its RMSpropTFLike
    beta1: float = shared.beta1(0.9, "Kingma & Ba 2015")
    optimizer_eps: float = shared.optimizer_eps(1e-5, ZOO)
    max_grad_norm: float = shared.max_grad_norm(0.5, SB3)
    gamma: float = shared.gamma(0.99, SB3)
    gae_lambda: float = shared.gae_lambda(1.0, SB3)
    value_coef: float = shared.value_coef(0.25, ZOO)
    entropy_coef: float = shared.entropy_coef(0.01, ZOO)
    normalize_advantage: bool = shared.normalize_advantage(False, SB3)
    separate: bool = shared.separate(False, "SB3's CnnPolicy shares one")
    hidden: int = shared.hidden(64, "SB3 MlpPolicy")
    clip_rewards: bool = shared.clip_rewards(True, "Mnih et al. 2015")

    batch_settings = ("num_envs", "rollout_steps")

    @property
    def depends_on_schedule(self) -> bool:
        """Return whether the learning rate falls."""
        return self.learning_rate_decay

    @property
    def network_fields(self) -> Mapping[str, Any]:
        """A2C's fields of `NetworkSpec`."""
        return {"separate": self.separate}

    def calibration(self) -> Mapping[str, Any]:
        """Return no overrides for timing: a rollout is short already."""
        return {}


# Tuned on CartPole-v1, which they solve in 100,000 steps (16 of 16 runs: 8 seeds, with weight norm
# and without). SB3's zoo, a2c.yml, takes 500,000.
CONTROL: Mapping[str, Any] = {
    "steps": 100_000,
    "num_envs": 8,
    "rollout_steps": 8,
    "learning_rate": 2e-3,
    "learning_rate_decay": True,
    "optimizer": "adam",
    "optimizer_eps": 1e-5,
    "gamma": 0.98,
    "gae_lambda": 0.95,
    "entropy_coef": 0.01,
    "hidden": 256,
    "clip_rewards": False,
}

# github.com/sotetsuk/a2c-minatar, utils.py. Its squared error of the values is not halved, so its
# coefficient 1 is 2 here.
MINATAR: Mapping[str, Any] = {
    "num_envs": 64,
    "learning_rate": 3e-3,
    "optimizer": "adam",
    "optimizer_eps": 1e-8,
    "max_grad_norm": 0.0,
    "value_coef": 2.0,
    "entropy_coef": 0.0,
    "clip_rewards": False,
}
