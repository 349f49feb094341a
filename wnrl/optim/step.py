"""One interface for all optimizers, and the record from which one is built.

An agent steps whatever it is given: clipping of the gradients happens inside the step, whether a
weight-normalizing optimizer of `wnrl.optim` does it or torch's own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from wnrl._settings import UsageError, nearest
from wnrl.kernels.optimizer_aten import clip_factor
from wnrl.optim.weight_norm import (
    Group,
    WNAdam,
    WNAdamax,
    WNRAdam,
    WNRMSprop,
    check_alpha,
    check_betas,
    check_not_negative,
    check_v_norm,
    checked_max_norm,
)


class StepOptimizer(Protocol):
    """What an agent sees of an optimizer: clipping happens inside `step`, whichever it is."""

    param_groups: list[Group]

    @property
    def grad_norm(self) -> Tensor:
        """() Global gradient norm before clipping of the last step; NaN before the first."""
        ...

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        ...

    def step(self) -> Any:
        """Clip and update."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that moves."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the state was taken."""
        ...


def set_learning_rate(optimizer: StepOptimizer, rate: float) -> None:
    """Step all groups by this rate from now on; a `ScheduledStep` follows its own schedule."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class ClippedStep:
    """A torch optimizer with clipping of the global gradient norm inside `step`.

    Args:
        optimizer: any torch optimizer.
        max_norm: the largest global norm; `inf` measures it and clips nothing.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, max_norm: float = math.inf) -> None:
        self.optimizer = optimizer
        self.max_norm = checked_max_norm(max_norm)
        self.grad_norm = torch.tensor(math.nan)

    @property
    def param_groups(self) -> list[Group]:
        """The torch optimizer's own groups; a schedule writes `group["lr"]`."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[Group]) -> None:
        self.optimizer.param_groups = groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none)

    def step(self) -> None:
        """Measure the gradient norm, clip, update."""
        gradients = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        self.grad_norm = torch.nn.utils.get_total_norm(gradients)
        if gradients and math.isfinite(self.max_norm):
            torch._foreach_mul_(gradients, clip_factor(self.grad_norm, self.max_norm))
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The torch optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the torch optimizer's state."""
        self.optimizer.load_state_dict(state_dict)


class ScheduledStep:
    """An optimizer whose learning rates follow a schedule of its own updates.

    Args:
        optimizer: any; each group's `lr` as it stands now is the schedule's unit.
        share: updates done so far -> share of that rate for the next one.
    """

    def __init__(self, optimizer: StepOptimizer, share: Callable[[int], float]) -> None:
        self.optimizer = optimizer
        self._share = share
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._updates = 0

    @property
    def param_groups(self) -> list[Group]:
        """The optimizer's own groups; `lr` is that of the last update."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[Group]) -> None:
        self.optimizer.param_groups = groups

    @property
    def grad_norm(self) -> Tensor:
        """() As the optimizer's."""
        return self.optimizer.grad_norm

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none)

    def step(self) -> None:
        """Write the rates of this update, and update."""
        share = self._share(self._updates)
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.step()
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and the updates done."""
        return {"optimizer": self.optimizer.state_dict(), "updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the state was taken."""
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self._updates = state_dict["updates"]


OPTIMIZER_NAMES = ("adam", "adamax", "radam", "rmsprop")


@dataclass(frozen=True)
class OptimizerSpec:
    """Which optimizer, with plain values; `build` makes it over a network's parameters.

    The defaults are torch's. Weight normalization paper: adamax, 3e-4, betas (0.5, 0.999).
    Nature DQN: rmsprop, 2.5e-4, alpha 0.95, eps 0.1 / 32 for a mean loss, centered.
    PQN (Gallici et al. 2025): radam, 2.5e-4, max_grad_norm 10.
    """

    name: str = "adam"  # one of OPTIMIZER_NAMES
    learning_rate: float = 1e-4
    eps: float = 1e-8
    betas: tuple[float, float] = (0.9, 0.999)  # all but rmsprop: decay of the moments, per update
    alpha: float = 0.99  # rmsprop: decay of the averages, per update
    centered: bool = False  # rmsprop
    max_grad_norm: float = math.inf  # global norm; inf measures and does not clip
    v_norm: str = "weight"  # ||v|| at the first step, marked weights only: weight, paper or unit
    total_updates: int = 0  # length of the run's schedules, for whoever goes by it; 0: unknown

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZER_NAMES:
            raise UsageError(
                f"unknown optimizer {self.name!r}: allowed are {', '.join(OPTIMIZER_NAMES)}"
                + nearest(self.name, OPTIMIZER_NAMES)
            )
        check_not_negative({"lr": self.learning_rate, "eps": self.eps})
        check_betas(self.betas)
        check_alpha(self.alpha)
        checked_max_norm(self.max_grad_norm)
        check_v_norm(self.v_norm)

    def build(self, groups: Sequence[Group]) -> StepOptimizer:
        """The weight-normalizing optimizer if any group is marked `weight_norm`, else torch's own.

        Centered RMSprop is always ours: under a steady gradient torch 2.13's takes the root of a
        variance that rounding made negative, and the parameter becomes NaN. RAdam is always ours
        too: torch's has no fused step, and takes three times as long on a CPU.

        Args:
            groups: parameter groups, as `wnrl.nn.weight_norm_groups(network)` gives them.
        """
        groups = [{"weight_norm": False, **group} for group in groups]
        marked = any(group["weight_norm"] for group in groups)
        ours = self.name == "radam" or (self.name == "rmsprop" and self.centered)
        return self._normalizing(groups) if marked or ours else self._plain(groups)

    def _normalizing(self, groups: list[Group]) -> StepOptimizer:
        lr, eps, v_norm, max_norm = self.learning_rate, self.eps, self.v_norm, self.max_grad_norm
        if self.name == "rmsprop":
            return WNRMSprop(
                groups,
                lr,
                self.alpha,
                eps,
                centered=self.centered,
                v_norm=v_norm,
                max_norm=max_norm,
            )
        kind = {"adam": WNAdam, "adamax": WNAdamax, "radam": WNRAdam}[self.name]
        return kind(groups, lr, self.betas, eps, v_norm=v_norm, max_norm=max_norm)

    def _plain(self, groups: list[Group]) -> StepOptimizer:
        lr, eps = self.learning_rate, self.eps
        optimizer: torch.optim.Optimizer
        if self.name == "adam":
            devices = {p.device.type for group in groups for p in group["params"]}
            fused = devices <= {"cpu", "cuda"}
            optimizer = torch.optim.Adam(groups, lr, self.betas, eps, fused=fused)
        elif self.name == "adamax":
            optimizer = torch.optim.Adamax(groups, lr, self.betas, eps)
        else:
            optimizer = torch.optim.RMSprop(groups, lr, self.alpha, eps)
        return ClippedStep(optimizer, self.max_grad_norm)
