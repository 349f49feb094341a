"""Deep Q-learning with a recurrent network (DRQN; R2D2 without its distribution and priorities).

What differs from `wnrl.agents.dqn`: acting remembers, the replay gives sequences with the state
that acting had before them, and the networks see a sequence from there: first a burn-in without
gradients, which brings the old state up to date with the new weights, then the rows learnt from.

An update learns from `batch_size` sequences of `sequence_steps` rows and is due every
`update_period_steps * sequence_steps` agent steps: as many transitions an agent step as in DQN.

Sources: Hausknecht & Stone 2015, arXiv 1507.06527; Kapturowski et al. 2019 (R2D2, ICLR 2019).

Dimension key: B batch, N environments, A actions, L learnt rows of a sequence, n steps of a return,
T = burn-in + L + n rows of a sequence.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wnrl.agents.dqn import DQNConfig
from wnrl.agents.observer import Unobserved, UpdateObserver
from wnrl.agents.policies import GreedyPolicy, mixed
from wnrl.agents.recurrence import LSTMMemory
from wnrl.agents.transition import outcome_of
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.recurrent import RecurrentQNetwork
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.nn.weight_norm.lstm import State
from wnrl.optim.step import StepOptimizer
from wnrl.rl import losses
from wnrl.rl.row_store import RowStore
from wnrl.rl.sequence_replay import SequenceReplay, Sequences


def sequence_td_errors(
    online: RecurrentQNetwork,
    target: RecurrentQNetwork,
    batch: Sequences,
    burn_in_steps: int,
    *,
    double: bool,
) -> Tensor:
    """TD errors (L, B) of n-step Q-learning on the rows after the burn-in.

    As for single transitions, the online network learns in training mode and everything else is as
    in acting. Both networks begin at the stored state and go through the burn-in by themselves.

    Args:
        online: learns; with `double`, it chooses the action at the bootstrap.
        target: values the bootstrap.
        batch: from a `SequenceReplay`.
        burn_in_steps: its own.
        double: double Q-learning (van Hasselt et al. 2016).
    """
    obs, first = batch.obs[burn_in_steps:], batch.first[burn_in_steps:]  # (L + n, B, ...)
    learnt_rows = len(batch.learnt)
    with torch.no_grad():
        state = burnt_in(online.eval(), batch, burn_in_steps)
        target_state = burnt_in(target.eval(), batch, burn_in_steps)
        q_t = _at(batch.bootstrap, target.unroll(obs, first, target_state)[0])
        if double:
            q_t_selector = _at(batch.bootstrap, online.unroll(obs, first, state)[0])
    q_tm1, _ = online.train().unroll(obs[:learnt_rows], first[:learnt_rows], state)  # (L, B, A)
    q_tm1, action = q_tm1.flatten(0, 1), batch.action.flatten()  # -> (L * B, A), (L * B,)
    reward, discount = batch.reward.flatten(), batch.discount.flatten()
    if double:
        td = losses.double_q_learning_td(q_tm1, action, reward, discount, q_t, q_t_selector)
    else:
        td = losses.q_learning_td(q_tm1, action, reward, discount, q_t)
    return td.view(batch.learnt.shape)


def burnt_in(network: RecurrentQNetwork, batch: Sequences, steps: int) -> State:
    """The state after the first `steps` rows (R2D2, section 3)."""
    if steps == 0:
        return batch.state
    return network.unroll(batch.obs[:steps], batch.first[:steps], batch.state)[1]


def _at(rows: Tensor, q: Tensor) -> Tensor:
    """The values (L * B, A) in q (L + n, B, A) of the rows (L, B)."""
    return q.gather(0, rows[..., None].expand(-1, -1, q.shape[-1])).flatten(0, 1)


class RecurrentDQN:
    """Q-learning from a replay of sequences, with a target network."""

    update_overlaps = True  # a replay does not mind that the newest actions are still on their way

    def __init__(
        self,
        network: RecurrentQNetwork,
        optimizer: StepOptimizer,
        replay: SequenceReplay,
        config: DQNConfig,
        *,
        num_actions: int,
        loss: Callable[[Tensor], Tensor],
        epsilon: Callable[[int], float],
        after_step: Callable[[torch.nn.Module], None],
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Take built things.

        Args:
            network: of action values, on `device`.
            optimizer: steps the network's parameters and clips their gradients.
            replay: one row per environment and step; it owns its generator.
            config: the numbers of the algorithm.
            num_actions: A.
            loss: TD errors of any shape -> losses of that shape.
            epsilon: agent steps so far -> probability of a random action.
            after_step: what is done to the network after a step.
            generator: of the exploration alone.
            device: where the network is.
        """
        self.network = network
        self._target = copy.deepcopy(network).requires_grad_(False).eval()
        self.optimizer = optimizer
        self.replay = replay
        self._config = config
        self._num_actions = num_actions
        self._loss = loss
        self._epsilon = epsilon
        self._after_step = after_step
        self._generator = generator
        self._device = device
        self._memory = LSTMMemory(network, replay.num_envs)
        self._agent_steps = 0
        self._updates = 0
        self._target_copies = 0
        self._acted_on: tuple[Observations, Flags, State] | None = None
        self.observer: UpdateObserver = Unobserved()

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
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/n_updates": self._updates,
        }

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Epsilon-greedy actions (N,) for observations (N, ...); the network sees every one."""
        seen, begins = (torch.from_numpy(x).to(self._device) for x in (obs, first))
        h, c = (part.masked_fill(begins[:, None], 0.0) for part in self._memory.state)  # (1, N, H)
        self._acted_on = (obs, first, (h, c))
        q = self._memory.step(self.network.eval(), seen, begins)  # (N, A)
        return mixed(q.argmax(1).cpu().numpy(), self.epsilon, self._num_actions, self._generator)

    def observe(self, step: Step) -> None:
        """Store the row of the observation acted on, with the state before it."""
        assert self._acted_on is not None, "observe comes after act"
        obs, first, state = self._acted_on
        outcome = outcome_of(step, self._config.gamma, clip_rewards=self._config.clip_rewards)
        newest_frame = obs[:, -1] if self.replay.stack > 1 else obs
        self.replay.add(newest_frame, step.action, *outcome[:2], first, outcome.valid, state)
        self._agent_steps += int(outcome.valid.sum())

    def update(self) -> dict[str, Tensor] | None:
        """Every update that is due since the warm-up; metrics are the newest one's."""
        config = self._config
        metrics = None
        while self._updates < config.updates(self._agent_steps) and len(self.replay) > 0:
            metrics = self._learn()
            self._updates += 1
        if self._agent_steps // config.target_period_steps > self._target_copies:
            self._target_copies = self._agent_steps // config.target_period_steps
            self._target.load_state_dict(self.network.state_dict())
        return metrics

    def _learn(self) -> dict[str, Tensor]:
        batch = self.replay.sample(self._config.batch_size).to(self._device)
        burn_in = self.replay.burn_in_steps
        self.optimizer.zero_grad()
        with shared_weights(self.network):
            td = sequence_td_errors(
                self.network, self._target, batch, burn_in, double=self._config.double
            )
            loss = losses.masked_mean(self._loss(td), batch.learnt)  # (L, B) -> ()
            loss.backward()
        learnt = batch.obs[burn_in : burn_in + len(td)][batch.learnt]  # -> (learnt rows, ...)
        self.observer.before_step(learnt, learnt)
        self.optimizer.step()
        self._after_step(self.network)
        self.observer.after_step()
        return {
            "train/loss": loss.detach(),
            "train/td_error_abs": losses.masked_mean(td.detach().abs(), batch.learnt),
            "train/grad_norm": self.optimizer.grad_norm,
        }

    def policy(self, epsilon: float, generator: np.random.Generator) -> GreedyPolicy:
        """The current policy, frozen, which remembers nothing yet."""
        network = copy.deepcopy(self.network).requires_grad_(False)
        return GreedyPolicy(
            network, LSTMMemory, epsilon, self._num_actions, generator, self._device
        )

    def state_dict(self) -> dict[str, Any]:
        """All but the replay's rows."""
        return {
            "network": self.network.state_dict(),
            "target": self._target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "replay": self.replay.state_dict(),
            "memory": self._memory.state_dict(),
            "generator": self._generator.bit_generator.state,
            "agent_steps": self._agent_steps,
            "updates": self._updates,
            "target_copies": self._target_copies,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; the replay's rows are read by whoever stored them."""
        self.network.load_state_dict(state["network"])
        self._target.load_state_dict(state["target"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.replay.load_state_dict(state["replay"])
        self._memory.load_state_dict(state["memory"])
        self._generator.bit_generator.state = state["generator"]
        self._agent_steps = state["agent_steps"]
        self._updates = state["updates"]
        self._target_copies = state["target_copies"]
