"""Hyperparameters of A2C, with their sources."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wnrl._settings import setting
from wnrl.optim.step import OPTIMIZER_NAMES

ZOO = "SB3 zoo, a2c.yml, atari"
SB3 = "SB3 A2C"


@dataclasses.dataclass(frozen=True)
class A2CConfig:
    """Hyperparameters of A2C. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = setting(
        16, "environments stepped together", source=ZOO, minimum=1, maximum=1_024
    )
    rollout_steps: int = setting(
        5, "of each environment between updates", unit="steps", source=SB3, minimum=1
    )
    learning_rate: float = setting(
        7e-4, "step size of the optimizer at the start", source=SB3, above=0, maximum=1e3
    )
    learning_rate_decay: bool = setting(
        False, "linear, to 0 at the end of --schedule-steps", source=SB3
    )
    optimizer: str = setting("rmsprop", "update rule", source=SB3, choices=OPTIMIZER_NAMES)
    beta1: float = setting(
        0.9,
        "first moment of Adam, Adamax, RAdam",
        source="Kingma & Ba 2015",
        minimum=0,
        maximum=0.9999,
    )
    optimizer_eps: float = setting(
        3.16e-3,
        "added to the root of the second moment",
        source="the root of SB3's 1e-5, which stands inside it (RMSpropTFLike, whose average "
        "begins at 1)",
        above=0,
    )
    max_grad_norm: float = setting(
        0.5, "gradients longer than this are scaled down (0: never)", source=SB3, minimum=0
    )
    gamma: float = setting(0.99, "discount of a step", source=SB3, minimum=0, maximum=1)
    gae_lambda: float = setting(
        1.0, "of the advantages (Schulman et al. 2016)", source=SB3, minimum=0, maximum=1
    )
    value_coef: float = setting(0.25, "of the value's squared error", source=ZOO, minimum=0)
    entropy_coef: float = setting(0.01, "of the entropy bonus", source=ZOO, minimum=0)
    normalize_advantage: bool = setting(
        False, "to zero mean and unit variance in each update", source=SB3
    )
    separate: bool = setting(
        False, "a torso of its own for the value", source="SB3's CnnPolicy shares one"
    )
    hidden: int = setting(
        64,
        "units of each of an MLP's two hidden layers",
        unit="units",
        source="SB3 MlpPolicy",
        minimum=1,
        maximum=65_536,
    )
    clip_rewards: bool = setting(
        True, "rewards to [-1, 1] in the learner", source="Mnih et al. 2015"
    )

    warmup_steps = 0
    recurrent = False

    @property
    def learning_batch(self) -> int:
        """Rows of a rollout."""
        return self.num_envs * self.rollout_steps

    @property
    def goes_by_schedule(self) -> bool:
        """Whether the rate falls."""
        return self.learning_rate_decay

    def updates(self, agent_steps: int) -> int:
        """Steps of the optimizer in that many agent steps."""
        return agent_steps // self.learning_batch

    def calibration(self) -> Mapping[str, Any]:
        """A rollout is short already."""
        return {}


# Found on CartPole-v1, which 100,000 steps of this solve (16 of 16 runs: 8 seeds, with weight norm
# and without); SB3's zoo, a2c.yml, takes 500,000 there.
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

PRESETS: Mapping[str, Mapping[str, Any]] = {}
