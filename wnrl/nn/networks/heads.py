"""Heads, which turn features into values of actions, or into a policy and a value.

Dimension key: B batch, A actions, F features, Z atoms of a distribution.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wnrl.nn.norms.catalogue import NONE
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm
from wnrl.rl.categorical import expectation


class PolicyValue(NamedTuple):
    """Output of an actor-critic on observations; (T, B) in place of (B,) on sequences."""

    logits: Tensor  # (B, A) the policy's
    value: Tensor  # (B,)


class DuelingHead(nn.Module):
    """Q = V + A - mean_a A from shared features, one linear layer each: (..., F) -> (..., A).

    With atoms, V, A and Q are logits: (..., F) -> (..., A, Z).

    Source: Wang et al. 2016, arXiv 1511.06581, eq. 9 (there each stream has its own hidden layer;
    here both share the torso's last layer); with atoms, Hessel et al. 2018, arXiv 1710.02298.
    """

    def __init__(
        self,
        num_features: int,
        num_actions: int,
        norm: Norm = NONE,
        placed: Collection[str] = (),
        atoms: int = 0,
    ) -> None:
        """Make both layers.

        Args:
            num_features: F.
            num_actions: A.
            norm: makes the layers named in `placed`; the others are plain.
            placed: any of `value` and `advantage`.
            atoms: Z; 0 for a number per action.
        """
        super().__init__()
        self._atoms = (atoms,) if atoms else ()
        each = max(1, atoms)
        self.value = norm_at("value", norm, placed).linear(num_features, each)
        self.advantage = norm_at("advantage", norm, placed).linear(num_features, num_actions * each)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., A), or (..., A, Z)."""
        over_actions = -1 - len(self._atoms)
        advantage: Tensor = self.advantage(features).unflatten(-1, (-1, *self._atoms))
        value: Tensor = self.value(features).unflatten(-1, (1, *self._atoms))
        return value + advantage - advantage.mean(dim=over_actions, keepdim=True)  # eq. 9


class CategoricalHead(nn.Module):
    """Action values (..., A) as expectations of distributions over atoms.

    A network with it acts and is evaluated as any other; a loss reads the logits, through
    `loss_view`.

    Attributes:
        logits: (..., F) -> (..., A, Z).
        atoms: (Z,) the value of each logit.
    """

    atoms: Tensor

    def __init__(self, logits: nn.Module, atoms: Sequence[float]) -> None:
        super().__init__()
        self.logits = logits
        self.register_buffer("atoms", torch.tensor(atoms), persistent=False)  # a setting

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., A)."""
        return expectation(self.logits(features), self.atoms)


def q_head(
    num_features: int,
    num_actions: int,
    norm: Norm,
    placed: Collection[str],
    *,
    dueling: bool = False,
    atoms: Sequence[float] = (),
) -> nn.Module:
    """Return a head of action values, (..., F) -> (..., A).

    Args:
        num_features: F.
        num_actions: A.
        norm: makes the layers named in `placed`; the others are plain.
        placed: `head`, or for a dueling head any of `value` and `advantage`.
        dueling: whether to make a `DuelingHead`.
        atoms: (Z,) for a `CategoricalHead`; empty for numbers.
    """
    if dueling:
        head: nn.Module = DuelingHead(num_features, num_actions, norm, placed, len(atoms))
        return CategoricalHead(head, atoms) if atoms else head
    layer = norm_at("head", norm, placed).linear(num_features, num_actions * max(1, len(atoms)))
    if not atoms:
        return layer
    shape = nn.Unflatten(-1, (num_actions, len(atoms)))
    return CategoricalHead(nn.Sequential(OrderedDict(layer=layer, shape=shape)), atoms)
