"""Values of both ends of a transition, from the online and the target network.

If layers use batch statistics, the batch that a network sees is part of the normalization. So the
normalization chooses one of these classes, and the agent gets it when it is built.

Wang et al. 2025 (mode-aware batch norm, arXiv 2509.23750) name each forward pass T, if it runs in
training mode with the statistics of its batch, or E, in evaluation mode with running statistics.
With their Critic-II (the online network at s_tm1) and Critic-III (the target network at s_t):

    SeparateBatches   II: T over s_tm1            III: E                      T, E
    OwnBatches        II: T over s_tm1            III: T over s_t             T, T
    MixedBatches      II: T over s_tm1            III: T over (s_tm1, s_t)    T, T on mixed data
    JointBatch        II: T over (s_tm1, s_t)     III: T over (s_tm1, s_t)    CrossQ's joint pass

Their Critic-I, the critic in an actor's update, has no counterpart in Q-learning. They mix data in
Critic-I; here the mixture is that of the bootstrap. Running statistics follow the online network's
learning pass alone, and acting uses them.

Dimension key: B batch, A actions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from wnrl._settings.later import Later

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
else:
    torch = Later("torch")

Module = TypeVar("Module", bound="nn.Module")


class ActionValues(NamedTuple):
    """Values of all actions at both ends of transitions, or logits (B, A, Z) of each."""

    q_tm1: Tensor  # (B, A) of the online network at s_tm1, with gradient
    q_t: Tensor  # (B, A) of the target network at s_t
    q_t_selector: Tensor | None  # (B, A) of the online network at s_t; None without `select`


class Values(Protocol):
    """Values both ends of a batch of transitions; the target network does not change."""

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """Return the online network's input in training mode: (B, ...) or (2B, ...)."""
        ...

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """Return the values of all actions.

        Args:
            online: the network that learns.
            target: the network that values the bootstrap.
            s_tm1: (B, ...).
            s_t: (B, ...).
            select: whether the online network also values s_t, for double Q-learning.
        """
        ...


class SeparateBatches:
    """Two batches: s_tm1 in training mode, s_t in evaluation mode.

    In evaluation mode statistics are frozen, so each observation at s_t is valued by itself, as in
    acting.
    """

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """Return s_tm1 (B, ...)."""
        return s_tm1

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """Return the values of all actions; see `Values`."""
        with torch.no_grad():
            q_t = in_mode(target, training=False)(s_t)
            selector = in_mode(online, training=False)(s_t) if select else None
        learning = in_mode(online, training=True)
        return ActionValues(learning(self.learning_batch(s_tm1, s_t)), q_t, selector)


class OwnBatches:
    """Two batches in training mode: each end has the statistics of its own batch.

    The online network's running statistics follow s_tm1 alone.
    """

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """Return s_tm1 (B, ...)."""
        return s_tm1

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """Return the values of all actions; see `Values`."""
        q_t = unchanged_pass(target, s_t)
        selector = unchanged_pass(online, s_t) if select else None
        in_mode(target, training=False)
        learning = in_mode(online, training=True)
        return ActionValues(learning(self.learning_batch(s_tm1, s_t)), q_t, selector)


class MixedBatches:
    """s_tm1 in training mode, s_t in one batch with s_tm1: the bootstrap alone sees both ends.

    Unlike in `JointBatch`, what is learned has the statistics of s_tm1 alone, as in `OwnBatches`.
    """

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """Return s_tm1 (B, ...)."""
        return s_tm1

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """Return the values of all actions; see `Values`."""
        both = torch.cat((s_tm1, s_t))  # (B, ...), (B, ...) -> (2B, ...)
        _, q_t = unchanged_pass(target, both).chunk(2)  # (2B, A) -> (B, A), (B, A)
        selector = unchanged_pass(online, both).chunk(2)[1] if select else None
        in_mode(target, training=False)
        learning = in_mode(online, training=True)
        return ActionValues(learning(self.learning_batch(s_tm1, s_t)), q_t, selector)


class JointBatch:
    """One joint batch (s_tm1, s_t) in training mode, for each network.

    The statistics of the joint batch normalize both ends, and the online network's running
    statistics follow them. The target network keeps the running statistics that it was copied with.
    Double Q-learning selects actions from the same forward pass, at no extra cost.

    Source: Bhatt et al. 2024 (CrossQ), arXiv 1902.05605, section 3 and figure 2; with a target
    network, Palenicek et al. 2025, arXiv 2502.07523.
    """

    def learning_batch(self, s_tm1: Tensor, s_t: Tensor) -> Tensor:
        """Return both ends (2B, ...)."""
        return torch.cat((s_tm1, s_t))  # (B, ...), (B, ...) -> (2B, ...)

    def __call__(
        self, online: nn.Module, target: nn.Module, s_tm1: Tensor, s_t: Tensor, *, select: bool
    ) -> ActionValues:
        """Return the values of all actions; see `Values`."""
        both = self.learning_batch(s_tm1, s_t)
        _, q_t = unchanged_pass(target, both).chunk(2)
        in_mode(target, training=False)
        q_tm1, q_t_online = in_mode(online, training=True)(both).chunk(2)  # each (B, A)
        return ActionValues(q_tm1, q_t, q_t_online.detach() if select else None)


def in_mode(network: Module, training: bool) -> Module:
    """Return the network after a switch to training or evaluation mode, if it is in the other.

    A switch visits every module, and a small network's pass takes little longer.
    """
    return network if network.training is training else network.train(training)


separate_batches = SeparateBatches()
own_batches = OwnBatches()
mixed_batches = MixedBatches()
joint_batch = JointBatch()


def unchanged_pass(network: nn.Module, batch: Tensor) -> Tensor:
    """Return the values (B, A) of a batch (B, ...) in training mode; buffers stay as they were."""
    with torch.no_grad(), restored_buffers(network):
        values: Tensor = in_mode(network, training=True)(batch)
    return values


@contextmanager
def restored_buffers(network: nn.Module) -> Iterator[None]:
    """Restore the network's buffers at the end of the scope."""
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
