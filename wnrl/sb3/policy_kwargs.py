"""A normalization for those who keep the stock policies and their names, as `"CnnPolicy"`."""

from collections.abc import Mapping
from typing import Any

from wnrl._settings import UsageError, nearest
from wnrl.sb3.extractors import WNNatureCNN
from wnrl.sb3.norm_arguments import find_norm
from wnrl.sb3.optimizers import InOneList, PolicyWNAdam, PolicyWNRMSprop

# The form of the optimizer that an algorithm takes unless told otherwise.
_OPTIMIZERS: dict[str, tuple[type[InOneList], dict[str, Any]]] = {
    "DQN": (PolicyWNAdam, {}),
    "PPO": (PolicyWNAdam, {"eps": 1e-5}),  # ActorCriticPolicy.__init__
    "A2C": (PolicyWNRMSprop, {"alpha": 0.99, "eps": 1e-5}),  # A2C.__init__
}


def policy_kwargs(
    norm: str = "weight",
    *,
    algorithm: str = "PPO",
    norm_where: str = "torso",
    norm_settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What makes a stock `"CnnPolicy"` normalized: `policy_kwargs=policy_kwargs("weight")`.

    Its features extractor is normalized. Its heads are Stable-Baselines3's and stay plain, and so
    is the MLP of `"MlpPolicy"`: for that, and for every normalization that acts after a step, there
    are the policy classes.

    Args:
        norm: name of a normalization.
        algorithm: DQN, PPO or A2C, whose own optimizer gets its weight-normalizing form.
        norm_where: layers of the extractor, as `WNNatureCNN`.
        norm_settings: parameters of the normalization by name.

    Returns:
        A new dict, of what can be pickled by reference.

    Raises:
        UsageError: no such normalization, parameter or algorithm.
    """
    record = find_norm(norm, norm_settings or {})
    if algorithm not in _OPTIMIZERS:
        raise UsageError(
            f"algorithm is {algorithm!r}: allowed are {', '.join(_OPTIMIZERS)}"
            + nearest(algorithm, _OPTIMIZERS)
        )
    chosen: dict[str, Any] = {
        "features_extractor_class": WNNatureCNN,
        "features_extractor_kwargs": {
            "norm": norm,
            "norm_where": norm_where,
            "norm_settings": dict(norm_settings or {}),
        },
        "net_arch": [],  # as with NatureCNN, which stock policies know by its class
    }
    if record.weight_vectors:
        kind, settings = _OPTIMIZERS[algorithm]
        chosen |= {"optimizer_class": kind, "optimizer_kwargs": dict(settings)}
    return chosen
