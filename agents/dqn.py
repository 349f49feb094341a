"""Deep Q-learning (Mnih et al. 2015).

Variants change one thing each: double Q-learning (van Hasselt et al. 2016) and distributions
(Bellemare et al. 2017) the loss in `wnrl.rl.value_losses`, dueling (Wang et al. 2016) the network's
head, n-step returns the replay. A normalization is in the network, the learner and `values`;
nothing here asks which one it is.

Dimension key: B batch, N environments, A actions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from wnrl.agents.learner import Learner, Update
from wnrl.agents.policies import GreedyPolicy, epsilon_greedy
from wnrl.agents.record import AgentParts
from wnrl.agents.recurrence import NoMemory
from wnrl.agents.settings.dqn import DQNConfig
from wnrl.agents.target_network import TargetNetwork
from wnrl.agents.transition import transition_of
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.q_network import loss_view
from wnrl.nn.norms.transition_values import Values
from wnrl.rl.frame_stacks import NewestStacks
from wnrl.rl.replay import Batch, Replay
from wnrl.rl.schedules import linear
from wnrl.rl.value_losses import value_loss

GRAPH_UPDATES = 4  # most updates in one graph; each number of updates has a graph of its own


class DQN:
    """Q-learning from a replay, with a target network."""

    update_overlaps = True  # a replay does without the newest actions

    def __init__(
        self,
        learner: Learner,
        replay: Replay,
        settings: DQNConfig,
        *,
        num_actions: int,
        values: Values,
        epsilon: Callable[[int], float],
        generator: np.random.Generator,
    ) -> None:
        """Take the built parts.

        Args:
            learner: its network maps obs (B, ...) to action values (B, A).
            replay: one row per environment and step, with batches on the network's device; it
                owns its generator.
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
        self._loss = value_loss(settings, learner.device)
        self._epsilon = epsilon
        self._generator = generator
        self._agent_steps = 0
        self._buffers: list[Batch] = []  # the memory of its batches
        self._stacks = NewestStacks(replay.stack, learner.device)
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
        inputs, _ = self._stacks.advance(obs, first)
        return epsilon_greedy(
            self.learner.outputs, inputs, self.epsilon, self._num_actions, self._generator
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
        most = GRAPH_UPDATES if self.learner.makes_graphs else 1
        while (count := min(due - self.learner.updates, most)) > 0 and len(self.replay) > 0:
            metrics = self._learn(count)
        self._target.follow(self._agent_steps)
        return metrics

    def _learn(self, updates: int) -> dict[str, Tensor]:
        size = self._settings.batch_size
        while len(self._buffers) < updates:
            self._buffers.append(self.replay.empty_batch(size))
        return self._learn_from(
            *(self.replay.sample(size, out=out) for out in self._buffers[:updates])
        )

    def _learn_from(self, *batches: Batch) -> dict[str, Tensor]:
        sizes = [len(batch.a_tm1) for batch in batches]
        *_, newest = self.learner.steps(self._td_loss, self._updates_of, batches, sizes)
        return {**newest, "train/grad_norm": self.learner.optimizer.grad_norm}

    def _updates_of(self, batches: tuple[Batch, ...]) -> Iterator[Update[Batch]]:
        for batch in batches:
            yield Update(batch, batch.s_tm1, self._values.learning_batch(batch.s_tm1, batch.s_t))

    def _td_loss(self, online: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        s_tm1, a_tm1, r_t, discount_t, s_t = batch
        networks = loss_view(online), loss_view(self._target.network)
        q = self._values(*networks, s_tm1, s_t, select=self._settings.double)
        found = self._loss.bootstrapped(q.q_tm1, a_tm1, r_t, discount_t, q.q_t, q.q_t_selector)
        return found.loss.mean(), found.report(Tensor.mean)  # (B,) -> ()

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
        self._stacks.forget()


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
        parts.learner.device,
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
