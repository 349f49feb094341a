"""Policies with every normalization, and a fast Atari environment, for Stable-Baselines3.

Write `PPO(WNActorCriticCnnPolicy, env)` instead of `PPO("CnnPolicy", env)`. Policies for
sb3-contrib are in `wnrl.sb3.contrib`. `AtariVecEnv("Breakout", 8)` is a faster `make_atari_env`.
Normalizations themselves and our own agents do not belong here.
"""

from importlib.metadata import version

OLDEST_SB3 = (2, 7)
NEXT_SB3 = 3  # the first major version that is not tested


def check_version(installed: str) -> None:
    """Refuse a Stable-Baselines3 whose policies may be built in another way.

    Raises:
        ImportError: one sentence with the versions and what to install.
    """
    major, minor = (int(part) for part in installed.split(".")[:2])
    if not OLDEST_SB3 <= (major, minor) < (NEXT_SB3, 0):
        oldest = ".".join(map(str, OLDEST_SB3))
        raise ImportError(
            f"wnrl.sb3 works with stable-baselines3 from {oldest} to below {NEXT_SB3}, and "
            f"{installed} is installed: pip install 'stable-baselines3>={oldest},<{NEXT_SB3}'"
        )


check_version(version("stable-baselines3"))

# After the check: another version may lack names that these modules import.
from wnrl.sb3.atari_vec_env import AtariVecEnv  # noqa: E402
from wnrl.sb3.callback import SB3NormCallback  # noqa: E402
from wnrl.sb3.clone_policy import clone_policy  # noqa: E402
from wnrl.sb3.extractors import TorsoDescription, WNImpalaCNN, WNNatureCNN, WNTorso  # noqa: E402
from wnrl.sb3.policies import (  # noqa: E402
    NormalizedActorCritic,
    NormalizedSAC,
    NormalizedTD3,
    NormalizedValues,
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNActorCriticMultiInputPolicy,
    WNCnnPolicy,
    WNMlpPolicy,
    WNMultiInputPolicy,
    WNSACCnnPolicy,
    WNSACMultiInputPolicy,
    WNSACPolicy,
    WNTD3CnnPolicy,
    WNTD3MultiInputPolicy,
    WNTD3Policy,
)
from wnrl.sb3.policy_kwargs import policy_kwargs  # noqa: E402

__all__ = [
    "AtariVecEnv",
    "NormalizedActorCritic",
    "NormalizedSAC",
    "NormalizedTD3",
    "NormalizedValues",
    "SB3NormCallback",
    "TorsoDescription",
    "WNActorCriticCnnPolicy",
    "WNActorCriticMlpPolicy",
    "WNActorCriticMultiInputPolicy",
    "WNCnnPolicy",
    "WNImpalaCNN",
    "WNMlpPolicy",
    "WNMultiInputPolicy",
    "WNNatureCNN",
    "WNSACCnnPolicy",
    "WNSACMultiInputPolicy",
    "WNSACPolicy",
    "WNTD3CnnPolicy",
    "WNTD3MultiInputPolicy",
    "WNTD3Policy",
    "WNTorso",
    "clone_policy",
    "policy_kwargs",
]
