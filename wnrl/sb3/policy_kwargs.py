"""A normalization for stock policies, which keep their names such as `"CnnPolicy"`."""

from collections.abc import Mapping
from typing import Any

from wnrl._settings import SettingError, nearest
from wnrl.sb3.extractors import WNNatureCNN
from wnrl.sb3.norm_arguments import find_norm
from wnrl.sb3.optimizers import InOneList, PolicyWNAdam, PolicyWNRMSprop

# By algorithm, the weight-normalizing form of its default optimizer, and the `net_arch` that its
# stock policies have after NatureCNN.
_OPTIMIZERS: dict[str, tuple[type[InOneList], dict[str, Any], list[int]]] = {
    "DQN": (PolicyWNAdam, {}, []),
    "PPO": (PolicyWNAdam, {"eps": 1e-5}, []),  # ActorCriticPolicy.__init__
    "A2C": (PolicyWNRMSprop, {"alpha": 0.99, "eps": 1e-5}, []),  # A2C.__init__
    "SAC": (PolicyWNAdam, {}, [256, 256]),
    "TD3": (PolicyWNAdam, {}, [256, 256]),
    "DDPG": (PolicyWNAdam, {}, [256, 256]),
    "TQC": (PolicyWNAdam, {}, [256, 256]),
}


def policy_kwargs(
    norm: str = "weight",
    *,
    algorithm: str = "PPO",
    norm_where: str = "",
    norm_settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what normalizes a stock `"CnnPolicy"`: `policy_kwargs=policy_kwargs("weight")`.

    Only its features extractor is normalized; Stable-Baselines3's heads stay plain. Use the policy
    classes of `wnrl.sb3` for `"MlpPolicy"` and for normalizations that act after a step.

    Args:
        norm: name of a normalization.
        algorithm: DQN, PPO, A2C, SAC, TD3, DDPG or TQC; it decides the optimizer.
        norm_where: layers of the extractor, as in `WNNatureCNN`.
        norm_settings: parameters of the normalization by name.

    Returns:
        A new dict, which can be pickled.

    Raises:
        UsageError: an unknown normalization, parameter or algorithm.
    """
    record = find_norm(norm, norm_settings or {})
    if algorithm not in _OPTIMIZERS:
        raise SettingError(
            "algorithm",
            f"{algorithm!r} is unknown; allowed: {', '.join(_OPTIMIZERS)}"
            + nearest(algorithm, _OPTIMIZERS),
        )
    kind, settings, net_arch = _OPTIMIZERS[algorithm]
    chosen: dict[str, Any] = {
        "features_extractor_class": WNNatureCNN,
        "features_extractor_kwargs": {
            "norm": norm,
            "norm_where": norm_where,
            "norm_settings": dict(norm_settings or {}),
        },
        "net_arch": list(net_arch),
    }
    if record.weight_vectors:
        chosen |= {"optimizer_class": kind, "optimizer_kwargs": dict(settings)}
    return chosen
