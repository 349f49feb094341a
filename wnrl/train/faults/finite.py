"""NaN and infinity in what a run learns: noticed before they replace a good checkpoint."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from wnrl.agents.learner import Learner

METRICS = ("train/loss", "train/grad_norm")  # the others may be NaN, like an undefined ratio


class NotFiniteLearning(Exception):
    """A loss, a gradient, a weight or the optimizer's state is NaN or infinite."""


def check_metrics(metrics: Mapping[str, Tensor | float]) -> None:
    """Check the loss and the gradient norm of an update.

    Args:
        metrics: scalars by name, from the agent's `update`.

    Raises:
        NotFiniteLearning: one is not finite.
    """
    for name in METRICS:
        value = float(metrics.get(name, 0.0))
        if not math.isfinite(value):
            raise NotFiniteLearning(f"{name} is {value}")


def check_weights(learner: Learner) -> None:
    """Check every number that the learner carries to its next update. Waits for the device.

    Raises:
        NotFiniteLearning: a weight, or a number of the optimizer's state, is not finite.
    """
    named = dict(_tensors(learner.network.state_dict(), "weight "))
    named |= dict(_tensors(learner.optimizer.state_dict(), "optimizer state "))
    floating = {name: x for name, x in named.items() if x.is_floating_point() and x.numel()}
    sums = [x.sum(dtype=torch.float32).to(learner.device) for x in floating.values()]
    if not sums or torch.stack(sums).isfinite().all():
        return  # NaN and infinity stay in a sum, which is ten times faster than a look at each
    for name, x in floating.items():
        if not x.isfinite().all():
            raise NotFiniteLearning(f"{name} holds NaN or infinity")


def _tensors(state: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a nested state, each with its name."""
    if isinstance(state, Tensor):
        yield name.rstrip("."), state
    elif isinstance(state, Mapping):
        for key, value in state.items():
            yield from _tensors(value, f"{name}{key}.")
    elif isinstance(state, list | tuple):
        for index, value in enumerate(state):
            yield from _tensors(value, f"{name}{index}.")
