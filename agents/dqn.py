"""Deep Q-learning (Mnih et al. 2015): the algorithm first, its settings below.

Variants change one thing each: double Q-learning (van Hasselt et al. 2016) the target in `_learn`,
dueling (Wang et al. 2016) the network's head, n-step returns the replay. A normalization is in the
network, the learner and `values`; nothing here asks which one it is.

Dimension key: B batch, N environments, A actions.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from wnrl._settings import setting
from wnrl.agents import shared_settings as shared
from wnrl.agents.learner import Learner
from wnrl.agents.policies import GreedyPolicy, epsilon_greedy
from wnrl.agents.record import AgentParts, AgentRecord, Storage
from wnrl.agents.recurrence import NoMemory
from wnrl.agents.shared_settings import NATURE
from wnrl.agents.target_network import TargetNetwork
from wnrl.agents.transition import transition_of
from wnrl.envs.vector import Actions, Flags, Observations, ObservationSpec, Step
from wnrl.nn.networks.initialization import reset_parameters_
from wnrl.nn.networks.q_network import assemble_q_network
from wnrl.nn.norms.transition_values import Values
from wnrl.rl import losses
from wnrl.rl.replay import Batch, Replay
from wnrl.rl.schedules import linear
from wnrl.rl.sequence_replay import SequenceReplay

LOSSES = {"huber": losses.huber, "mse": losses.squared}


class DQN:
    """Q-learning from a replay, with a target network."""

    update_overlaps = True  # a replay does without the newest actions

    def __init__(
        self,
        learner: Learner,
        replay: Replay,
        settings: "DQNConfig",
        *,
        num_actions: int,
        values: Values,
        epsilon: Callable[[int], float],
        generator: np.random.Generator,
    ) -> None:
        """Take the built parts.

        Args:
            learner: its network maps obs (B, ...) to action values (B, A).
            replay: one row per environment and step; it owns its generator.
            settings: hyperparameters.
            num_actions: A.
            values: how the networks see the two ends of a transition.
            epsilon: agent steps so far -> probability of a random action after the warm-up.
            generator: random stream of the exploration alone.
        """
        self.learner = learner
        self.network = learner.network
        self.rows = self.replay = replay
        self._target = TargetNetwork(learner, settings.target_period_steps)
        self._settings = settings
        self._num_actions = num_actions
        self._values = values
        self._loss = LOSSES[settings.loss]
        self._epsilon = epsilon
        self._generator = generator
        self._agent_steps = 0
        self._batch = replay.empty_batch(settings.batch_size)
        self._acted_on: tuple[Observations, Flags] | None = None

    @property
    def epsilon(self) -> float:
        """Probability of a random action now; 1 during the warm-up."""
        if self._agent_steps < self._settings.warmup_steps:
            return 1.0
        return self._epsilon(self._agent_steps)

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return epsilon-greedy actions (N,) for observations (N, ...)."""
        self._acted_on = (obs, first)
        return epsilon_greedy(
            self.network,
            obs,
            self.epsilon,
            self._num_actions,
            self._generator,
            self.learner.device,
        )

    def observe(self, step: Step) -> None:
        """Store the row of the observations acted on."""
        assert self._acted_on is not None, "observe comes after act"
        obs, first = self._acted_on
        settings = self._settings
        reward, discount, valid = transition_of(
            step, settings.gamma, clip_rewards=settings.clip_rewards
        )
        newest_frame = obs[:, -1] if self.replay.stack > 1 else obs
        self.replay.add(newest_frame, step.action, reward, discount, first, valid)
        self._agent_steps += int(valid.sum())

    def update(self) -> dict[str, Tensor] | None:
        """Do every update due since the warm-up; return the metrics of the newest."""
        due, metrics = self._settings.updates(self._agent_steps), None
        while self.learner.updates < due and len(self.replay) > 0:
            metrics = self._learn()
        self._target.follow(self._agent_steps)
        return metrics

    def _learn(self) -> dict[str, Tensor]:
        sampled = self.replay.sample(self._settings.batch_size, out=self._batch)
        batch = Batch(*(x.to(self.learner.device) for x in sampled))
        s_tm1, a_tm1, r_t, discount_t, s_t = batch
        double = self._settings.double

        def loss(online: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
            q = self._values(online, self._target.network, s_tm1, s_t, select=double)
            if q.q_t_selector is not None:  # double: van Hasselt et al. 2016, equation 4
                td = losses.double_q_learning_td(
                    q.q_tm1, a_tm1, r_t, discount_t, q.q_t, q.q_t_selector
                )
            else:  # Mnih et al. 2015, equation 2
                td = losses.q_learning_td(q.q_tm1, a_tm1, r_t, discount_t, q.q_t)
            error = self._loss(td).mean()  # (B,) -> ()
            td_abs = td.detach().abs().mean()
            return error, {"train/loss": error.detach(), "train/td_error_abs": td_abs}

        metrics = self.learner.step(loss, s_tm1, self._values.learning_batch(s_tm1, s_t))
        return {**metrics, "train/grad_norm": self.learner.optimizer.grad_norm}

    def policy(self, epsilon: float, generator: np.random.Generator) -> GreedyPolicy:
        """Return the current policy; later updates do not change it."""
        network, device = self.learner.frozen_network(), self.learner.device
        return GreedyPolicy(network, NoMemory, epsilon, self._num_actions, generator, device)

    def scalars(self) -> dict[str, Tensor | float]:
        """Return further values to log at intervals, by tag."""
        return {"rollout/exploration_rate": self.epsilon, **self.learner.scalars()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that moves except the rows of the replay."""
        return {
            **self.learner.state_dict(),
            **self._target.state_dict(),
            "replay": self.replay.state_dict(),
            "generator": self._generator.bit_generator.state,
            "agent_steps": self._agent_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore everything except the rows of the replay, which a checkpoint reads apart."""
        self.learner.load_state_dict(state)
        self._target.load_state_dict(state)
        self.replay.load_state_dict(state["replay"])
        self._generator.bit_generator.state = state["generator"]
        self._agent_steps = state["agent_steps"]


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
    loss: str = setting("huber", "loss on the TD error", source=SB3, choices=tuple(LOSSES))
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
    batch_settings = ("batch_size",)

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
        return {"dueling": self.dueling, "lstm_units": lstm_units}

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
            least = SequenceReplay.least_rows(
                stack, self.n_step, self.burn_in_steps, self.state_period_steps
            )
            reason += f", a burn-in of {self.burn_in_steps}"

        def bytes_of(rows: int) -> int:
            if not self.recurrent:
                return Replay.bytes_needed(rows, num_envs, shape, dtype)
            return SequenceReplay.bytes_needed(
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
    "lstm_units": 64,
    "burn_in_steps": 4,
    "sequence_steps": 8,
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

# Salimans & Kingma 2016, section 5.4; everything else as in Mnih et al. 2015, with the learning
# rate of the paper's baseline.
PRESET_PAPER: Mapping[str, Any] = {
    **PRESET_NATURE,
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


def epsilon_schedule(settings: DQNConfig, schedule_steps: int) -> Callable[[int], float]:
    """Return agent steps -> epsilon, which falls along a line to its final value."""
    duration_steps = settings.epsilon_steps or schedule_steps // 10
    return lambda step: linear(step, settings.epsilon_start, settings.epsilon_end, duration_steps)


def build(parts: AgentParts) -> DQN:
    """Build a DQN agent without recurrence."""
    settings: DQNConfig = parts.settings
    observation = parts.observation
    replay = Replay(
        settings.buffer_size,
        parts.num_envs,
        observation.frame_shape,
        observation.dtype,
        observation.stack,
        settings.n_step,
        parts.generator("replay"),
    )
    return DQN(
        parts.learner,
        replay,
        settings,
        num_actions=parts.num_actions,
        values=parts.values,
        epsilon=epsilon_schedule(settings, parts.schedule_steps),
        generator=parts.generator("exploration"),
    )


RECORD = AgentRecord(
    name="dqn",
    summary="deep Q-learning from a replay with a target network (Mnih et al. 2015)",
    settings=DQNConfig,
    control=CONTROL,
    presets={"nature": PRESET_NATURE, "paper": PRESET_PAPER, "fast": PRESET_FAST},
    assemble=assemble_q_network,
    initialize=reset_parameters_,
    build=build,
    greedy=True,
)
