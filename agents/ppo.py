"""Proximal policy optimization (Schulman et al. 2017).

A rollout of every environment, advantages (Schulman et al. 2016), and a few epochs of minibatches
on the clipped surrogate. With a recurrent network, acting has a memory and minibatches are whole
sequences.

Dimension key: T steps, N environments, B rows of a minibatch, A actions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.learner import Learner, Update
from wnrl.agents.on_policy import (
    Collector,
    MakePass,
    Minibatch,
    RolloutPass,
    explained_variance,
    falling,
    new_rollout,
    shuffled_rows,
    shuffled_sequences,
    with_advantages,
)
from wnrl.agents.policies import SampledPolicy, sample
from wnrl.agents.record import AgentParts
from wnrl.agents.recurrence import LSTMMemory, MakeMemory, NoMemory
from wnrl.agents.settings.ppo import PPOConfig
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.heads import PolicyValue
from wnrl.optim.step import set_learning_rate
from wnrl.rl import losses
from wnrl.rl.rollout import Rollout, RolloutBatch

EXTRAS = ("value", "log_prob")  # stored with each row at the time of acting


class Loss(NamedTuple):
    """The loss of a minibatch and its parts, each ()."""

    total: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor
    ratio_gap: Tensor  # mean |ratio - 1|


def ppo_loss(
    output: PolicyValue,
    rows: RolloutBatch,
    *,
    clip: Any,
    value_coef: float,
    entropy_coef: float,
    normalize_advantage: bool,
) -> Loss:
    """Return the clipped surrogate, the value's squared error and the entropy.

    Args:
        output: logits (B, A) and values (B,).
        rows: (B, ...) with log_prob, advantage and return.
        clip: epsilon of the clipped surrogate, a float or a tensor ().
        value_coef: c_1 of equation 9.
        entropy_coef: c_2 of equation 9.
        normalize_advantage: whether advantages are scaled to zero mean and unit variance.

    Source: Schulman et al. 2017, equation 9, as a loss.
    """
    advantage = rows.extras["advantage"]
    if normalize_advantage:
        advantage = losses.normalized(advantage, rows.valid)
    log_prob, old = losses.log_probabilities(output.logits, rows.action), rows.extras["log_prob"]
    surrogate = losses.clipped_surrogate(log_prob, old, advantage, clip)  # (B,)
    policy = losses.masked_mean(surrogate, rows.valid)
    value = losses.masked_mean((rows.extras["return"] - output.value).square(), rows.valid)
    entropy = losses.masked_mean(losses.entropy(output.logits), rows.valid)
    total = policy + value_coef * value - entropy_coef * entropy  # equation 9
    with torch.no_grad():
        log_ratio = log_prob - old
        gap = (log_ratio.exp() - 1).abs()
        # Unbiased estimate of small variance: http://joschu.net/blog/kl-approx.html
        kl = losses.masked_mean(log_ratio.exp() - 1 - log_ratio, rows.valid)
        clipped = losses.masked_mean((gap > clip).float(), rows.valid)
        gap = losses.masked_mean(gap, rows.valid)
    return Loss(total, policy, value, entropy, kl, clipped, gap)


class PPO:
    """An actor-critic network that learns from each of its rollouts for a few epochs."""

    update_overlaps = False  # the next action comes from the new policy
    rows = None  # there is no replay

    def __init__(
        self,
        learner: Learner,
        rollout: Rollout,
        settings: PPOConfig,
        *,
        learning_rate: Callable[[int], float],
        clip: Callable[[int], float],
        generator: np.random.Generator,
    ) -> None:
        """Take built things.

        Args:
            learner: its network maps obs (B, ...) to `PolicyValue`.
            rollout: stores `EXTRAS`.
            settings: hyperparameters.
            learning_rate: agent steps so far -> learning rate of the next rollout's updates.
            clip: agent steps so far -> clip range of the next rollout's updates.
            generator: random stream of actions and minibatches.
        """
        self.learner = learner
        self.network = learner.network
        self._settings = settings
        self._make_memory: MakeMemory = LSTMMemory if settings.recurrent else NoMemory
        self._make_pass: MakePass = shuffled_sequences if settings.recurrent else shuffled_rows
        self._memory = self._make_memory(learner.network, settings.num_envs)
        self._collector = Collector(
            rollout,
            self._memory,
            learner.device,
            settings.gamma,
            clip_rewards=settings.clip_rewards,
        )
        self._learning_rate = learning_rate
        self._clip = clip
        self._generator = generator

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Return actions (N,) drawn from the policy for observations (N, ...)."""
        inputs, begins = self._collector.inputs(obs, first)
        output = self._memory.step(self._acting, inputs, begins)
        action = sample(output.logits, self._generator)
        log_prob = losses.log_probabilities(output.logits, action)
        self._collector.acted(inputs, first, value=output.value, log_prob=log_prob)
        actions: Actions = action.cpu().numpy()
        return actions

    def observe(self, step: Step) -> None:
        """Store the row of the observations acted on."""
        self._collector.observed(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the rollout if it is full; return means over its minibatches."""
        if not self._collector.full:
            return None
        settings, optimizer = self._settings, self.learner.optimizer
        with torch.no_grad():
            last = self._memory.peek(self._acting, *self._collector.following()).value
        rollout = with_advantages(self._collector.batch(), last, settings.gae_lambda)
        agent_steps = self._collector.agent_steps
        set_learning_rate(optimizer, self._learning_rate(agent_steps))
        clip = self.learner.number(self._clip(agent_steps))
        initial_state = self._collector.initial_state
        reports: list[Loss] = []
        for _ in range(settings.epochs):
            one_pass = self._make_pass(
                rollout, initial_state, settings.minibatches, self._generator
            )
            reports += self._learn(one_pass, clip)
        self._collector.restart()
        mean = Loss(*(torch.stack(part).mean() for part in zip(*reports, strict=True)))
        return {
            "train/loss": mean.total,
            "train/policy_gradient_loss": mean.policy,
            "train/value_loss": mean.value,
            "train/entropy_loss": -mean.entropy,
            "train/approx_kl": mean.approx_kl,
            "train/clip_fraction": mean.clip_fraction,
            # Above 0 only if learning and acting use different modes: batch statistics, dropout.
            "train/first_ratio_gap": reports[0].ratio_gap,
            "train/explained_variance": explained_variance(rollout),
            "train/grad_norm": optimizer.grad_norm,
        }

    @property
    def _acting(self) -> Any:
        """The network in evaluation mode, as the memory calls it."""
        return self.network.eval() if self._settings.recurrent else self.learner.outputs

    def _learn(self, one_pass: RolloutPass, clip: Any) -> list[Loss]:
        return self.learner.steps(self._loss, _updates_of, (one_pass, clip), one_pass.sizes())

    def _loss(self, network: nn.Module, inputs: tuple[Minibatch, Any]) -> tuple[Tensor, Loss]:
        minibatch, clip = inputs
        parts = ppo_loss(
            minibatch.output(network),
            minibatch.rows,
            clip=clip,
            value_coef=self._settings.value_coef,
            entropy_coef=self._settings.entropy_coef,
            normalize_advantage=self._settings.normalize_advantage,
        )
        return parts.total, Loss(*(part.detach() for part in parts))

    def policy(self, epsilon: float, generator: np.random.Generator) -> SampledPolicy:
        """Return the current policy; later updates do not change it."""
        network, device = self.learner.frozen_network(), self.learner.device
        return SampledPolicy(network, self._make_memory, epsilon, generator, device)

    def scalars(self) -> dict[str, Tensor | float]:
        """Return further values to log at intervals, by tag."""
        clip = self._clip(self._collector.agent_steps)
        return {"train/clip_range": clip, **self.learner.scalars()}

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


def _updates_of(data: tuple[RolloutPass, Any]) -> Iterator[Update[tuple[Minibatch, Any]]]:
    """Yield each minibatch with the clip range."""
    one_pass, clip = data
    for minibatch in one_pass.minibatches():
        yield Update((minibatch, clip), minibatch.rows.obs)


def build(parts: AgentParts) -> PPO:
    """Build a PPO agent."""
    settings: PPOConfig = parts.settings
    return PPO(
        parts.learner,
        new_rollout(
            settings.rollout_steps, parts.num_envs, parts.observation, EXTRAS, parts.learner.device
        ),
        settings,
        learning_rate=falling(
            settings.learning_rate, settings.learning_rate_decay, parts.schedule_steps
        ),
        clip=falling(settings.clip_range, settings.clip_range_decay, parts.schedule_steps),
        generator=parts.generator("exploration"),
    )
