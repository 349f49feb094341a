"""Proximal policy optimization (Schulman et al. 2017), to be read from top to bottom.

A rollout of every environment, advantages (Schulman et al. 2016), and a few epochs of minibatches
on the clipped surrogate. A recurrent network brings another `remember` and other `minibatches`.

Dimension key: T steps, N environments, B rows of a minibatch, A actions.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.minibatches import Minibatch, Minibatches
from wnrl.agents.observer import Unobserved, UpdateObserver
from wnrl.agents.on_policy import Collector, explained_variance, with_advantages
from wnrl.agents.ppo_config import PPOConfig
from wnrl.agents.recurrence import Remember
from wnrl.agents.sampling import SampledPolicy, sample
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.optim.step import StepOptimizer, set_learning_rate
from wnrl.rl import losses
from wnrl.rl.rollout import Rollout, RolloutBatch

KEPT = ("value", "log_prob")  # of each row, as it was when it was acted on


class Loss(NamedTuple):
    """The loss of a minibatch and what it is made of, each ()."""

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
    clip: float,
    value_coef: float,
    entropy_coef: float,
    normalize_advantage: bool,
) -> Loss:
    """The clipped surrogate, the value's squared error and the entropy (eq. 9, as a loss).

    Args:
        output: logits (B, A) and values (B,).
        rows: B of them, with log_prob, advantage and return kept.
        clip: epsilon of the clipped surrogate.
        value_coef: c_1 of eq. 9.
        entropy_coef: c_2.
        normalize_advantage: to zero mean and unit variance over the minibatch.
    """
    advantage = rows.kept["advantage"]
    if normalize_advantage:
        advantage = losses.normalized(advantage, rows.valid)
    log_prob, old = losses.log_probabilities(output.logits, rows.action), rows.kept["log_prob"]
    surrogate = losses.clipped_surrogate(log_prob, old, advantage, clip)  # (B,)
    policy = losses.masked_mean(surrogate, rows.valid)
    value = losses.masked_mean((rows.kept["return"] - output.value).square(), rows.valid)
    entropy = losses.masked_mean(losses.entropy(output.logits), rows.valid)
    total = policy + value_coef * value - entropy_coef * entropy  # eq. 9
    with torch.no_grad():
        log_ratio = log_prob - old
        gap = (log_ratio.exp() - 1).abs()
        # The unbiased estimate of small variance, http://joschu.net/blog/kl-approx.html
        kl = losses.masked_mean(log_ratio.exp() - 1 - log_ratio, rows.valid)
        clipped = losses.masked_mean((gap > clip).float(), rows.valid)
        gap = losses.masked_mean(gap, rows.valid)
    return Loss(total, policy, value, entropy, kl, clipped, gap)


class PPO:
    """An actor-critic network that learns from each of its rollouts for a few epochs."""

    update_overlaps = False  # the next action is the new policy's
    rows = None  # there is no replay

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        rollout: Rollout,
        config: PPOConfig,
        *,
        remember: Remember,
        minibatches: Minibatches,
        learning_rate: Callable[[int], float],
        clip: Callable[[int], float],
        after_step: Callable[[nn.Module], None],
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Take built things.

        Args:
            network: obs (B, ...) -> `PolicyValue`, on `device`.
            optimizer: steps the network's parameters and clips their gradients.
            rollout: keeps `KEPT`.
            config: the numbers of the algorithm.
            remember: makes what acting remembers.
            minibatches: of a rollout.
            learning_rate: agent steps so far -> of the next rollout's updates.
            clip: agent steps so far -> of the next rollout's updates.
            after_step: what is done to the network after a step.
            generator: of actions and minibatches.
            device: where the network is.
        """
        self.network = network
        self.optimizer = optimizer
        self.observer: UpdateObserver = Unobserved()
        self._config = config
        self._remember = remember
        self._memory = remember(network, config.num_envs)
        self._collector = Collector(
            rollout, self._memory, device, config.gamma, clip_rewards=config.clip_rewards
        )
        self._minibatches = minibatches
        self._learning_rate = learning_rate
        self._clip = clip
        self._after_step = after_step
        self._generator = generator
        self._device = device
        self._updates = 0

    def scalars(self) -> dict[str, Tensor | float]:
        """What else is worth logging now and then."""
        return {
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/clip_range": self._clip(self._collector.agent_steps),
            "train/n_updates": self._updates,
        }

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) drawn from the policy for observations (N, ...)."""
        output = self._memory.step(self.network.eval(), *self._collector.inputs(obs, first))
        action = sample(output.logits, self._generator)
        log_prob = losses.log_probabilities(output.logits, action)
        self._collector.acted(obs, first, value=output.value, log_prob=log_prob)
        actions: Actions = action.cpu().numpy()
        return actions

    def observe(self, step: Step) -> None:
        """Store the row of the observation acted on."""
        self._collector.observed(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the rollout if it is full; metrics are means over its minibatches."""
        if not self._collector.full:
            return None
        with torch.no_grad():
            last = self._memory.peek(self.network.eval(), *self._collector.following()).value
        rollout = with_advantages(self._collector.batch(), last, self._config.gae_lambda)
        began, steps = self._collector.began, self._collector.agent_steps
        set_learning_rate(self.optimizer, self._learning_rate(steps))
        seen: list[Loss] = []
        for _ in range(self._config.epochs):
            for minibatch in self._minibatches(
                rollout, began, self._config.minibatches, self._generator
            ):
                seen.append(self._learn(minibatch, self._clip(steps)))
        self._collector.restart()
        mean = Loss(*(torch.stack(part).mean() for part in zip(*seen, strict=True)))
        return {
            "train/loss": mean.total,
            "train/policy_gradient_loss": mean.policy,
            "train/value_loss": mean.value,
            "train/entropy_loss": -mean.entropy,
            "train/approx_kl": mean.approx_kl,
            "train/clip_fraction": mean.clip_fraction,
            # 0 unless the network learns otherwise than it acts: batch statistics, dropout.
            "train/first_ratio_gap": seen[0].ratio_gap,
            "train/explained_variance": explained_variance(rollout),
            "train/grad_norm": self.optimizer.grad_norm,
        }

    def _learn(self, minibatch: Minibatch, clip: float) -> Loss:
        config, rows = self._config, minibatch.rows
        self.optimizer.zero_grad()
        with shared_weights(self.network.train()):
            loss = ppo_loss(
                minibatch.output(self.network),
                rows,
                clip=clip,
                value_coef=config.value_coef,
                entropy_coef=config.entropy_coef,
                normalize_advantage=config.normalize_advantage,
            )
            loss.total.backward()
        self.observer.before_step(rows.obs, rows.obs)
        self.optimizer.step()
        self._after_step(self.network)
        self.observer.after_step()
        self._updates += 1
        return Loss(*(part.detach() for part in loss))

    def policy(self, epsilon: float, generator: np.random.Generator) -> SampledPolicy:
        """The current policy, frozen, drawn from; random with probability epsilon besides."""
        network = copy.deepcopy(self.network).requires_grad_(False)
        return SampledPolicy(network, self._remember, epsilon, generator, self._device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that moves."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "collector": self._collector.state_dict(),
            "generator": self._generator.bit_generator.state,
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue bit for bit where the state was taken."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._collector.load_state_dict(state["collector"])
        self._generator.bit_generator.state = state["generator"]
        self._updates = state["updates"]
