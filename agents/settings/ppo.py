"""Settings of PPO (Schulman et al. 2017)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from wnrl._settings import SettingError, setting
from wnrl.agents.settings import shared
from wnrl.agents.settings.rollout import RolloutSettings
from wnrl.agents.settings.shared import check_minibatches

# SB3's zoo has the numbers of Schulman et al. 2017 for Atari, except for the epochs (3 in the
# paper, 4 in the zoo), the value's coefficient (1 in the paper, 0.5 in the zoo) and Adam's epsilon.
ZOO = "SB3 zoo, ppo.yml, atari"
SB3 = "SB3 PPO"
PAPER = "Schulman et al. 2017, table 5"


@dataclasses.dataclass(frozen=True)
class PPOConfig(RolloutSettings):
    """Hyperparameters of PPO. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = shared.num_envs(8, PAPER)
    rollout_steps: int = shared.rollout_steps(128, PAPER)
    epochs: int = shared.epochs(4, ZOO)
    minibatches: int = shared.minibatches(4, ZOO)
    learning_rate: float = shared.learning_rate(2.5e-4, PAPER)
    learning_rate_decay: bool = shared.learning_rate_decay(True, PAPER)
    optimizer: str = shared.optimizer("adam", PAPER)
    beta1: float = shared.beta1(0.9, "Kingma & Ba 2015")
    optimizer_eps: float = shared.optimizer_eps(1e-5, SB3)
    max_grad_norm: float = shared.max_grad_norm(0.5, SB3)
    gamma: float = shared.gamma(0.99, PAPER)
    gae_lambda: float = shared.gae_lambda(0.95, PAPER)
    clip_range: float = setting(
        0.1,
        "largest distance of the probability ratio from 1 (initial value)",
        source=PAPER,
        above=0,
    )
    clip_range_decay: bool = setting(
        True, "linear decay of the clip range to 0 at the end of the schedule", source=PAPER
    )
    value_coef: float = shared.value_coef(0.5, ZOO)
    entropy_coef: float = shared.entropy_coef(0.01, PAPER)
    normalize_advantage: bool = shared.normalize_advantage(True, SB3)
    separate: bool = shared.separate(False, "SB3's CnnPolicy shares one")
    recurrent: bool = shared.recurrent(False, "SB3 PPO has none")
    lstm_units: int = shared.lstm_units(128, "CleanRL, ppo_atari_lstm.py")
    hidden: int = shared.hidden(64, "SB3 MlpPolicy")
    clip_rewards: bool = shared.clip_rewards(True, "Mnih et al. 2015")

    def __post_init__(self) -> None:
        """Raise SettingError for minibatches of unequal size, or an LSTM with two torsos."""
        if self.recurrent:  # whole sequences
            check_minibatches(self.num_envs, self.minibatches, "environments", ("num_envs",))
        else:
            check_minibatches(self.rows, self.minibatches, "rows", ("num_envs", "rollout_steps"))
        if self.recurrent and self.separate:
            raise SettingError("recurrent", "needs a single torso; leave out separate")

    @property
    def depends_on_schedule(self) -> bool:
        """Return whether the learning rate or the clip range falls."""
        return self.learning_rate_decay or self.clip_range_decay

    @property
    def network_fields(self) -> Mapping[str, Any]:
        """PPO's fields of `NetworkSpec`."""
        lstm_units = self.lstm_units if self.recurrent else 0
        return {"separate": self.separate, "lstm_units": lstm_units}

    def calibration(self) -> Mapping[str, Any]:
        """Return overrides for timing: a rollout of one minibatch, or shorter sequences."""
        if self.recurrent:
            return {"rollout_steps": min(self.rollout_steps, 16)}
        if self.rollout_steps % self.minibatches:
            return {}
        return {"rollout_steps": self.rollout_steps // self.minibatches, "minibatches": 1}


# SB3 zoo, ppo.yml, CartPole-v1. The zoo trains for 100,000 steps; 50,000 solve it.
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

# github.com/luchris429/purejaxrl, examples/brax_minatar.ipynb.
MINATAR: Mapping[str, Any] = {
    "steps": 10_000_000,
    "num_envs": 64,
    "minibatches": 8,
    "learning_rate": 5e-3,
    "clip_range": 0.2,
    "clip_range_decay": False,
    "clip_rewards": False,
}
