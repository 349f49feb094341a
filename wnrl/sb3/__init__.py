"""Weight normalization, and every other normalization of the catalogue, in Stable-Baselines3.

`PPO(WNActorCriticCnnPolicy, env)` in the place of `PPO("CnnPolicy", env)`. Policies for sb3-contrib
are in `wnrl.sb3.contrib`. `AtariVecEnv("Breakout", 8)` is a faster `make_atari_env`.
"""

from importlib.metadata import version

from wnrl.sb3.versions import check_version

check_version(version("stable-baselines3"))

# After the check: another version may not even have what they import.
from wnrl.sb3.atari_vec_env import AtariVecEnv  # noqa: E402
from wnrl.sb3.callback import SB3NormCallback  # noqa: E402
from wnrl.sb3.clone_policy import clone_policy  # noqa: E402
from wnrl.sb3.extractors import WNImpalaCNN, WNNatureCNN  # noqa: E402
from wnrl.sb3.policies import (  # noqa: E402
    NormalizedActorCritic,
    NormalizedValues,
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNActorCriticMultiInputPolicy,
    WNCnnPolicy,
    WNMlpPolicy,
    WNMultiInputPolicy,
)
from wnrl.sb3.policy_kwargs import policy_kwargs  # noqa: E402

__all__ = [
    "AtariVecEnv",
    "NormalizedActorCritic",
    "NormalizedValues",
    "SB3NormCallback",
    "WNActorCriticCnnPolicy",
    "WNActorCriticMlpPolicy",
    "WNActorCriticMultiInputPolicy",
    "WNCnnPolicy",
    "WNImpalaCNN",
    "WNMlpPolicy",
    "WNMultiInputPolicy",
    "WNNatureCNN",
    "clone_policy",
    "policy_kwargs",
]
