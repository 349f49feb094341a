"""Settings of DQN and of its recurrent form."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wnrl._settings import setting
from wnrl._settings.later import Later
from wnrl.agents.record import Storage
from wnrl.agents.settings import shared
from wnrl.agents.settings.shared import NATURE
from wnrl.envs.vector import ObservationSpec

if TYPE_CHECKING:
    from wnrl.rl import replay, sequence_replay, value_losses
else:
    replay = Later("wnrl.rl.replay")
    sequence_replay = Later("wnrl.rl.sequence_replay")
    value_losses = Later("wnrl.rl.value_losses")

ZOO = "SB3 zoo, dqn.yml, atari"
SB3 = "SB3 DQN"
NOT_SB3 = "SB3 DQN has none"
R2D2 = "Kapturowski et al. 2019 (R2D2)"


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """Hyperparameters of DQN. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = shared.num_envs(8, "ours")
    learning_rate: float = shared.learning_rate(1e-4, ZOO)
    optimizer: str = shared.optimizer("adam", SB3)
    beta1: float = shared.beta1(0.9, "Kingma & Ba 2015")
    optimizer_eps: float = shared.optimizer_eps(1e-8, "torch, as in SB3")
    max_grad_norm: float = shared.max_grad_norm(10.0, SB3)
    batch_size: int = setting(
        32,
        "transitions per update (sequences in recurrent runs)",
        source=ZOO,
        minimum=1,
        maximum=65_536,
    )
    buffer_size: int = setting(
        100_000, "capacity of the replay", unit="transitions", source=ZOO, minimum=1
    )
    warmup_steps: int = setting(
        100_000,
        "random actions before the first update",
        unit="agent steps",
        source=ZOO,
        minimum=0,
    )
    update_period_steps: int = setting(
        4,
        "steps between updates (times the sequence length in recurrent runs)",
        unit="agent steps",
        source=ZOO,
        minimum=1,
    )
    target_period_steps: int = setting(
        1_000,
        "steps between copies to the target network",
        unit="agent steps",
        source=ZOO,
        minimum=1,
    )
    gamma: float = shared.gamma(0.99, SB3)
    n_step: int = setting(
        1, "rewards summed before the bootstrap", source=SB3, minimum=1, maximum=1_000
    )
    epsilon_start: float = shared.epsilon_start(1.0, SB3)
    epsilon_end: float = shared.epsilon_end(0.01, ZOO)
    epsilon_steps: int = shared.epsilon_steps(0, ZOO)
    loss: str = shared.loss("huber", SB3)
    categorical_targets: str = shared.categorical_targets("hl-gauss", shared.FAREBROTHER)
    atoms: int = shared.atoms(51, shared.BELLEMARE)
    v_min: float = shared.v_min(-10.0, shared.BELLEMARE)
    v_max: float = shared.v_max(10.0, shared.BELLEMARE)
    sigma_ratio: float = shared.sigma_ratio(0.75, shared.FAREBROTHER)
    double: bool = setting(False, "double Q-learning (van Hasselt et al. 2016)", source=NOT_SB3)
    dueling: bool = setting(False, "dueling heads (Wang et al. 2016)", source=NOT_SB3)
    hidden: int = shared.hidden(64, "SB3 MlpPolicy")
    clip_rewards: bool = shared.clip_rewards(True, NATURE)
    recurrent: bool = shared.recurrent(False, NOT_SB3)
    lstm_units: int = shared.lstm_units(512, R2D2)
    burn_in_steps: int = setting(
        40,
        "first steps of a sequence, which only bring its stored state up to date",
        unit="agent steps",
        source=R2D2,
        minimum=0,
        maximum=10_000,
    )
    sequence_steps: int = setting(
        80,
        "steps of a sequence that are learnt from, after the burn-in",
        unit="agent steps",
        source=R2D2,
        minimum=1,
        maximum=10_000,
    )

    learning_rate_decay = False
    protocol_epsilon = True
    batch_settings = ("batch_size",)

    def __post_init__(self) -> None:
        """Raise SettingError for an empty range of values."""
        shared.check_support(self.v_min, self.v_max)

    @property
    def unused(self) -> tuple[str, ...]:
        """Return the settings that these choices leave without effect."""
        return shared.unused_by_loss(self.loss, self.categorical_targets)

    @property
    def learning_batch(self) -> int:
        """Transitions of an update."""
        return self.batch_size * (self.sequence_steps if self.recurrent else 1)

    @property
    def rows_per_update(self) -> int:
        """Rows in one pass through the network: all of a sequence in recurrent runs."""
        if not self.recurrent:
            return self.batch_size
        return self.batch_size * (self.burn_in_steps + self.sequence_steps + self.n_step)

    @property
    def learns_from_pairs(self) -> bool:
        """Return whether an update sees both ends of each transition."""
        return not self.recurrent

    @property
    def steps_per_update(self) -> int:
        """Agent steps between updates, scaled so that sequence length keeps the replay ratio."""
        return self.update_period_steps * (self.sequence_steps if self.recurrent else 1)

    @property
    def state_period_steps(self) -> int:
        """Rows between stored recurrent states: sequences overlap by half (R2D2, section 2.3)."""
        return max(1, self.sequence_steps // 2)

    @property
    def depends_on_schedule(self) -> bool:
        """Return whether epsilon falls over a tenth of the schedule."""
        return not self.epsilon_steps

    @property
    def network_fields(self) -> Mapping[str, Any]:
        """DQN's fields of `NetworkSpec`."""
        lstm_units = self.lstm_units if self.recurrent else 0
        atoms = value_losses.atoms_of(self)
        return {"dueling": self.dueling, "lstm_units": lstm_units, "atoms": atoms}

    @property
    def optimizer_fields(self) -> Mapping[str, Any]:
        """RMSprop as in Mnih et al. 2015: centered, with their decay of the averages."""
        return {"alpha": 0.95, "centered": True}

    @property
    def stored(self) -> str:
        """The rows that the agent keeps, in words."""
        return f"replay of {self.buffer_size:,} transitions"

    def storage(self, num_envs: int, observation: ObservationSpec) -> Storage:
        """Return the memory of the replay."""
        shape, dtype, stack = observation.frame_shape, observation.dtype, observation.stack
        least, reason = stack + self.n_step + 1, f"stacks of {stack}"
        if self.recurrent:
            least = sequence_replay.SequenceReplay.least_rows(
                stack, self.n_step, self.burn_in_steps, self.state_period_steps
            )
            reason += f", a burn-in of {self.burn_in_steps}"

        def bytes_of(rows: int) -> int:
            if not self.recurrent:
                return replay.Replay.bytes_needed(rows, num_envs, shape, dtype)
            return sequence_replay.SequenceReplay.bytes_needed(
                rows,
                num_envs,
                shape,
                dtype,
                lstm_units=self.lstm_units,
                period_steps=self.state_period_steps,
            )

        return Storage(
            rows=self.buffer_size,
            bytes_of=bytes_of,
            settings=("buffer_size",),
            shrinks_to=max(num_envs * least, self.batch_size),
            least_rows=num_envs * least,
            least_reason=f"{num_envs} environments, {reason} and {self.n_step}-step returns",
        )

    def updates(self, agent_steps: int) -> int:
        """Return the number of optimizer steps in that many agent steps."""
        return max(0, agent_steps - self.warmup_steps) // self.steps_per_update

    def why_no_update(self, agent_steps: int) -> str:
        """Say why no update is due in that many agent steps, and which settings to change."""
        warmup = f"the warm-up of {self.warmup_steps:,} random steps"
        if agent_steps > self.warmup_steps:
            why = (
                f"leave fewer than the {self.steps_per_update:,} steps of an update after {warmup}"
            )
        else:
            why = f"end within {warmup}"
        return f"{why}; change steps or warmup_steps"

    def calibration(self) -> Mapping[str, Any]:
        """Return overrides for timing: short warm-up, small replay, final epsilon."""
        window = self.n_step + 8  # a stack and some
        if self.recurrent:
            window += self.burn_in_steps + self.sequence_steps
        return {
            "warmup_steps": 256 * self.num_envs,
            "buffer_size": (512 + window) * self.num_envs,
            "epsilon_start": self.epsilon_end,
        }


# Defaults for vectors and a toy's few pixels, learnt by an MLP. Tuned on CartPole-v1, which they
# solve in 15,000 steps.
CONTROL: Mapping[str, Any] = {
    "num_envs": 4,
    "learning_rate": 1e-3,
    "batch_size": 64,
    "buffer_size": 50_000,
    "warmup_steps": 500,
    "update_period_steps": 1,
    "target_period_steps": 500,
    "n_step": 3,
    "epsilon_end": 0.02,
    "epsilon_steps": 3_000,
    "double": True,
    "hidden": 128,
    "clip_rewards": False,
    "atoms": 101,
    "v_min": -100.0,  # 1 / (1 - gamma) rewards of 1
    "v_max": 100.0,
    "lstm_units": 64,
    "burn_in_steps": 4,
    "sequence_steps": 8,
}


# Young & Tian 2019, github.com/kenjyoung/MinAtar, examples/dqn.py.
MINATAR: Mapping[str, Any] = {
    "num_envs": 1,
    "optimizer": "rmsprop",
    "learning_rate": 2.5e-4,
    "optimizer_eps": 0.01,
    "max_grad_norm": 0.0,
    "warmup_steps": 5_000,
    "update_period_steps": 1,
    "epsilon_end": 0.1,
    "epsilon_steps": 100_000,
    "clip_rewards": False,
    "atoms": 101,
    "v_min": -100.0,
    "v_max": 100.0,
}

# Mnih et al. 2015, extended data table 1. Their RMSprop adds 0.01 inside the root, to gradients
# summed over 32 transitions. Here the loss is a mean and epsilon is outside the root, as in torch:
# sqrt(0.01) / 32. The target is copied every 10,000 agent steps, as dqn_zoo and Dopamine read the
# table.
PRESET_NATURE: Mapping[str, Any] = {
    "optimizer": "rmsprop",
    "learning_rate": 2.5e-4,
    "optimizer_eps": 0.1 / 32,
    "max_grad_norm": 0.0,
    "buffer_size": 1_000_000,
    "warmup_steps": 50_000,
    "target_period_steps": 10_000,
    "epsilon_end": 0.1,
    "epsilon_steps": 1_000_000,
}

# Salimans & Kingma 2016, section 5.4, with the learning rate of its baseline; the record of weight
# normalization has what differs. The rest is as in Mnih et al. 2015, whose table counts the
# target's period in updates, and in deep_q_rl, from which their code came. docs/protocols.md lists
# what is not known.
PRESET_PAPER: Mapping[str, Any] = {
    **PRESET_NATURE,
    "target_period_steps": 40_000,  # 10,000 updates
    "init_weights": "he",
    "optimizer": "adamax",
    "beta1": 0.5,
    "optimizer_eps": 1e-8,
    "batch_size": 64,
    "learning_rate": 1e-4,
}

# Shows learning within an hour on two cores; every committed run under 1M steps uses it.
PRESET_FAST: Mapping[str, Any] = {
    "buffer_size": 100_000,
    "warmup_steps": 2_000,
    "epsilon_end": 0.05,
    "epsilon_steps": 50_000,
    "target_period_steps": 2_000,
}

# An update of sequences comes more rarely (`steps_per_update`), and so must copies to the target:
# 31 updates per copy with the defaults for Atari, where 1,000 steps would hold 3.
RECURRENT: Mapping[str, Any] = {"target_period_steps": 10_000}

PRESETS = {"nature": PRESET_NATURE, "paper": PRESET_PAPER, "fast": PRESET_FAST}
