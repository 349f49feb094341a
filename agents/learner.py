"""Updates of a network, written once for every agent."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from wnrl.agents.captured import Captured, MakeGraph
from wnrl.envs.call_order import HEARTBEAT
from wnrl.nn.norms.record import Penalty, leave_alone
from wnrl.nn.norms.transition_values import in_mode
from wnrl.nn.weight_norm.cached_weights import shared_weights
from wnrl.nn.weight_norm.parametrization import computed_weights
from wnrl.optim.step import StepOptimizer
from wnrl.rl.problem import Problem

Data = TypeVar("Data")
Inputs = TypeVar("Inputs")
Report = TypeVar("Report")


class Update(NamedTuple, Generic[Inputs]):
    """Inputs of one update: the arguments of `Learner.step` after the loss."""

    inputs: Inputs  # of the loss
    obs: Tensor  # (B, ...) observations learnt from
    learning_batch: Tensor | None = None  # input of the forward pass, where that is not `obs`


class UpdateObserver(Protocol):
    """Watches every update and changes nothing."""

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Return whether an update needs `before_step`.

        Args:
            rows: B, of its batch.
            ahead: updates that come before it; 0 for the next.
        """
        ...

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Look at the gradients before the optimizer steps.

        Args:
            obs: (B, ...) observations learnt from, on the network's device; the caller may
                overwrite them later.
            learning_batch: input of the network's forward pass in this update: `obs`, or more.
        """
        ...

    def after_step(self) -> None:
        """Look at the gradient norm, and at the weights after the step if `looks` was true.

        Other updates may be one graph with those after them, which have then changed the weights.
        """
        ...


class Unobserved:
    """Observer that does nothing."""

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Return False."""
        return False

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Do nothing."""

    def after_step(self) -> None:
        """Do nothing."""


class Observers:
    """Several observers as one, called in order."""

    def __init__(self, *observers: UpdateObserver) -> None:
        self._observers = observers

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Return whether any of them needs `before_step` at that update."""
        return any(observer.looks(rows, ahead) for observer in self._observers)

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Let all look at the gradients."""
        for observer in self._observers:
            observer.before_step(obs, learning_batch)

    def after_step(self) -> None:
        """Let all look at the weights."""
        for observer in self._observers:
            observer.after_step()


class Learner:
    """A network with what changes it: optimizer, normalization and a counter of updates.

    Attributes:
        network: the network that acts and learns.
        optimizer: steps its parameters and clips their gradients.
        device: device of the network, which stays on it.
        observer: watches every update; does nothing until one is attached.
        updates: updates done since the start of the run.
        problem: loss and batch of the newest update outside a graph; None before it.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        after_step: Callable[[nn.Module], None] = leave_alone,
        penalty: Penalty | None = None,
        make_graph: MakeGraph | None = None,
    ) -> None:
        """Take built things.

        Args:
            network: on its device.
            optimizer: optimizer of the network's parameters.
            after_step: change that the normalization makes to the network after each step.
            penalty: term that the normalization adds to every loss; None for none.
            make_graph: makes the graphs that acting and updates are captured in; None for plain
                calls.
        """
        self.network = network
        self.optimizer = optimizer
        self.device = next(network.parameters()).device
        self.observer: UpdateObserver = Unobserved()
        self.updates = 0
        self.problem: Problem | None = None
        self._parameters = tuple(network.parameters())
        self._computed = next(computed_weights(network), None) is not None
        self._after_step = after_step
        self._penalty = penalty
        self._make_graph = make_graph
        self._captured: dict[Any, Captured] = {}  # by what is captured

    def outputs(self, obs: Tensor) -> Any:
        """Return the network's outputs on obs (B, ...) in evaluation mode, without gradients."""
        if self._make_graph is None:
            return self._evaluated(obs)
        return self._captured_of(self._evaluated)(obs)

    @property
    def makes_graphs(self) -> bool:
        """Return whether acting and updates are captured."""
        return self._make_graph is not None

    def steps(
        self,
        loss: Callable[[nn.Module, Inputs], tuple[Tensor, Report]],
        updates_of: Callable[[Data], Iterator[Update[Inputs]]],
        data: Data,
        sizes: Sequence[int],
    ) -> list[Report]:
        """Take updates, in one graph where graphs are made and the observer looks at none of them.

        Args:
            loss: as in `step`. Where graphs are made it is closed (see `captured`), a method or
                function that stays the same, and its inputs and report are tensors.
            updates_of: data -> the updates in turn; closed and the same each time, too.
            data: tensors, which a graph copies into memory of its own.
            sizes: B of each update.

        Returns:
            Their reports.
        """
        if not self._captures(sizes):
            return [self.step(loss, *update) for update in updates_of(data)]
        self.optimizer.write_settings_()  # one learning rate for all of them
        reports = []
        for report, grad_norm in self._captured_of(self._all_updates, loss, updates_of)(data):
            self.optimizer.grad_norm = grad_norm
            self._finish_update()
            reports.append(report)
        return reports

    def step(
        self,
        loss: Callable[[nn.Module, Inputs], tuple[Tensor, Report]],
        inputs: Inputs,
        obs: Tensor,
        learning_batch: Tensor | None = None,
    ) -> Report:
        """Take one update by plain calls.

        Args:
            loss: network in training mode, inputs -> the loss () to minimize, and a report on it.
            inputs: what the loss is computed from.
            obs: (B, ...) observations learnt from.
            learning_batch: input of the network's forward pass where that is not `obs`.

        Returns:
            The report.
        """
        report = self._differentiate(loss, inputs)
        self.problem = Problem(partial(_first, loss), inputs, len(obs))
        self.observer.before_step(obs, obs if learning_batch is None else learning_batch)
        self._advance()
        self._finish_update()
        return report

    def number(self, value: float) -> Any:
        """Return a number that changes between updates in the form in which a loss takes it.

        That is the number itself, or a tensor () on the device where updates are captured.
        """
        if self._make_graph is None:
            return value
        return torch.full((), value, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def _evaluated(self, obs: Tensor) -> Any:
        return in_mode(self.network, training=False)(obs)

    def _captures(self, sizes: Sequence[int]) -> bool:
        """Return whether the next updates, from so many rows each, are one graph."""
        if not self.makes_graphs or not self.optimizer.capturable:
            return False
        return not any(self.observer.looks(rows, ahead) for ahead, rows in enumerate(sizes))

    def _all_updates(self, loss: Any, updates_of: Any, data: Any) -> list[tuple[Any, Tensor]]:
        """Take whole updates; return the report and the gradient norm of each."""
        done = []
        for update in updates_of(data):
            report = self._differentiate(loss, update.inputs)
            self._advance()
            done.append((report, self.optimizer.grad_norm))
        return done

    def _finish_update(self) -> None:
        """Count an update that has been done."""
        self.observer.after_step()
        self.updates += 1
        HEARTBEAT.beat()

    def _differentiate(
        self, loss: Callable[[nn.Module, Inputs], tuple[Tensor, Report]], inputs: Inputs
    ) -> Report:
        """Compute the loss and its gradients; return its report."""
        for parameter in self._parameters:
            parameter.grad = None
        network = in_mode(self.network, training=True)
        with shared_weights(network) if self._computed else nullcontext():
            minimized, report = loss(network, inputs)
            if self._penalty is not None:
                minimized = minimized + self._penalty(network)
            torch.autograd.backward(minimized)
        return report

    def _advance(self) -> None:
        """Step the weights."""
        self.optimizer.step()
        self._after_step(self.network)

    def _captured_of(self, function: Callable[..., Any], *arguments: Any) -> Captured:
        """Return the captured function with these first arguments."""
        assert self._make_graph is not None
        key = (function, *arguments)
        if key not in self._captured:
            self._captured[key] = Captured(partial(function, *arguments), self._make_graph)
        return self._captured[key]

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
        self._captured.clear()  # the optimizer has its state in other memory now


def _first(loss: Callable[..., tuple[Tensor, Any]], network: nn.Module, inputs: Any) -> Tensor:
    """Return a loss without its report."""
    return loss(network, inputs)[0]
