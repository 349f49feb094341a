"""Hyperparameters of PPO, with their sources.

SB3's zoo has the numbers of Schulman et al. 2017 for Atari, but for the value's coefficient (1
there, 0.5 here) and Adam's epsilon.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wnrl._settings import UsageError, setting
from wnrl.agents.agent_config import check_minibatches
from wnrl.optim.step import OPTIMIZER_NAMES

ZOO = "SB3 zoo, ppo.yml, atari"
SB3 = "SB3 PPO"
PAPER = "Schulman et al. 2017, table 5"


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters of PPO. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = setting(
        8, "environments stepped together", source=PAPER, minimum=1, maximum=1_024
    )
    rollout_steps: int = setting(
        128, "of each environment between updates", unit="steps", source=PAPER, minimum=1
    )
    epochs: int = setting(4, "passes over a rollout", source=ZOO, minimum=1)
    minibatches: int = setting(
        4, "of a pass: 256 rows each with the defaults", source=ZOO, minimum=1, maximum=65_536
    )
    learning_rate: float = setting(
        2.5e-4, "step size of the optimizer at the start", source=PAPER, above=0, maximum=1e3
    )
    learning_rate_decay: bool = setting(
        True, "linear, to 0 at the end of --schedule-steps", source=PAPER
    )
    optimizer: str = setting("adam", "update rule", source=PAPER, choices=OPTIMIZER_NAMES)
    beta1: float = setting(
        0.9,
        "first moment of Adam, Adamax, RAdam",
        source="Kingma & Ba 2015",
        minimum=0,
        maximum=0.9999,
    )
    optimizer_eps: float = setting(
        1e-5, "added to the root of the second moment", source=SB3, above=0
    )
    max_grad_norm: float = setting(
        0.5, "gradients longer than this are scaled down (0: never)", source=SB3, minimum=0
    )
    gamma: float = setting(0.99, "discount of a step", source=PAPER, minimum=0, maximum=1)
    gae_lambda: float = setting(
        0.95, "of the advantages (Schulman et al. 2016)", source=PAPER, minimum=0, maximum=1
    )
    clip_range: float = setting(
        0.1, "of the probability ratio around 1, at the start", source=PAPER, above=0
    )
    clip_range_decay: bool = setting(
        True, "linear, to 0 at the end of --schedule-steps", source=PAPER
    )
    value_coef: float = setting(0.5, "of the value's squared error", source=ZOO, minimum=0)
    entropy_coef: float = setting(0.01, "of the entropy bonus", source=PAPER, minimum=0)
    normalize_advantage: bool = setting(
        True, "to zero mean and unit variance in each minibatch", source=SB3
    )
    separate: bool = setting(
        False, "a torso of its own for the value", source="SB3's CnnPolicy shares one"
    )
    recurrent: bool = setting(False, "an LSTM behind the torso", source="SB3 PPO has none")
    lstm_units: int = setting(
        128, "of the LSTM", unit="units", source="CleanRL, ppo_atari_lstm.py", minimum=1
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

    def __post_init__(self) -> None:
        """UsageError where a rollout cannot be dealt into the minibatches asked for."""
        if self.recurrent:  # whole sequences
            check_minibatches(self.num_envs, self.minibatches, "environments", ("num_envs",))
        else:
            flags = ("num_envs", "rollout_steps")
            check_minibatches(self.rows, self.minibatches, "rows", flags)
        if self.recurrent and self.separate:
            raise UsageError("--recurrent has one torso; leave out --separate")

    warmup_steps = 0

    @property
    def rows(self) -> int:
        """Rows of a rollout."""
        return self.num_envs * self.rollout_steps

    @property
    def learning_batch(self) -> int:
        """Rows of a minibatch."""
        return self.rows // self.minibatches

    @property
    def goes_by_schedule(self) -> bool:
        """Whether the rate or the clip falls."""
        return self.learning_rate_decay or self.clip_range_decay

    def updates(self, agent_steps: int) -> int:
        """Steps of the optimizer in that many agent steps."""
        return agent_steps // self.rows * self.epochs * self.minibatches

    def calibration(self) -> Mapping[str, Any]:
        """A short rollout: one minibatch of the same size, or shorter sequences."""
        if self.recurrent:
            return {"rollout_steps": min(self.rollout_steps, 16)}
        if self.rollout_steps % self.minibatches:
            return {}
        return {"rollout_steps": self.rollout_steps // self.minibatches, "minibatches": 1}


# SB3 zoo, ppo.yml, CartPole-v1, which 50,000 of its 100,000 steps solve.
CONTROL: Mapping[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 32,
    "epochs": 20,
    "minibatches": 1,
    "learning_rate": 1e-3,
    "gamma": 0.98,
    "gae_lambda": 0.8,
    "clip_range": 0.2,
    "entropy_coef": 0.0,
    "lstm_units": 64,
    "clip_rewards": False,
}

PRESETS: Mapping[str, Mapping[str, Any]] = {}
