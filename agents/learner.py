"""One update of a network, written once for every agent."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from wnrl.envs.call_order import HEARTBEAT
from wnrl.nn.norms.record import leave_alone
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.optim.step import StepOptimizer

Report = TypeVar("Report")


class UpdateObserver(Protocol):
    """Watches every update and changes nothing."""

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Look at the gradients before the optimizer steps.

        Args:
            obs: (B, ...) observations learnt from, on the network's device; the caller may
                overwrite them later.
            learning_batch: input of the network's forward pass in this update: `obs`, or more.
        """
        ...

    def after_step(self) -> None:
        """Look at the weights after the step and the normalization's own change."""
        ...


class Unobserved:
    """Observer that does nothing."""

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Do nothing."""

    def after_step(self) -> None:
        """Do nothing."""


class Learner:
    """A network with what changes it: optimizer, normalization and a counter of updates.

    Attributes:
        network: the network that acts and learns.
        optimizer: steps its parameters and clips their gradients.
        device: device of the network, which stays on it.
        observer: watches every update; does nothing until one is attached.
        updates: updates done since the start of the run.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        after_step: Callable[[nn.Module], None] = leave_alone,
    ) -> None:
        """Take built things.

        Args:
            network: on its device.
            optimizer: optimizer of the network's parameters.
            after_step: change that the normalization makes to the network after each step.
        """
        self.network = network
        self.optimizer = optimizer
        self.device = next(network.parameters()).device
        self.observer: UpdateObserver = Unobserved()
        self.updates = 0
        self._after_step = after_step

    def step(
        self,
        loss: Callable[[nn.Module], tuple[Tensor, Report]],
        obs: Tensor,
        learning_batch: Tensor | None = None,
    ) -> Report:
        """Take one update.

        Args:
            loss: network in training mode -> the loss () to minimize, and a report on it.
            obs: (B, ...) observations learnt from.
            learning_batch: input of the network's forward pass where that is not `obs`.

        Returns:
            The report.
        """
        self.optimizer.zero_grad()
        with shared_weights(self.network.train()):  # each normalized weight is computed once
            minimized, report = loss(self.network)
            torch.autograd.backward(minimized)
        self.observer.before_step(obs, obs if learning_batch is None else learning_batch)
        self.optimizer.step()
        self._after_step(self.network)
        self.observer.after_step()
        self.updates += 1
        HEARTBEAT.beat()
        return report

    def frozen_network(self) -> nn.Module:
        """Return a copy of the network that later updates do not change."""
        return copy.deepcopy(self.network).requires_grad_(False)

    def scalars(self) -> dict[str, Tensor | float]:
        """Return the values to log of every agent, by tag."""
        return {
            "train/learning_rate": self.optimizer.param_groups[0]["lr"],
            "train/n_updates": self.updates,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the network, the optimizer and the counter."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken; other keys of `state` are ignored."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
