"""Advantage actor-critic (Mnih et al. 2016), synchronous.

A short rollout of every environment, advantages, and one optimizer step on all of it.

Dimension key: T steps, N environments, B = T N rows, A actions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.learner import Learner, Update
from wnrl.agents.on_policy import (
    Collector,
    explained_variance,
    falling,
    new_rollout,
    with_advantages,
)
from wnrl.agents.policies import SampledPolicy, sample
from wnrl.agents.record import AgentParts
from wnrl.agents.recurrence import NoMemory
from wnrl.agents.settings.a2c import A2CConfig
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.heads import PolicyValue
from wnrl.optim.step import set_learning_rate
from wnrl.rl import losses
from wnrl.rl.rollout import Rollout, RolloutBatch

EXTRAS = ("value",)  # stored with each row at the time of acting


class Loss(NamedTuple):
    """The loss of a rollout and its parts, each ()."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor


def a2c_loss(
    output: PolicyValue,
    rows: RolloutBatch,
    *,
    value_coef: float,
    entropy_coef: float,
    normalize_advantage: bool,
) -> Loss:
    """Return the policy gradient loss, the value's squared error and the entropy.

    Args:
        output: logits (B, A) and values (B,).
        rows: (B, ...) with advantage and return.
        value_coef: weight of the squared error.
        entropy_coef: weight of the entropy.
        normalize_advantage: whether advantages are scaled to zero mean and unit variance.

    Source: Mnih et al. 2016, section 4 and supplement, algorithm S3.
    """
    advantage = rows.extras["advantage"]
    if normalize_advantage:
        advantage = losses.normalized(advantage, rows.valid)
    log_prob = losses.log_probabilities(output.logits, rows.action)
    policy = losses.masked_mean(losses.policy_gradient(log_prob, advantage), rows.valid)
    value = losses.masked_mean((rows.extras["return"] - output.value).square(), rows.valid)
    entropy = losses.masked_mean(losses.entropy(output.logits), rows.valid)
    return Loss(policy + value_coef * value - entropy_coef * entropy, policy, value, entropy)


class A2C:
    """An actor-critic network that learns once from each of its rollouts."""

    update_overlaps = False  # the next action comes from the new policy
    rows = None  # there is no replay

    def __init__(
        self,
        learner: Learner,
        rollout: Rollout,
        settings: A2CConfig,
        *,
        learning_rate: Callable[[int], float],
        generator: np.random.Generator,
    ) -> None:
        """Take built things.

        Args:
            learner: its network maps obs (B, ...) to `PolicyValue`.
            rollout: stores `EXTRAS`.
            settings: hyperparameters.
            learning_rate: agent steps so far -> learning rate of the next update.
            generator: random stream of the actions.
        """
        self.learner = learner
        self.network = learner.network
        self._settings = settings
        memory = NoMemory(learner.network, settings.num_envs)
        self._collector = Collector(
            rollout, memory, learner.device, settings.gamma, clip_rewards=settings.clip_rewards
        )
        self._learning_rate = learning_rate
        self._generator = generator

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return actions (N,) drawn from the policy for observations (N, ...)."""
        inputs, _ = self._collector.inputs(obs, first)
        output = self.learner.outputs(inputs)
        action = sample(output.logits, self._generator)
        self._collector.acted(inputs, first, value=output.value)
        actions: Actions = action.cpu().numpy()
        return actions

    def observe(self, step: Step) -> None:
        """Store the row of the observations acted on."""
        self._collector.observed(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the rollout if it is full."""
        if not self._collector.full:
            return None
        optimizer = self.learner.optimizer
        set_learning_rate(optimizer, self._learning_rate(self._collector.agent_steps))
        last = self.learner.outputs(self._collector.following()[0]).value
        rollout = with_advantages(self._collector.batch(), last, self._settings.gae_lambda)
        loss = self._learn(rollout.flat())
        self._collector.restart()
        return {
            "train/loss": loss.total,
            "train/policy_loss": loss.policy,
            "train/value_loss": loss.value,
            "train/entropy_loss": -loss.entropy,
            "train/explained_variance": explained_variance(rollout),
            "train/grad_norm": optimizer.grad_norm,
        }

    def _learn(self, rows: RolloutBatch) -> Loss:
        (loss,) = self.learner.steps(self._loss, _updates_of, rows, [len(rows.obs)])
        return loss

    def _loss(self, network: nn.Module, rows: RolloutBatch) -> tuple[Tensor, Loss]:
        parts = a2c_loss(
            network(rows.obs),
            rows,
            value_coef=self._settings.value_coef,
            entropy_coef=self._settings.entropy_coef,
            normalize_advantage=self._settings.normalize_advantage,
        )
        return parts.total, Loss(*(part.detach() for part in parts))

    def policy(self, epsilon: float, generator: np.random.Generator) -> SampledPolicy:
        """Return the current policy; later updates do not change it."""
        network, device = self.learner.frozen_network(), self.learner.device
        return SampledPolicy(network, NoMemory, epsilon, generator, device)

    def scalars(self) -> dict[str, Tensor | float]:
        """Return further values to log at intervals, by tag."""
        return self.learner.scalars()

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


def _updates_of(rows: RolloutBatch) -> Iterator[Update[RolloutBatch]]:
    """Yield one update from all rows."""
    yield Update(rows, rows.obs)


def build(parts: AgentParts) -> A2C:
    """Build an A2C agent."""
    settings: A2CConfig = parts.settings
    rate = falling(settings.learning_rate, settings.learning_rate_decay, parts.schedule_steps)
    return A2C(
        parts.learner,
        new_rollout(
            settings.rollout_steps, parts.num_envs, parts.observation, EXTRAS, parts.learner.device
        ),
        settings,
        learning_rate=rate,
        generator=parts.generator("exploration"),
    )
