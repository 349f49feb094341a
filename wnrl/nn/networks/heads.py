"""Heads, which turn features into values of actions, or into a policy and a value.

Dimension key: B batch, A actions, F features.
"""

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor, nn

from wnrl.nn.norms.catalogue import NONE
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm


class PolicyValue(NamedTuple):
    """Output of an actor-critic on observations; (T, B) in place of (B,) on sequences."""

    logits: Tensor  # (B, A) the policy's
    value: Tensor  # (B,)


class DuelingHead(nn.Module):
    """Q = V + A - mean_a A from shared features, one linear layer each: (..., F) -> (..., A).

    Source: Wang et al. 2016, arXiv 1511.06581, eq. 9 (there each stream has its own hidden layer;
    here both share the torso's last layer).
    """

    def __init__(
        self, num_features: int, num_actions: int, norm: Norm = NONE, placed: Collection[str] = ()
    ) -> None:
        """Make both layers.

        Args:
            num_features: F.
            num_actions: A.
            norm: makes the layers named in `placed`; the others are plain.
            placed: any of `value` and `advantage`.
        """
        super().__init__()
        self.value = norm_at("value", norm, placed).linear(num_features, 1)
        self.advantage = norm_at("advantage", norm, placed).linear(num_features, num_actions)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., A)."""
        advantage: Tensor = self.advantage(features)
        value: Tensor = self.value(features)
        return value + advantage - advantage.mean(dim=-1, keepdim=True)  # eq. 9
