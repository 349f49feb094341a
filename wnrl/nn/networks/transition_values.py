"""How the online and the target network see the two ends of a transition.

With statistics of the batch this is a choice of the normalization: an agent is given one of these
when it is built, and never asks which.

Dimension key: B batch, A actions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class ActionValues(NamedTuple):
    """Values of all actions at both ends of a batch of transitions."""

    q_tm1: Tensor  # (B, A) the online network's at s_tm1, with its gradient
    q_t: Tensor  # (B, A) the target network's at s_t
    q_t_selector: Tensor | None  # (B, A) the online network's at s_t, where asked for


class Values(Protocol):
    """(online, target, s_tm1 (B, ...), s_t (B, ...)) -> values; the target is left as it was."""

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """What the online network takes in training mode: (B, ...) or (2B, ...)."""
        ...

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """With `select`, also the online network's values at s_t (for double Q-learning)."""
        ...


class SeparateBatches:
    """The online network learns on s_tm1 in training mode; all else is as in acting.

    The target values s_t, and the online network selects there, in evaluation mode: with frozen
    statistics, each observation by itself.
    """

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """s_tm1 (B, ...)."""
        return s_tm1

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """As `Values`."""
        with torch.no_grad():
            q_t = target.eval()(s_t)
            selector = online.eval()(s_t) if select else None
        return ActionValues(online.train()(self.learning_batch(s_tm1, s_t)), q_t, selector)


class JointBatch:
    """One forward in training mode over (s_tm1, s_t), of each network.

    So both ends are normalized by the same mixture's statistics, and the online network's running
    ones are of that mixture. The target's statistics stay those that it was copied with. Double
    Q-learning selects with the values that the same forward gives, at no cost.

    Source: Bhatt et al. 2024 (CrossQ), arXiv 1902.05605, section 3 and figure 2; with a target
    network, Palenicek et al. 2025, arXiv 2502.07523.
    """

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """Both ends (2B, ...)."""
        return torch.cat((s_tm1, s_t))  # (B, ...), (B, ...) -> (2B, ...)

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """As `Values`."""
        both = self.learning_batch(s_tm1, s_t)
        with torch.no_grad(), kept_buffers(target):
            _, q_t = target.train()(both).chunk(2)
        target.eval()
        q_tm1, q_t_online = online.train()(both).chunk(2)  # (2B, A) -> (B, A), (B, A)
        return ActionValues(q_tm1, q_t, q_t_online.detach() if select else None)


separate_batches = SeparateBatches()
joint_batch = JointBatch()


@contextmanager
def kept_buffers(network: nn.Module) -> Iterator[None]:
    """Inside, buffers may change; afterwards they are as before."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)
