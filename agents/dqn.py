"""Deep Q-learning (Mnih et al. 2015), to be read from top to bottom as the algorithm.

Small choices are functions and modules passed in: double Q-learning (van Hasselt et al. 2016) is
another `td_errors`, Huber or squared another `loss`, dueling (Wang et al. 2016) another network,
n-step returns another replay. What a normalization needs is another network, optimizer, `values` or
`after_step`. Nothing here asks which.

Dimension key: B batch, N environments, A actions.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wnrl._settings import setting
from wnrl.agents.observer import Unobserved, UpdateObserver
from wnrl.agents.policies import GreedyPolicy, epsilon_greedy
from wnrl.agents.recurrence import NoMemory
from wnrl.agents.transition import outcome_of
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.transition_values import Values
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.optim.step import OPTIMIZER_NAMES, StepOptimizer
from wnrl.rl import losses
from wnrl.rl.replay import Batch, Replay
from wnrl.rl.row_store import RowStore

ZOO = "SB3 zoo, dqn.yml, atari"
SB3 = "SB3 DQN"
OFF = "SB3 DQN has none"
NATURE = "Mnih et al. 2015, extended data table 1"
R2D2 = "Kapturowski et al. 2019 (R2D2)"
TDErrors = Callable[[Values, nn.Module, nn.Module, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """Hyperparameters of DQN. Defaults are for Atari; `CONTROL` has those for vectors."""

    num_envs: int = setting(
        8, "environments stepped together", source="ours", minimum=1, maximum=1_024
    )
    learning_rate: float = setting(
        1e-4, "step size of the optimizer", source=ZOO, above=0, maximum=1e3
    )
    optimizer: str = setting("adam", "update rule", source=SB3, choices=OPTIMIZER_NAMES)
    beta1: float = setting(
        0.9,
        "first moment of Adam, Adamax, RAdam",
        source="Kingma & Ba 2015",
        minimum=0,
        maximum=0.9999,
    )
    optimizer_eps: float = setting(
        1e-8, "added to the root of the second moment", source="torch, as in SB3", above=0
    )
    max_grad_norm: float = setting(
        10.0, "gradients longer than this are scaled down (0: never)", source=SB3, minimum=0
    )
    batch_size: int = setting(
        32,
        "transitions per update, sequences of them with --recurrent",
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
        "one update per this many, times --sequence-steps with --recurrent",
        unit="agent steps",
        source=ZOO,
        minimum=1,
    )
    target_period_steps: int = setting(
        1_000, "the target network is copied every", unit="agent steps", source=ZOO, minimum=1
    )
    gamma: float = setting(0.99, "discount of a step", source=SB3, minimum=0, maximum=1)
    n_step: int = setting(
        1, "rewards summed before the bootstrap", source=SB3, minimum=1, maximum=1_000
    )
    epsilon_start: float = setting(
        1.0, "probability of a random action at first", source=SB3, minimum=0, maximum=1
    )
    epsilon_end: float = setting(
        0.01, "probability of a random action at last", source=ZOO, minimum=0, maximum=1
    )
    epsilon_steps: int = setting(
        0,
        "length of the way between the two (0: a tenth of --schedule-steps)",
        unit="agent steps",
        source=ZOO,
        minimum=0,
    )
    loss: str = setting("huber", "of the TD error", source=SB3, choices=("huber", "mse"))
    double: bool = setting(False, "double Q-learning (van Hasselt et al. 2016)", source=OFF)
    dueling: bool = setting(False, "dueling heads (Wang et al. 2016)", source=OFF)
    hidden: int = setting(
        64,
        "units of each of an MLP's two hidden layers (Atari has the Nature network)",
        unit="units",
        source="SB3 MlpPolicy",
        minimum=1,
        maximum=65_536,
    )
    clip_rewards: bool = setting(True, "rewards to [-1, 1] in the learner", source=NATURE)
    recurrent: bool = setting(
        False, "an LSTM behind the torso, learnt from sequences", source="SB3 DQN has none"
    )
    lstm_units: int = setting(
        512, "of the LSTM", unit="units", source=R2D2, minimum=1, maximum=65_536
    )
    burn_in_steps: int = setting(
        40,
        "of a sequence, to bring its stored state up to date",
        unit="agent steps",
        source=R2D2,
        minimum=0,
        maximum=10_000,
    )
    sequence_steps: int = setting(
        80,
        "of a sequence, learnt from after the burn-in",
        unit="agent steps",
        source=R2D2,
        minimum=1,
        maximum=10_000,
    )

    @property
    def learning_batch(self) -> int:
        """Transitions of an update."""
        return self.batch_size * (self.sequence_steps if self.recurrent else 1)

    @property
    def steps_per_update(self) -> int:
        """Agent steps between updates: so many that each is learnt from as often as any other.

        An update of `batch_size` sequences has `sequence_steps` times the transitions of one of
        `batch_size` transitions, and comes as much more rarely.
        """
        return self.update_period_steps * (self.sequence_steps if self.recurrent else 1)

    @property
    def state_period_steps(self) -> int:
        """Rows between stored recurrent states: sequences overlap by half (R2D2, section 2.3)."""
        return max(1, self.sequence_steps // 2)

    @property
    def goes_by_schedule(self) -> bool:
        """Whether epsilon falls over a tenth of the schedule."""
        return not self.epsilon_steps

    def updates(self, agent_steps: int) -> int:
        """Steps of the optimizer in that many agent steps."""
        return max(0, agent_steps - self.warmup_steps) // self.steps_per_update

    def calibration(self) -> Mapping[str, Any]:
        """A short warm-up, a small replay, acting as at last."""
        warmup_steps, window = 256 * self.num_envs, self.n_step + 8  # a stack and some
        if self.recurrent:
            window += self.burn_in_steps + self.sequence_steps
        return {
            "warmup_steps": warmup_steps,
            "buffer_size": (512 + window) * self.num_envs,
            "epsilon_start": self.epsilon_end,
        }


# Observations that are vectors or a toy's few pixels, learnt by an MLP. Found on CartPole-v1, which
# 15,000 steps of this solve.
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
# summed over 32 transitions. Here the loss is a mean and epsilon stands outside the root, as in
# torch: sqrt(0.01) / 32. The target is copied per 10,000 agent steps, as dqn_zoo and Dopamine read
# the table.
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

# Salimans & Kingma 2016, section 5.4, else as Mnih et al. 2015: the rate of their baseline.
PRESET_PAPER: Mapping[str, Any] = {
    **PRESET_NATURE,
    "optimizer": "adamax",
    "beta1": 0.5,
    "optimizer_eps": 1e-8,
    "batch_size": 64,
    "learning_rate": 1e-4,
}

# Sees something within an hour on two cores: every committed run under 1M steps uses it.
PRESET_FAST: Mapping[str, Any] = {
    "buffer_size": 100_000,
    "warmup_steps": 2_000,
    "epsilon_end": 0.05,
    "epsilon_steps": 50_000,
    "target_period_steps": 2_000,
}

# An update of sequences comes more rarely (`steps_per_update`), and so must copies: 31 updates each
# with the defaults for Atari, where 1,000 steps would hold 3.
RECURRENT: Mapping[str, Any] = {"target_period_steps": 10_000}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "nature": PRESET_NATURE,
    "paper": PRESET_PAPER,
    "fast": PRESET_FAST,
}


def q_learning(
    values: Values,
    online: nn.Module,
    target: nn.Module,
    s_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    s_t: Tensor,
) -> Tensor:
    """TD errors (B,) of Q-learning: the target network chooses and values the next action."""
    q = values(online, target, s_tm1, s_t, select=False)
    return losses.q_learning_td(q.q_tm1, a_tm1, r_t, discount_t, q.q_t)


def double_q_learning(
    values: Values,
    online: nn.Module,
    target: nn.Module,
    s_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    s_t: Tensor,
) -> Tensor:
    """TD errors (B,) of double Q-learning: the online network chooses, the target one values."""
    q = values(online, target, s_tm1, s_t, select=True)
    assert q.q_t_selector is not None, "asked for"
    return losses.double_q_learning_td(q.q_tm1, a_tm1, r_t, discount_t, q.q_t, q.q_t_selector)


class DQN:
    """Q-learning from a replay, with a target network."""

    update_overlaps = True  # a replay does not mind that the newest actions are still on their way

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        replay: Replay,
        config: DQNConfig,
        *,
        num_actions: int,
        td_errors: TDErrors,
        values: Values,
        loss: Callable[[Tensor], Tensor],
        epsilon: Callable[[int], float],
        after_step: Callable[[nn.Module], None],
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Take built things.

        Args:
            network: obs (B, ...) -> action values (B, A), on `device`.
            optimizer: steps the network's parameters and clips their gradients.
            replay: one row per environment and step; it owns its generator.
            config: the numbers of the algorithm.
            num_actions: A.
            td_errors: (values, online, target, *batch) -> (B,), see `q_learning` and
                `double_q_learning`.
            values: how the networks see a batch, see `wnrl.nn.networks.transition_values`.
            loss: TD errors (B,) -> losses (B,).
            epsilon: agent steps so far -> probability of a random action.
            after_step: what is done to the network after a step.
            generator: of the exploration alone.
            device: where the network is.
        """
        self._network = network
        self._target = copy.deepcopy(network).requires_grad_(False).eval()
        self._optimizer = optimizer
        self.replay = replay
        self._config = config
        self._num_actions = num_actions
        self._td_errors = td_errors
        self._values = values
        self._loss = loss
        self._epsilon = epsilon
        self._after_step = after_step
        self._generator = generator
        self._device = device
        self._agent_steps = 0
        self._updates = 0
        self._target_copies = 0
        self._batch = replay.empty_batch(config.batch_size)
        self._acted_on: tuple[Observations, Flags] | None = None
        self.observer: UpdateObserver = Unobserved()

    @property
    def network(self) -> nn.Module:
        """The online network."""
        return self._network

    @property
    def optimizer(self) -> StepOptimizer:
        """What steps the online network."""
        return self._optimizer

    @property
    def rows(self) -> RowStore:
        """The replay's."""
        return self.replay

    @property
    def epsilon(self) -> float:
        """The behaviour policy's probability of a random action now: 1 throughout the warm-up."""
        if self._agent_steps < self._config.warmup_steps:
            return 1.0
        return self._epsilon(self._agent_steps)

    def scalars(self) -> dict[str, Tensor | float]:
        """What else is worth logging now and then."""
        return {
            "rollout/exploration_rate": self.epsilon,
            "train/learning_rate": self._optimizer.param_groups[0]["lr"],
            "train/n_updates": self._updates,
        }

    def act(self, obs: Observations, first: Flags) -> Actions:
        """Epsilon-greedy actions (N,) for observations (N, ...)."""
        self._acted_on = (obs, first)
        return epsilon_greedy(
            self._network, obs, self.epsilon, self._num_actions, self._generator, self._device
        )

    def observe(self, step: Step) -> None:
        """Store the row of the observation acted on."""
        assert self._acted_on is not None, "observe comes after act"
        obs, first = self._acted_on
        outcome = outcome_of(step, self._config.gamma, clip_rewards=self._config.clip_rewards)
        newest_frame = obs[:, -1] if self.replay.stack > 1 else obs
        self.replay.add(
            newest_frame, step.action, outcome.reward, outcome.discount, first, outcome.valid
        )
        self._agent_steps += int(outcome.valid.sum())

    def update(self) -> dict[str, Tensor] | None:
        """One update per `update_period_steps` since the warm-up; metrics are the newest one's."""
        config = self._config
        due, metrics = config.updates(self._agent_steps), None
        while self._updates < due and len(self.replay) > 0:
            metrics = self._learn()
            self._updates += 1
        if self._agent_steps // config.target_period_steps > self._target_copies:
            self._target_copies = self._agent_steps // config.target_period_steps
            # The hard copy of Mnih et al. 2015, buffers included.
            self._target.load_state_dict(self._network.state_dict())
        return metrics

    def _learn(self) -> dict[str, Tensor]:
        sampled = self.replay.sample(self._config.batch_size, out=self._batch)
        batch = Batch(*(x.to(self._device) for x in sampled))
        self._optimizer.zero_grad()
        with shared_weights(self._network):
            td = self._td_errors(self._values, self._network, self._target, *batch)
            loss = self._loss(td).mean()  # (B,) -> ()
            loss.backward()
        learning_batch = self._values.learning_batch(batch.s_tm1, batch.s_t)
        self.observer.before_step(batch.s_tm1, learning_batch)
        self._optimizer.step()
        self._after_step(self._network)
        self.observer.after_step()
        return {
            "train/loss": loss.detach(),
            "train/td_error_abs": td.detach().abs().mean(),
            "train/grad_norm": self._optimizer.grad_norm,
        }

    def policy(self, epsilon: float, generator: np.random.Generator) -> GreedyPolicy:
        """The current policy, frozen: later updates do not change it."""
        network = copy.deepcopy(self._network).requires_grad_(False)
        return GreedyPolicy(network, NoMemory, epsilon, self._num_actions, generator, self._device)

    def state_dict(self) -> dict[str, Any]:
        """All but the replay's rows."""
        return {
            "network": self._network.state_dict(),
            "target": self._target.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "generator": self._generator.bit_generator.state,
            "agent_steps": self._agent_steps,
            "updates": self._updates,
            "target_copies": self._target_copies,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; the replay's rows are read by whoever stored them."""
        self._network.load_state_dict(state["network"])
        self._target.load_state_dict(state["target"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self._generator.bit_generator.state = state["generator"]
        self._agent_steps = state["agent_steps"]
        self._updates = state["updates"]
        self._target_copies = state["target_copies"]
