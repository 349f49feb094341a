"""Parallelised Q-network (Gallici et al. 2025), to be read from top to bottom as the algorithm.

Q-learning from the rollouts of many environments: no replay and no target network. Targets are
lambda-returns of the values at the time of acting. What keeps it stable is the normalization.

Dimension key: T steps, N environments, B rows of a minibatch, A actions.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.minibatches import shuffled_rows
from wnrl.agents.observer import Unobserved, UpdateObserver
from wnrl.agents.on_policy import Collector, value_after
from wnrl.agents.policies import GreedyPolicy, mixed
from wnrl.agents.pqn_config import PQNConfig
from wnrl.agents.recurrence import NoMemory
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.optim.step import StepOptimizer, set_learning_rate
from wnrl.rl import losses, returns
from wnrl.rl.rollout import Rollout, RolloutBatch

KEPT = ("value",)  # max_a q of each row, as it was when it was acted on


class PQN:
    """A Q network that learns from each of its rollouts for a few epochs."""

    update_overlaps = False  # the targets are of values at the time of acting
    rows = None  # there is no replay

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        rollout: Rollout,
        config: PQNConfig,
        *,
        num_actions: int,
        learning_rate: Callable[[int], float],
        epsilon: Callable[[int], float],
        after_step: Callable[[nn.Module], None],
        generator: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Take built things.

        Args:
            network: obs (B, ...) -> action values (B, A), on `device`.
            optimizer: steps the network's parameters and clips their gradients.
            rollout: keeps `KEPT`.
            config: the numbers of the algorithm.
            num_actions: A.
            learning_rate: agent steps so far -> of the next rollout's updates.
            epsilon: agent steps so far -> probability of a random action.
            after_step: what is done to the network after a step.
            generator: of exploration and minibatches.
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
        self._num_actions = num_actions
        self._learning_rate = learning_rate
        self._epsilon = epsilon
        self._after_step = after_step
        self._generator = generator
        self._device = device
        self._updates = 0

    @property
    def epsilon(self) -> float:
        """The behaviour policy's probability of a random action now."""
        return self._epsilon(self._collector.agent_steps)

    def scalars(self) -> dict[str, Tensor | float]:
        """What else is worth logging now and then."""
        return {
            "rollout/exploration_rate": self.epsilon,
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/n_updates": self._updates,
        }

    @torch.no_grad()
    def act(self, obs: Observations, first: Flags) -> Actions:
        """Epsilon-greedy actions (N,) for observations (N, ...)."""
        q = self.network.eval()(self._collector.inputs(obs, first)[0])  # (N, A)
        value, greedy = q.max(dim=1)
        self._collector.acted(obs, first, value=value)
        return mixed(greedy.cpu().numpy(), self.epsilon, self._num_actions, self._generator)

    def observe(self, step: Step) -> None:
        """Store the row of the observation acted on."""
        self._collector.observed(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the rollout if it is full; metrics are means over its minibatches."""
        if not self._collector.full:
            return None
        rollout = self._with_returns(self._collector.batch())
        set_learning_rate(self.optimizer, self._learning_rate(self._collector.agent_steps))
        seen: list[tuple[Tensor, Tensor]] = []
        for _ in range(self._config.epochs):
            for rows, _see in shuffled_rows(
                rollout, None, self._config.minibatches, self._generator
            ):
                seen.append(self._learn(rows))
        self._collector.restart()
        loss, td_error = (torch.stack(part).mean() for part in zip(*seen, strict=True))
        return {
            "train/loss": loss,
            "train/td_error_abs": td_error,
            "train/grad_norm": self.optimizer.grad_norm,
        }

    @torch.no_grad()
    def _with_returns(self, rollout: RolloutBatch) -> RolloutBatch:
        """The rollout with the lambda-return of each row kept beside it."""
        last = self.network.eval()(self._collector.following()[0]).amax(dim=1)  # (N, A) -> (N,)
        target = returns.lambda_returns(
            rollout.reward,
            rollout.discount,
            value_after(rollout.kept["value"], last),
            rollout.valid,
            self._config.q_lambda,
        )
        return rollout._replace(kept={"return": target})

    def _learn(self, rows: RolloutBatch) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        with shared_weights(self.network.train()):
            q = self.network(rows.obs).gather(1, rows.action[:, None])[:, 0]  # (B, A) -> (B,)
            td = rows.kept["return"] - q
            loss = losses.masked_mean(losses.squared(td), rows.valid)
            loss.backward()
        self.observer.before_step(rows.obs, rows.obs)
        self.optimizer.step()
        self._after_step(self.network)
        self.observer.after_step()
        self._updates += 1
        return loss.detach(), losses.masked_mean(td.detach().abs(), rows.valid)

    def policy(self, epsilon: float, generator: np.random.Generator) -> GreedyPolicy:
        """The current policy, frozen: later updates do not change it."""
        network = copy.deepcopy(self.network).requires_grad_(False)
        return GreedyPolicy(network, NoMemory, epsilon, self._num_actions, generator, self._device)

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
