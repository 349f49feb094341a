"""Deep Q-learning with a recurrent network (DRQN; R2D2 without distribution and priorities).

What differs from `wnrl.agents.dqn`: acting keeps a state, the replay returns sequences with the
state that acting had before them, and the networks unroll from there: first a burn-in without
gradients, which brings the old state up to date with the new weights, then the rows learnt from.

An update learns from `batch_size` sequences of `sequence_steps` rows and is due every
`update_period_steps * sequence_steps` agent steps: as many transitions per agent step as DQN.

Sources: Hausknecht & Stone 2015, arXiv 1507.06527; Kapturowski et al. 2019 (R2D2, ICLR 2019).

Dimension key: B batch, N environments, A actions, L learnt rows of a sequence, n steps of a return,
T = burn-in + L + n rows of a sequence.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.dqn import epsilon_schedule
from wnrl.agents.learner import Learner
from wnrl.agents.policies import GreedyPolicy, explore
from wnrl.agents.record import AgentParts
from wnrl.agents.recurrence import LSTMMemory
from wnrl.agents.settings.dqn import DQNConfig
from wnrl.agents.target_network import TargetNetwork
from wnrl.agents.transition import transition_of
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.q_network import loss_view
from wnrl.nn.networks.recurrent import RecurrentQNetwork
from wnrl.nn.weight_norm.lstm import State
from wnrl.rl import losses
from wnrl.rl.frame_stacks import NewestStacks
from wnrl.rl.sequence_replay import SequenceReplay
from wnrl.rl.sequences import Sequences, SequenceShape
from wnrl.rl.value_losses import ValueLoss, ValueLosses, value_loss


def sequence_losses(
    online: RecurrentQNetwork,
    target: RecurrentQNetwork,
    batch: Sequences,
    burn_in_steps: int,
    value_loss: ValueLoss,
    *,
    double: bool,
) -> ValueLosses:
    """Return losses and TD errors (L, B) of n-step Q-learning on the rows after the burn-in.

    The online network learns in training mode; everything else is in evaluation mode. Each
    network starts from the stored state and unrolls the burn-in with its current weights.

    Args:
        online: learns; with `double` it selects the action at the bootstrap.
        target: values the bootstrap.
        batch: from a `SequenceReplay`.
        burn_in_steps: rows before the first learnt one.
        value_loss: the loss; the networks' heads give what it reads.
        double: whether to use double Q-learning (van Hasselt et al. 2016).
    """
    obs, first = batch.obs[burn_in_steps:], batch.first[burn_in_steps:]  # (L + n, B, ...)
    learnt_rows = len(batch.learnt)
    with torch.no_grad():
        state = burnt_in(online.eval(), batch, burn_in_steps)
        target_state = burnt_in(target.eval(), batch, burn_in_steps)
        q_t = _at(batch.bootstrap, target.unroll(obs, first, target_state)[0])
        q_t_selector = None
        if double:
            q_t_selector = _at(batch.bootstrap, online.unroll(obs, first, state)[0])
    q_tm1, _ = online.train().unroll(obs[:learnt_rows], first[:learnt_rows], state)  # (L, B, A)
    q_tm1, action = q_tm1.flatten(0, 1), batch.action.flatten()  # -> (L * B, A), (L * B,)
    reward, discount = batch.reward.flatten(), batch.discount.flatten()
    flat = value_loss.bootstrapped(q_tm1, action, reward, discount, q_t, q_t_selector)
    shape = batch.learnt.shape  # (L, B)
    outside = None if flat.outside is None else flat.outside.view(shape)
    return ValueLosses(flat.loss.view(shape), flat.td.view(shape), outside)


def burnt_in(network: RecurrentQNetwork, batch: Sequences, steps: int) -> State:
    """Return the state after the first `steps` rows (R2D2, section 3)."""
    if steps == 0:
        return batch.state
    return network.unroll(batch.obs[:steps], batch.first[:steps], batch.state)[1]


def _at(rows: Tensor, q: Tensor) -> Tensor:
    """Return the outputs (L * B, A, ...) in q (L + n, B, A, ...) at the rows (L, B)."""
    index = rows.reshape(*rows.shape, *[1] * (q.ndim - 2)).expand(*rows.shape, *q.shape[2:])
    return q.gather(0, index).flatten(0, 1)


class RecurrentDQN:
    """Q-learning from a replay of sequences, with a target network."""

    update_overlaps = True  # a replay does without the newest actions

    def __init__(
        self,
        learner: Learner,
        replay: SequenceReplay,
        settings: DQNConfig,
        *,
        num_actions: int,
        epsilon: Callable[[int], float],
        generator: np.random.Generator,
    ) -> None:
        """Take built things.

        Args:
            learner: its network is a `RecurrentQNetwork`.
            replay: one row per environment and step; it owns its generator.
            settings: hyperparameters.
            num_actions: A.
            epsilon: agent steps so far -> probability of a random action after the warm-up.
            generator: random stream of the exploration alone.
        """
        self.learner = learner
        self.network = learner.network
        self.rows = self.replay = replay
        self._target = TargetNetwork(learner, settings.target_period_steps)
        self._settings = settings
        self._num_actions = num_actions
        self._loss = value_loss(settings, learner.device)
        self._epsilon = epsilon
        self._generator = generator
        self._memory = LSTMMemory(learner.network, replay.num_envs)
        self._stacks = NewestStacks(replay.stack, learner.device)
        self._agent_steps = 0
        self._acted_on: tuple[Observations, Flags, State] | None = None

    @property
    def epsilon(self) -> float:
        """Probability of a random action now; 1 during the warm-up."""
        if self._agent_steps < self._settings.warmup_steps:
            return 1.0
        return self._epsilon(self._agent_steps)

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return epsilon-greedy actions (N,); the network runs on every observation (N, ...)."""
        inputs, begins = self._stacks.advance(obs, first)
        h, c = (part.masked_fill(begins[:, None], 0.0) for part in self._memory.state)  # (1, N, H)
        self._acted_on = (obs, first, (h, c))
        q = self._memory.step(self.network.eval(), inputs, begins)  # (N, A)
        greedy = q.argmax(1).cpu().numpy()
        return explore(greedy, self.epsilon, self._num_actions, self._generator)

    def observe(self, step: Step) -> None:
        """Store the row of the observations acted on, with the state before it."""
        assert self._acted_on is not None, "observe comes after act"
        obs, first, state = self._acted_on
        settings = self._settings
        reward, discount, valid = transition_of(
            step, settings.gamma, clip_rewards=settings.clip_rewards
        )
        newest_frame = obs[:, -1] if self.replay.stack > 1 else obs
        self.replay.add(newest_frame, step.action, reward, discount, first, valid, state)
        self._agent_steps += int(valid.sum())

    def update(self) -> dict[str, Tensor] | None:
        """Do every update due since the warm-up; return the metrics of the newest."""
        due, metrics = self._settings.updates(self._agent_steps), None
        while self.learner.updates < due and len(self.replay) > 0:
            metrics = self._learn()
        self._target.follow(self._agent_steps)
        return metrics

    def _learn(self) -> dict[str, Tensor]:
        batch = self.replay.sample(self._settings.batch_size).to(self.learner.device)
        burn_in = self.replay.burn_in_steps

        def loss(online: nn.Module, batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
            found = sequence_losses(
                cast(RecurrentQNetwork, loss_view(online)),
                cast(RecurrentQNetwork, loss_view(self._target.network)),
                batch,
                burn_in,
                self._loss,
                double=self._settings.double,
            )
            mean = partial(losses.masked_mean, valid=batch.learnt)  # (L, B) -> ()
            return mean(found.loss), found.report(mean)

        learnt = batch.obs[burn_in : burn_in + len(batch.learnt)][batch.learnt]  # -> (rows, ...)
        metrics = self.learner.step(loss, batch, learnt)
        return {**metrics, "train/grad_norm": self.learner.optimizer.grad_norm}

    def policy(self, epsilon: float, generator: np.random.Generator) -> GreedyPolicy:
        """Return the current policy with an empty state; later updates do not change it."""
        network, device = self.learner.frozen_network(), self.learner.device
        return GreedyPolicy(network, LSTMMemory, epsilon, self._num_actions, generator, device)

    def scalars(self) -> dict[str, Tensor | float]:
        """Return further values to log at intervals, by tag."""
        return {"rollout/exploration_rate": self.epsilon, **self.learner.scalars()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that moves except the rows of the replay."""
        return {
            **self.learner.state_dict(),
            **self._target.state_dict(),
            "replay": self.replay.state_dict(),
            "memory": self._memory.state_dict(),
            "generator": self._generator.bit_generator.state,
            "agent_steps": self._agent_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore everything except the rows of the replay, which a checkpoint reads apart."""
        self.learner.load_state_dict(state)
        self._target.load_state_dict(state)
        self.replay.load_state_dict(state["replay"])
        self._memory.load_state_dict(state["memory"])
        self._generator.bit_generator.state = state["generator"]
        self._agent_steps = state["agent_steps"]
        self._stacks.forget()


def build(parts: AgentParts) -> RecurrentDQN:
    """Build a recurrent DQN agent."""
    settings: DQNConfig = parts.settings
    observation = parts.observation
    replay = SequenceReplay(
        settings.buffer_size,
        parts.num_envs,
        observation.frame_shape,
        observation.dtype,
        observation.stack,
        settings.n_step,
        parts.generator("replay"),
        SequenceShape(
            settings.burn_in_steps,
            settings.sequence_steps,
            settings.state_period_steps,
            settings.lstm_units,
        ),
    )
    return RecurrentDQN(
        parts.learner,
        replay,
        settings,
        num_actions=parts.num_actions,
        epsilon=epsilon_schedule(settings, parts.schedule_steps),
        generator=parts.generator("exploration"),
    )
