"""Parallelised Q-network (Gallici et al. 2025).

Q-learning from the rollouts of many environments, without replay and target network. Targets are
lambda-returns of the values at the time of acting. The normalization keeps it stable.

Dimension key: T steps, N environments, B rows of a minibatch, A actions.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.learner import Learner, Update
from wnrl.agents.on_policy import (
    Collector,
    RolloutPass,
    falling,
    new_rollout,
    shuffled_rows,
    value_after,
)
from wnrl.agents.policies import GreedyPolicy, explore
from wnrl.agents.record import AgentParts
from wnrl.agents.recurrence import NoMemory
from wnrl.agents.settings.pqn import PQNConfig
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.q_network import loss_view
from wnrl.optim.step import set_learning_rate
from wnrl.rl import losses, returns
from wnrl.rl.rollout import Rollout, RolloutBatch
from wnrl.rl.schedules import linear
from wnrl.rl.value_losses import value_loss

EXTRAS = ("value",)  # max_a q of each row at the time of acting


class PQN:
    """A Q network that learns from each of its rollouts for a few epochs."""

    update_overlaps = False  # targets use values at the time of acting
    rows = None  # there is no replay

    def __init__(
        self,
        learner: Learner,
        rollout: Rollout,
        settings: PQNConfig,
        *,
        num_actions: int,
        learning_rate: Callable[[int], float],
        epsilon: Callable[[int], float],
        generator: np.random.Generator,
    ) -> None:
        """Take built things.

        Args:
            learner: its network maps obs (B, ...) to action values (B, A).
            rollout: stores `EXTRAS`.
            settings: hyperparameters.
            num_actions: A.
            learning_rate: agent steps so far -> learning rate of the next rollout's updates.
            epsilon: agent steps so far -> probability of a random action.
            generator: random stream of exploration and minibatches.
        """
        self.learner = learner
        self.network = learner.network
        self._settings = settings
        self._value_loss = value_loss(settings, learner.device)
        memory = NoMemory(learner.network, settings.num_envs)
        self._collector = Collector(
            rollout, memory, learner.device, settings.gamma, clip_rewards=settings.clip_rewards
        )
        self._num_actions = num_actions
        self._learning_rate = learning_rate
        self._epsilon = epsilon
        self._generator = generator

    @property
    def epsilon(self) -> float:
        """Probability of a random action now."""
        return self._epsilon(self._collector.agent_steps)

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return epsilon-greedy actions (N,) for observations (N, ...)."""
        inputs, _ = self._collector.inputs(obs, first)
        q = self.learner.outputs(inputs)  # (N, A)
        value, greedy = q.max(dim=1)
        self._collector.acted(inputs, first, value=value)
        return explore(greedy.cpu().numpy(), self.epsilon, self._num_actions, self._generator)

    def observe(self, step: Step) -> None:
        """Store the row of the observations acted on."""
        self._collector.observed(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the rollout if it is full; return means over its minibatches."""
        if not self._collector.full:
            return None
        settings, optimizer = self._settings, self.learner.optimizer
        rollout = self._with_returns(self._collector.batch())
        set_learning_rate(optimizer, self._learning_rate(self._collector.agent_steps))
        reports: list[dict[str, Tensor]] = []
        for _ in range(settings.epochs):
            one_pass = shuffled_rows(rollout, None, settings.minibatches, self._generator)
            reports += self._learn(one_pass)
        self._collector.restart()
        means = {name: torch.stack([x[name] for x in reports]).mean() for name in reports[0]}
        return {**means, "train/grad_norm": optimizer.grad_norm}

    @torch.no_grad()
    def _with_returns(self, rollout: RolloutBatch) -> RolloutBatch:
        """Add the lambda-return of each row (Gallici et al. 2025, section 4)."""
        last = self.learner.outputs(self._collector.following()[0]).amax(dim=1)  # -> (N,)
        target = returns.lambda_returns(
            rollout.reward,
            rollout.discount,
            value_after(rollout.extras["value"], last),
            rollout.valid,
            self._settings.q_lambda,
        )
        return rollout._replace(extras={"return": target})

    def _learn(self, one_pass: RolloutPass) -> list[dict[str, Tensor]]:
        return self.learner.steps(self._loss, _updates_of, one_pass, one_pass.sizes())

    def _loss(self, network: nn.Module, rows: RolloutBatch) -> tuple[Tensor, dict[str, Tensor]]:
        q = loss_view(network)(rows.obs)  # (B, A, ...)
        found = self._value_loss.towards(q, rows.action, rows.extras["return"])
        mean = partial(losses.masked_mean, valid=rows.valid)
        return mean(found.loss), found.report(mean)

    def policy(self, epsilon: float, generator: np.random.Generator) -> GreedyPolicy:
        """Return the current policy; later updates do not change it."""
        network, device = self.learner.frozen_network(), self.learner.device
        return GreedyPolicy(network, NoMemory, epsilon, self._num_actions, generator, device)

    def scalars(self) -> dict[str, Tensor | float]:
        """Return further values to log at intervals, by tag."""
        return {"rollout/exploration_rate": self.epsilon, **self.learner.scalars()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that moves."""
        return {
            **self.learner.state_dict(),
            "collector": self._collector.state_dict(),
            "generator": self._generator.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue bit for bit where the state was taken."""
        self.learner.load_state_dict(state)
        self._collector.load_state_dict(state["collector"])
        self._generator.bit_generator.state = state["generator"]


def _updates_of(one_pass: RolloutPass) -> Iterator[Update[RolloutBatch]]:
    """Yield the rows of each minibatch."""
    for rows, _ in one_pass.minibatches():
        yield Update(rows, rows.obs)


def build(parts: AgentParts) -> PQN:
    """Build a PQN agent."""
    settings: PQNConfig = parts.settings
    rate = falling(settings.learning_rate, settings.learning_rate_decay, parts.schedule_steps)
    epsilon_steps = settings.epsilon_steps or parts.schedule_steps // 10
    return PQN(
        parts.learner,
        new_rollout(
            settings.rollout_steps, parts.num_envs, parts.observation, EXTRAS, parts.learner.device
        ),
        settings,
        num_actions=parts.num_actions,
        learning_rate=rate,
        epsilon=lambda step: linear(
            step, settings.epsilon_start, settings.epsilon_end, epsilon_steps
        ),
        generator=parts.generator("exploration"),
    )
