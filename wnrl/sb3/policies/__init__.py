"""Policies of Stable-Baselines3's algorithms with a normalization.

Stable-Baselines3's own class builds and initializes a policy. Then its layers are normalized and it
gets new optimizers. The classes differ from the stock ones by a mixin, which can go before any
policy of the same kind: `class Mine(NormalizedActorCritic, MyActorCriticPolicy): ...`. Policies of
sb3-contrib's algorithms do not belong here, because sb3-contrib may be missing.
"""

from wnrl.sb3.policies.actor_critic import (
    NormalizedActorCritic,
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNActorCriticMultiInputPolicy,
)
from wnrl.sb3.policies.base import NormalizedPolicy
from wnrl.sb3.policies.continuous import (
    NormalizedSAC,
    NormalizedTD3,
    WNSACCnnPolicy,
    WNSACMultiInputPolicy,
    WNSACPolicy,
    WNTD3CnnPolicy,
    WNTD3MultiInputPolicy,
    WNTD3Policy,
)
from wnrl.sb3.policies.values import (
    NormalizedValues,
    WNCnnPolicy,
    WNMlpPolicy,
    WNMultiInputPolicy,
)

__all__ = [
    "NormalizedActorCritic",
    "NormalizedPolicy",
    "NormalizedSAC",
    "NormalizedTD3",
    "NormalizedValues",
    "WNActorCriticCnnPolicy",
    "WNActorCriticMlpPolicy",
    "WNActorCriticMultiInputPolicy",
    "WNCnnPolicy",
    "WNMlpPolicy",
    "WNMultiInputPolicy",
    "WNSACCnnPolicy",
    "WNSACMultiInputPolicy",
    "WNSACPolicy",
    "WNTD3CnnPolicy",
    "WNTD3MultiInputPolicy",
    "WNTD3Policy",
]
