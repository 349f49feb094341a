"""Hyperparameters of PQN, with their sources."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wnrl._settings import setting
from wnrl.agents.agent_config import check_minibatches
from wnrl.optim.step import OPTIMIZER_NAMES

PUREJAXQL = "purejaxql, config/alg/pqn_atari.yaml"


@dataclasses.dataclass(frozen=True)
class PQNConfig:
    """Hyperparameters of PQN. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = setting(
        128, "environments stepped together", source=PUREJAXQL, minimum=1, maximum=1_024
    )
    rollout_steps: int = setting(
        32, "of each environment between updates", unit="steps", source=PUREJAXQL, minimum=1
    )
    epochs: int = setting(2, "passes over a rollout", source=PUREJAXQL, minimum=1)
    minibatches: int = setting(
        32,
        "of a pass: 128 rows each with the defaults",
        source=PUREJAXQL,
        minimum=1,
        maximum=65_536,
    )
    learning_rate: float = setting(
        2.5e-4, "step size of the optimizer at the start", source=PUREJAXQL, above=0, maximum=1e3
    )
    learning_rate_decay: bool = setting(
        False, "linear, to 0 at the end of --schedule-steps", source=PUREJAXQL
    )
    optimizer: str = setting("radam", "update rule", source=PUREJAXQL, choices=OPTIMIZER_NAMES)
    beta1: float = setting(
        0.9,
        "first moment of Adam, Adamax, RAdam",
        source="Liu et al. 2020",
        minimum=0,
        maximum=0.9999,
    )
    optimizer_eps: float = setting(
        1e-8, "added to the root of the second moment", source="optax.radam", above=0
    )
    max_grad_norm: float = setting(
        10.0, "gradients longer than this are scaled down (0: never)", source=PUREJAXQL, minimum=0
    )
    gamma: float = setting(0.99, "discount of a step", source=PUREJAXQL, minimum=0, maximum=1)
    q_lambda: float = setting(
        0.65, "of the returns that are learnt", source=PUREJAXQL, minimum=0, maximum=1
    )
    epsilon_start: float = setting(
        1.0, "probability of a random action at first", source=PUREJAXQL, minimum=0, maximum=1
    )
    epsilon_end: float = setting(
        0.001, "probability of a random action at last", source=PUREJAXQL, minimum=0, maximum=1
    )
    epsilon_steps: int = setting(
        0,
        "length of the way between the two (0: a tenth of --schedule-steps)",
        unit="agent steps",
        source=PUREJAXQL,
        minimum=0,
    )
    hidden: int = setting(
        128,
        "units of each of an MLP's two hidden layers",
        unit="units",
        source="purejaxql, pqn_cartpole.yaml",
        minimum=1,
        maximum=65_536,
    )
    clip_rewards: bool = setting(
        True, "rewards to [-1, 1] in the learner", source="Mnih et al. 2015"
    )

    warmup_steps = 0
    recurrent = False

    def __post_init__(self) -> None:
        """UsageError where a rollout cannot be dealt into the minibatches asked for."""
        check_minibatches(self.rows, self.minibatches, "rows", ("num_envs", "rollout_steps"))

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
        """Whether the rate falls, or epsilon over a tenth of the schedule."""
        return self.learning_rate_decay or not self.epsilon_steps

    def updates(self, agent_steps: int) -> int:
        """Steps of the optimizer in that many agent steps."""
        return agent_steps // self.rows * self.epochs * self.minibatches

    def calibration(self) -> Mapping[str, Any]:
        """One minibatch of the same size a rollout; acting as at last."""
        changes: dict[str, Any] = {"epsilon_start": self.epsilon_end}
        if self.rollout_steps % self.minibatches == 0:
            changes |= {"rollout_steps": self.rollout_steps // self.minibatches, "minibatches": 1}
        return changes


# Found on CartPole-v1, which 50,000 steps of this solve. Epsilon falls in a fixed number of steps:
# a longer run explores no longer.
CONTROL: Mapping[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 32,
    "epochs": 4,
    "minibatches": 4,  # of 64 rows
    "learning_rate": 2e-3,
    "gamma": 0.98,
    "q_lambda": 0.95,
    "epsilon_end": 0.05,
    "epsilon_steps": 10_000,
    "clip_rewards": False,
}

# Few cores and an hour: 128 seeded emulators take most of a minute to start on two, and short runs
# need more updates: minibatches of 64 in four passes, as many as CleanRL's pqn_atari_envpool.py.
PRESET_FAST: Mapping[str, Any] = {"num_envs": 16, "epochs": 4, "minibatches": 8}

PRESETS: Mapping[str, Mapping[str, Any]] = {"fast": PRESET_FAST}
