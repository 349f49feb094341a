"""One interface for all optimizers, and the record from which an optimizer is built.

Clipping of gradients happens inside `step`, for the weight-normalizing optimizers of `wnrl.optim`
and for torch's alike, so agents never clip.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from wnrl._settings import UsageError, nearest
from wnrl.kernels.backend import capturing
from wnrl.kernels.optimizer_aten import needed_clip
from wnrl.optim.arguments import (
    Group,
    check_alpha,
    check_betas,
    check_not_negative,
    check_v_norm,
    checked_max_norm,
)
from wnrl.optim.rules import OPTIMIZER_NAMES, REGISTERED, check_marked
from wnrl.optim.weight_norm import WNAdam, WNAdamax, WNRAdam, WNRMSprop, WNRMSpropTFLike


class StepOptimizer(Protocol):
    """The interface that agents use: an optimizer that clips inside `step`."""

    param_groups: list[Group]
    grad_norm: Tensor  # () of the last step, before clipping; NaN before the first step

    @property
    def capturable(self) -> bool:
        """Return whether a captured `step` follows what `write_settings_` writes."""
        ...

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""
        ...

    def prepare(self) -> None:
        """Compile what the first step would wait for."""
        ...

    def step(self) -> Any:
        """Clip and update."""
        ...

    def write_settings_(self) -> None:
        """Copy the learning rates to the device, before a captured `step` is replayed."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        ...


def set_learning_rate(optimizer: StepOptimizer, rate: float) -> None:
    """Set the learning rate of all groups; a `ScheduledStep` keeps to its own schedule."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class ClippedStep:
    """A torch optimizer with clipping of the global gradient norm inside `step`.

    Args:
        optimizer: any torch optimizer.
        max_norm: largest global norm; `inf` measures it without clipping.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, max_norm: float = math.inf) -> None:
        self.optimizer = optimizer
        self.max_norm = checked_max_norm(max_norm)
        self.grad_norm = torch.tensor(math.nan)
        # () learning rate of each group where a captured step reads it; () on a CPU.
        self._rates: tuple[Tensor, ...] = ()
        if all(group.get("capturable") and _on_gpu(group) for group in self.param_groups):
            self._rates = tuple(
                torch.zeros((), device=group["params"][0].device) for group in self.param_groups
            )

    @property
    def capturable(self) -> bool:
        """Return whether the learning rates are on a GPU."""
        return bool(self._rates)

    @property
    def param_groups(self) -> list[Group]:
        """The torch optimizer's groups; a schedule writes `group["lr"]`."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[Group]) -> None:
        self.optimizer.param_groups = groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad(set_to_none)

    def prepare(self) -> None:
        """Do nothing: torch's steps are compiled."""

    def step(self) -> None:
        """Measure the gradient norm, clip, update."""
        gradients = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        self.grad_norm = torch.nn.utils.get_total_norm(gradients)
        if gradients and math.isfinite(self.max_norm):
            clip = needed_clip(self.grad_norm, self.max_norm)
            if clip is not None:
                torch._foreach_mul_(gradients, clip)
        if not self._rates:
            self.optimizer.step()
            return
        if not capturing(self._rates[0]):
            self.write_settings_()
        with self._rates_on_the_device():
            self.optimizer.step()

    def write_settings_(self) -> None:
        """Copy every group's learning rate to the GPU, where a captured step reads it."""
        for group, rate in zip(self.param_groups, self._rates, strict=False):
            rate.fill_(group["lr"])

    @contextlib.contextmanager
    def _rates_on_the_device(self) -> Iterator[None]:
        """Show the torch optimizer learning rates that are tensors on its device."""
        numbers = [group["lr"] for group in self.param_groups]
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            group["lr"] = rate
        try:
            yield
        finally:
            for group, number in zip(self.param_groups, numbers, strict=True):
                group["lr"] = number

    def state_dict(self) -> dict[str, Any]:
        """Return the torch optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the torch optimizer's state, which may be of another type of device."""
        self.optimizer.load_state_dict(state_dict)
        for group in self.param_groups:
            if "capturable" in group:
                group["capturable"] = self.capturable
            for parameter in group["params"] if self.capturable else ():
                state = self.optimizer.state.get(parameter, {})
                if "step" in state:
                    state["step"] = state["step"].to(parameter.device)


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer and its settings as plain values; `build` makes it for a network's parameters.

    The defaults are torch's. Weight normalization paper: adamax, 3e-4, betas (0.5, 0.999).
    Nature DQN: rmsprop, 2.5e-4, alpha 0.95, eps 0.1 / 32 for a mean loss, centered.
    PQN (Gallici et al. 2025): radam, 2.5e-4, max_grad_norm 10.
    """

    name: str = "adam"  # one of OPTIMIZER_NAMES
    learning_rate: float = 1e-4
    eps: float = 1e-8  # rmsprop-tf: inside the root
    betas: tuple[float, float] = (0.9, 0.999)  # decay of the moments, per update; not rmsprop
    alpha: float = 0.99  # rmsprop, rmsprop-tf: decay of the averages, per update
    centered: bool = False  # rmsprop; rmsprop-tf never is
    max_grad_norm: float = math.inf  # global norm; inf measures without clipping
    v_norm: str = "weight"  # ||v|| of marked weights at the first step: weight, paper or unit
    total_updates: int = 0  # length of the run's schedules in updates; 0: unknown

    def __post_init__(self) -> None:
        if self.name not in OPTIMIZER_NAMES:
            raise UsageError(
                f"optimizer {self.name!r} is unknown: allowed are {', '.join(OPTIMIZER_NAMES)}"
                + nearest(self.name, OPTIMIZER_NAMES)
            )
        check_not_negative({"lr": self.learning_rate, "eps": self.eps})
        check_betas(self.betas)
        check_alpha(self.alpha)
        checked_max_norm(self.max_grad_norm)
        check_v_norm(self.v_norm)

    def build(self, groups: Sequence[Group]) -> StepOptimizer:
        """Build a weight-normalizing optimizer if a group is marked `weight_norm`, else torch's.

        Centered RMSprop, rmsprop-tf and RAdam are always those of `wnrl.optim`. torch 2.13's
        centered RMSprop turns parameters to NaN under a steady gradient, because it takes the root
        of a variance that rounding made negative. torch has no rmsprop-tf. Its RAdam has no fused
        step and takes three times as long on a CPU.

        Args:
            groups: parameter groups, for example from `wnrl.nn.weight_norm_groups(network)`.

        Raises:
            SettingError: a group is marked, and the optimizer is one that a user registered.
        """
        groups = [{"weight_norm": False, **group} for group in groups]
        marked = any(group["weight_norm"] for group in groups)
        if self.name in REGISTERED:
            check_marked(self.name, marked)
            return ClippedStep(REGISTERED[self.name](groups, self), self.max_grad_norm)
        better = self.name in ("radam", "rmsprop-tf") or (self.name == "rmsprop" and self.centered)
        return self._normalizing(groups) if marked or better else self._plain(groups)

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
        if self.name == "rmsprop-tf":
            return WNRMSpropTFLike(groups, lr, self.alpha, eps, v_norm=v_norm, max_norm=max_norm)
        kind = {"adam": WNAdam, "adamax": WNAdamax, "radam": WNRAdam}[self.name]
        return kind(groups, lr, self.betas, eps, v_norm=v_norm, max_norm=max_norm)

    def _plain(self, groups: list[Group]) -> StepOptimizer:
        lr, eps = self.learning_rate, self.eps
        on_gpu = all(map(_on_gpu, groups))
        optimizer: torch.optim.Optimizer
        if self.name == "adam":
            devices = {p.device.type for group in groups for p in group["params"]}
            fused = devices <= {"cpu", "cuda"}
            optimizer = torch.optim.Adam(
                groups, lr, self.betas, eps, fused=fused, capturable=on_gpu
            )
        elif self.name == "adamax":
            optimizer = torch.optim.Adamax(groups, lr, self.betas, eps, capturable=on_gpu)
        else:
            # Its other step reads a learning rate that is a tensor.
            foreach = True if on_gpu else None
            optimizer = torch.optim.RMSprop(
                groups, lr, self.alpha, eps, capturable=on_gpu, foreach=foreach
            )
        return ClippedStep(optimizer, self.max_grad_norm)


def _on_gpu(group: Group) -> bool:
    """Return whether all of a group's parameters are on a CUDA device."""
    parameters = list(group["params"])
    return len(parameters) > 0 and all(parameter.is_cuda for parameter in parameters)
