"""Optimizers around another one: what a normalization does before or after each of its steps.

`WrappedStep` hands everything on; a subclass overrides `step`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from wnrl.optim.arguments import Group
from wnrl.optim.step import StepOptimizer


class WrappedStep:
    """An optimizer that hands everything on to another one.

    Args:
        optimizer: the optimizer inside.
    """

    def __init__(self, optimizer: StepOptimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> list[Group]:
        """The groups of the optimizer inside."""
        return self.optimizer.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[Group]) -> None:
        self.optimizer.param_groups = groups

    @property
    def grad_norm(self) -> Tensor:
        """() gradient norm of the last step, from the optimizer inside."""
        return self.optimizer.grad_norm

    @grad_norm.setter
    def grad_norm(self, norm: Tensor) -> None:
        self.optimizer.grad_norm = norm

    @property
    def capturable(self) -> bool:
        """Return False: a replay would not see the numbers that change from step to step."""
        return False

    def write_settings_(self) -> None:
        """Copy the learning rates to the device."""
        self.optimizer.write_settings_()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad(set_to_none)

    def prepare(self) -> None:
        """Compile what the first step would wait for."""
        self.optimizer.prepare()

    def step(self) -> None:
        """Update."""
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer inside."""
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        self.optimizer.load_state_dict(state_dict["optimizer"])


class ScheduledStep(WrappedStep):
    """An optimizer whose learning rates follow a schedule over its updates.

    Args:
        optimizer: any optimizer; the schedule scales each group's current `lr`.
        share: updates done so far -> share of that `lr` for the next update.
    """

    def __init__(self, optimizer: StepOptimizer, share: Callable[[int], float]) -> None:
        super().__init__(optimizer)
        self._share = share
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._updates = 0

    def step(self) -> None:
        """Set the rates of this update, then update."""
        share = self._share(self._updates)
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.step()
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and the number of updates."""
        return {**super().state_dict(), "updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        super().load_state_dict(state_dict)
        self._updates = state_dict["updates"]


class BoundedVectors(WrappedStep):
    """Weight vectors v (storage "gv") whose lengths are bounded after each step.

    w = g v / ||v|| does not change. With storage "w" the optimizers of `wnrl.optim` do the same
    themselves, for a group with `max_v_norm`.

    Args:
        optimizer: steps the vectors.
        vectors: v (O, ...) each, the output axis first; parameters, or views of them.
        max_v_norm: largest ||v||; 0 holds each ||v|| where it is now.
    """

    def __init__(
        self, optimizer: StepOptimizer, vectors: Sequence[Tensor], max_v_norm: float
    ) -> None:
        super().__init__(optimizer)
        self._vectors = [vector.detach() for vector in vectors]
        self._held = [] if max_v_norm > 0 else [_row_norm(v) for v in self._vectors]
        self._max_v_norm = max_v_norm

    @property
    def capturable(self) -> bool:
        """Return whether the optimizer inside is: the bounds do not change."""
        return self.optimizer.capturable

    @torch.no_grad()
    def step(self) -> None:
        """Update, then bound the lengths."""
        self.optimizer.step()
        for index, vector in enumerate(self._vectors):
            length = _row_norm(vector)
            wanted = self._held[index] if self._held else length.clamp(max=self._max_v_norm)
            # A row that was zero at the start keeps the length that it gets.
            vector.mul_(torch.where((wanted > 0) & (length > 0), wanted / length, 1.0))

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and the lengths that are held."""
        return {**super().state_dict(), "held": [length.clone() for length in self._held]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state."""
        super().load_state_dict(state_dict)
        for length, saved in zip(self._held, state_dict["held"], strict=True):
            length.copy_(saved)


def _row_norm(vector: Tensor) -> Tensor:
    """(O, ...) -> (O, 1, ...)."""
    norm: Tensor = torch.linalg.vector_norm(vector, dim=tuple(range(1, vector.ndim)), keepdim=True)
    return norm
