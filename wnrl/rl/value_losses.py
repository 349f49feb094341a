"""Losses of action values on transitions: of numbers by their errors, of distributions by targets.

An agent takes one and does not ask which. What a network gives is (B, A) numbers, or (B, A, Z)
logits over atoms.

Dimension key: B batch, A actions, Z atoms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wnrl.rl import losses
from wnrl.rl.categorical import TARGETS, Targets, cross_entropy, expectation

CATEGORICAL = "categorical"


class ValueLosses(NamedTuple):
    """Losses of a batch, and the errors of the values for the log."""

    loss: Tensor  # (B,), with gradient
    td: Tensor  # (B,) target minus value, without
    outside: Tensor | None = None  # (B,) 1 where a target is beyond the atoms; None without atoms

    def report(self, mean: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Return what a log shows, by tag; `mean` is over the rows that count."""
        report = {"train/loss": mean(self.loss.detach()), "train/td_error_abs": mean(self.td.abs())}
        if self.outside is not None:
            report["train/targets_outside"] = mean(self.outside)
        return report


class ValueLoss(Protocol):
    """A loss of action values."""

    def bootstrapped(
        self,
        q_tm1: Tensor,
        a_tm1: Tensor,
        r_t: Tensor,
        discount_t: Tensor,
        q_t: Tensor,
        q_t_selector: Tensor | None,
    ) -> ValueLosses:
        """Return the losses of transitions; their gradient reaches `q_tm1` only.

        Args:
            q_tm1: (B, A, ...) of the network that learns, at s_tm1.
            a_tm1: (B,) int64, the actions taken.
            r_t: (B,) rewards.
            discount_t: (B,) discounts.
            q_t: (B, A, ...) of the target network, at s_t.
            q_t_selector: (B, A, ...) of the network that learns, at s_t, for double Q-learning;
                None for Q-learning.
        """
        ...

    def towards(self, q: Tensor, action: Tensor, target: Tensor) -> ValueLosses:
        """Return the losses of outputs (B, A, ...) at actions (B,) against numbers (B,)."""
        ...


@dataclass(frozen=True)
class ErrorLoss:
    """A loss of the temporal-difference error, such as `losses.huber`."""

    of_error: Callable[[Tensor], Tensor]

    def bootstrapped(
        self,
        q_tm1: Tensor,
        a_tm1: Tensor,
        r_t: Tensor,
        discount_t: Tensor,
        q_t: Tensor,
        q_t_selector: Tensor | None,
    ) -> ValueLosses:
        """Return the losses of transitions; see `ValueLoss`."""
        if q_t_selector is not None:  # double: van Hasselt et al. 2016, equation 4
            td = losses.double_q_learning_td(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector)
        else:  # Mnih et al. 2015, equation 2
            td = losses.q_learning_td(q_tm1, a_tm1, r_t, discount_t, q_t)
        return ValueLosses(self.of_error(td), td.detach())

    def towards(self, q: Tensor, action: Tensor, target: Tensor) -> ValueLosses:
        """Return the losses against numbers; see `ValueLoss`."""
        td = target - q.gather(1, action[:, None])[:, 0]  # (B, A) -> (B,)
        return ValueLosses(self.of_error(td), td.detach())


@dataclass(frozen=True)
class CategoricalLoss:
    """The cross-entropy between the distribution at the action taken and its target."""

    targets: Targets

    def bootstrapped(
        self,
        q_tm1: Tensor,
        a_tm1: Tensor,
        r_t: Tensor,
        discount_t: Tensor,
        q_t: Tensor,
        q_t_selector: Tensor | None,
    ) -> ValueLosses:
        """Return the losses of transitions; see `ValueLoss`.

        Actions are selected by the expectation (Bellemare et al. 2017, algorithm 1).
        """
        with torch.no_grad():
            selector = q_t if q_t_selector is None else q_t_selector
            best = expectation(selector, self.targets.atoms).argmax(dim=1)  # (B, A, Z) -> (B,)
            probs_t = _at(q_t, best).softmax(dim=1)  # (B, Z)
            target = r_t + discount_t * (probs_t @ self.targets.atoms)
            probs = self.targets.bootstrapped(r_t, discount_t, probs_t)
        return self._losses(_at(q_tm1, a_tm1), probs, target)

    def towards(self, q: Tensor, action: Tensor, target: Tensor) -> ValueLosses:
        """Return the losses against numbers; see `ValueLoss`."""
        return self._losses(_at(q, action), self.targets.of_values(target), target)

    def _losses(self, logits: Tensor, probs: Tensor, target: Tensor) -> ValueLosses:
        atoms = self.targets.atoms
        value = expectation(logits.detach(), atoms)
        outside = (target < atoms[0]) | (target > atoms[-1])
        return ValueLosses(cross_entropy(logits, probs), target - value, outside.to(target.dtype))


class LossSettings(Protocol):
    """The settings that choose a loss."""

    @property
    def loss(self) -> str:
        """Return huber, mse or categorical."""
        ...

    @property
    def categorical_targets(self) -> str:
        """Return one of `TARGETS`."""
        ...

    @property
    def atoms(self) -> int:
        """Return Z."""
        ...

    @property
    def v_min(self) -> float:
        """Return the smallest value."""
        ...

    @property
    def v_max(self) -> float:
        """Return the largest value."""
        ...

    @property
    def sigma_ratio(self) -> float:
        """Return the standard deviation of hl-gauss, in bins."""
        ...


def targets_of(settings: LossSettings) -> Targets:
    """Return the categorical targets that settings choose, on torch's default device."""
    make = TARGETS[settings.categorical_targets]
    return make(settings.atoms, settings.v_min, settings.v_max, settings.sigma_ratio)


def atoms_of(settings: LossSettings) -> tuple[float, ...]:
    """Return the atoms (Z,) of a network's head for settings; empty if its values are numbers."""
    return tuple(targets_of(settings).atoms.tolist()) if settings.loss == CATEGORICAL else ()


def value_loss(settings: LossSettings, device: torch.device) -> ValueLoss:
    """Return the loss that settings choose, with its constants on a device."""
    if settings.loss != CATEGORICAL:
        return ErrorLoss({"huber": losses.huber, "mse": losses.squared}[settings.loss])
    with device:
        return CategoricalLoss(targets_of(settings))


def _at(logits: Tensor, actions: Tensor) -> Tensor:
    """Return the logits (B, Z) at actions (B,) of logits (B, A, Z).

    Raises:
        ValueError: a shape differs from the above.
    """
    if logits.ndim != 3 or actions.shape != logits.shape[:1]:
        raise ValueError(
            f"logits are {tuple(logits.shape)}, actions {tuple(actions.shape)}: expected (B, A, Z) "
            "and (B,)"
        )
    return logits.gather(1, actions[:, None, None].expand(-1, 1, logits.shape[2]))[:, 0]
