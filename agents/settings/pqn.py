"""Settings of PQN (Gallici et al. 2025)."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.agents.settings import shared
from wnrl.agents.settings.rollout import RolloutSettings
from wnrl.agents.settings.shared import check_minibatches

if TYPE_CHECKING:
    from wnrl.rl import value_losses
else:
    value_losses = Later("wnrl.rl.value_losses")

PUREJAXQL = "purejaxql, config/alg/pqn_atari.yaml"


@dataclasses.dataclass(frozen=True)
class PQNConfig(RolloutSettings):
    """Hyperparameters of PQN. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = shared.num_envs(128, PUREJAXQL)
    rollout_steps: int = shared.rollout_steps(32, PUREJAXQL)
    epochs: int = shared.epochs(2, PUREJAXQL)
    minibatches: int = shared.minibatches(32, PUREJAXQL)
    learning_rate: float = shared.learning_rate(2.5e-4, PUREJAXQL)
    learning_rate_decay: bool = shared.learning_rate_decay(False, PUREJAXQL)
    optimizer: str = shared.optimizer("radam", PUREJAXQL)
    beta1: float = shared.beta1(0.9, "Liu et al. 2020")
    optimizer_eps: float = shared.optimizer_eps(1e-8, "optax.radam")
    max_grad_norm: float = shared.max_grad_norm(10.0, PUREJAXQL)
    gamma: float = shared.gamma(0.99, PUREJAXQL)
    q_lambda: float = setting(
        0.65, "lambda of the lambda-returns", source=PUREJAXQL, minimum=0, maximum=1
    )
    epsilon_start: float = shared.epsilon_start(1.0, PUREJAXQL)
    epsilon_end: float = shared.epsilon_end(0.001, PUREJAXQL)
    epsilon_steps: int = shared.epsilon_steps(0, PUREJAXQL)
    hidden: int = shared.hidden(128, "purejaxql, pqn_gymnax.py; its pqn_cartpole.yaml has 256")
    clip_rewards: bool = shared.clip_rewards(True, "Mnih et al. 2015")
    loss: str = shared.loss("mse", "purejaxql, pqn_atari.py")
    categorical_targets: str = shared.categorical_targets("hl-gauss", shared.FAREBROTHER)
    atoms: int = shared.atoms(51, shared.BELLEMARE)
    v_min: float = shared.v_min(-10.0, shared.BELLEMARE)
    v_max: float = shared.v_max(10.0, shared.BELLEMARE)
    sigma_ratio: float = shared.sigma_ratio(0.75, shared.FAREBROTHER)
    protocol_epsilon: bool = setting(
        False,
        "the Atari protocol's share of random actions in evaluation",
        source="purejaxql, EPS_TEST 0 in pqn_atari.yaml",
    )

    def __post_init__(self) -> None:
        """Raise SettingError for minibatches of unequal size, or an empty range of values."""
        check_minibatches(self.rows, self.minibatches, "rows", ("num_envs", "rollout_steps"))
        shared.check_support(self.v_min, self.v_max)

    @property
    def unused(self) -> tuple[str, ...]:
        """Return the settings that these choices leave without effect."""
        return shared.unused_by_loss(self.loss, self.categorical_targets)

    @property
    def network_fields(self) -> Mapping[str, Any]:
        """PQN's fields of `NetworkSpec`."""
        return {"atoms": value_losses.atoms_of(self)}

    @property
    def depends_on_schedule(self) -> bool:
        """Return whether the rate falls, or epsilon over a tenth of the schedule."""
        return self.learning_rate_decay or not self.epsilon_steps

    def calibration(self) -> Mapping[str, Any]:
        """Return overrides for timing: one minibatch per rollout, final epsilon."""
        changes: dict[str, Any] = {"epsilon_start": self.epsilon_end}
        if self.rollout_steps % self.minibatches == 0:
            changes |= {"rollout_steps": self.rollout_steps // self.minibatches, "minibatches": 1}
        return changes


# Tuned on CartPole-v1, which they solve in 50,000 steps. Epsilon falls in a fixed number of steps,
# so a longer run does not explore longer.
CONTROL: Mapping[str, Any] = {
    "num_envs": 8,
    "rollout_steps": 32,
    "epochs": 4,
    "minibatches": 4,  # 64 rows each
    "learning_rate": 2e-3,
    "gamma": 0.98,
    "q_lambda": 0.95,
    "epsilon_end": 0.05,
    "epsilon_steps": 10_000,
    "clip_rewards": False,
    "atoms": 101,
    "v_min": -100.0,  # 1 / (1 - gamma) rewards of 1
    "v_max": 100.0,
}

# purejaxql, config/alg/pqn_minatar.yaml, except for its layer norm and its inputs, which it divides
# by 255 although they are 0 and 1.
MINATAR: Mapping[str, Any] = {
    "steps": 10_000_000,
    "learning_rate": 5e-4,
    "learning_rate_decay": True,
    "epsilon_end": 0.05,
    "clip_rewards": False,
    "atoms": 101,
    "v_min": -100.0,
    "v_max": 100.0,
}

# Runs from before the setting were evaluated with the protocol's random actions.
BEFORE: Mapping[str, Any] = {"protocol_epsilon": True}

# For few cores and an hour: short runs need more updates than 128 environments leave time for:
# minibatches of 64 in four passes, as many as CleanRL's pqn_atari_envpool.py.
PRESETS: Mapping[str, Mapping[str, Any]] = {"fast": {"num_envs": 16, "epochs": 4, "minibatches": 8}}
