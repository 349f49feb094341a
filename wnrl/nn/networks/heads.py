"""Heads: what turns features into values of actions, or into a policy and a value.

Dimension key: B batch, A actions, F features.
"""

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor, nn

from wnrl.nn.norms.catalogue import NONE
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm


class PolicyValue(NamedTuple):
    """What an actor-critic says about observations; of sequences with (T, B) in place of (B,)."""

    logits: Tensor  # (B, A) of the policy
    value: Tensor  # (B,)


class DuelingHead(nn.Module):
    """Q = V + A - mean_a A from shared features, one linear layer each: (..., F) -> (..., A).

    Source: Wang et al. 2016, arXiv 1511.06581, eq. 9 (there each stream has a hidden layer of its
    own; here both share the torso's last).
    """

    def __init__(
        self, num_features: int, num_actions: int, norm: Norm = NONE, placed: Collection[str] = ()
    ) -> None:
        """Make both layers, by `norm` where `placed` holds their name: value, advantage."""
        super().__init__()
        self.value = norm_at("value", norm, placed).linear(num_features, 1)
        self.advantage = norm_at("advantage", norm, placed).linear(num_features, num_actions)

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) -> (..., A)."""
        advantage: Tensor = self.advantage(features)
        value: Tensor = self.value(features)
        return value + advantage - advantage.mean(dim=-1, keepdim=True)  # eq. 9
