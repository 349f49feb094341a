"""Advantage actor-critic (Mnih et al. 2016), synchronous, to be read from top to bottom.

A short rollout of every environment, advantages, one step of the optimizer on all of it.

Dimension key: T steps, N environments, B = T N rows, A actions.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.a2c_config import A2CConfig
from wnrl.agents.observer import Unobserved, UpdateObserver
from wnrl.agents.on_policy import Collector, explained_variance, with_advantages
from wnrl.agents.recurrence import NoMemory
from wnrl.agents.sampling import SampledPolicy, sample
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.optim.step import StepOptimizer, set_learning_rate
from wnrl.rl import losses
from wnrl.rl.rollout import Rollout, RolloutBatch

KEPT = ("value",)  # of each row, as it was when it was acted on


class Loss(NamedTuple):
    """The loss of a rollout and what it is made of, each ()."""

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
    """The policy's gradient, the value's squared error and the entropy.

    Args:
        output: logits (B, A) and values (B,).
        rows: B of them, with advantage and return kept.
        value_coef: of the squared error.
        entropy_coef: of the entropy.
        normalize_advantage: to zero mean and unit variance over the rows.

    Source: Mnih et al. 2016, section 4 and supplement, algorithm S3.
    """
    advantage = rows.kept["advantage"]
    if normalize_advantage:
        advantage = losses.normalized(advantage, rows.valid)
    log_prob = losses.log_probabilities(output.logits, rows.action)
    policy = losses.masked_mean(losses.policy_gradient(log_prob, advantage), rows.valid)
    value = losses.masked_mean((rows.kept["return"] - output.value).square(), rows.valid)
    entropy = losses.masked_mean(losses.entropy(output.logits), rows.valid)
    return Loss(policy + value_coef * value - entropy_coef * entropy, policy, value, entropy)


class A2C:
    """An actor-critic network that learns once from each of its rollouts."""

    update_overlaps = False  # the next action is the new policy's
    rows = None  # there is no replay

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        rollout: Rollout,
        config: A2CConfig,
        *,
        learning_rate: Callable[[int], float],
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
            learning_rate: agent steps so far -> of the next update.
            after_step: what is done to the network after a step.
            generator: of actions.
            device: where the network is.
        """
        self.network = network
        self.optimizer = optimizer
        self.observer: UpdateObserver = Unobserved()
        self._config = config
        memory = NoMemory(network, config.num_envs)
        self._collector = Collector(
            rollout, memory, device, config.gamma, clip_rewards=config.clip_rewards
        )
        self._learning_rate = learning_rate
        self._after_step = after_step
        self._generator = generator
        self._device = device
        self._updates = 0

    def scalars(self) -> dict[str, Tensor | float]:
        """What else is worth logging now and then."""
        return {
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/n_updates": self._updates,
        }

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Actions (N,) drawn from the policy for observations (N, ...)."""
        output = self.network.eval()(self._collector.inputs(obs, first)[0])
        action = sample(output.logits, self._generator)
        self._collector.acted(obs, first, value=output.value)
        actions: Actions = action.cpu().numpy()
        return actions

    def observe(self, step: Step) -> None:
        """Store the row of the observation acted on."""
        self._collector.observed(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the rollout if it is full."""
        if not self._collector.full:
            return None
        set_learning_rate(self.optimizer, self._learning_rate(self._collector.agent_steps))
        with torch.no_grad():
            last = self.network.eval()(self._collector.following()[0]).value
        rollout = with_advantages(self._collector.batch(), last, self._config.gae_lambda)
        loss = self._learn(rollout.flat())
        self._collector.restart()
        return {
            "train/loss": loss.total,
            "train/policy_loss": loss.policy,
            "train/value_loss": loss.value,
            "train/entropy_loss": -loss.entropy,
            "train/explained_variance": explained_variance(rollout),
            "train/grad_norm": self.optimizer.grad_norm,
        }

    def _learn(self, rows: RolloutBatch) -> Loss:
        self.optimizer.zero_grad()
        with shared_weights(self.network.train()):
            loss = a2c_loss(
                self.network(rows.obs),
                rows,
                value_coef=self._config.value_coef,
                entropy_coef=self._config.entropy_coef,
                normalize_advantage=self._config.normalize_advantage,
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
        return SampledPolicy(network, NoMemory, epsilon, generator, self._device)

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
