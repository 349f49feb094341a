"""The algorithm that builds a policy, and the policy that builds a features extractor.

They decide whether a policy is the right one and which storage its weights need, but
Stable-Baselines3 does not pass them on, so they are found on the call stack. Every algorithm builds
its policy in `_setup_model`, also when a model is loaded. A policy that is built without an
algorithm (`policy.load`) has none.
"""

import inspect
import warnings
from collections.abc import Collection
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from wnrl._settings import UsageError
from wnrl.nn.norms.record import Norm
from wnrl.optim.normalizing_step import NormalizingOptimizer

_KINDS = ("Mlp", "Cnn", "MultiInput")  # of observations
# Classes for these kinds by algorithm; algorithms in one tuple share their classes.
_POLICIES: dict[tuple[str, ...], tuple[str, str, str]] = {
    ("DQN",): ("WNMlpPolicy", "WNCnnPolicy", "WNMultiInputPolicy"),
    ("PPO", "A2C"): (
        "WNActorCriticMlpPolicy",
        "WNActorCriticCnnPolicy",
        "WNActorCriticMultiInputPolicy",
    ),
    ("SAC",): ("WNSACPolicy", "WNSACCnnPolicy", "WNSACMultiInputPolicy"),
    ("TD3", "DDPG"): ("WNTD3Policy", "WNTD3CnnPolicy", "WNTD3MultiInputPolicy"),
    ("TRPO",): (
        "WNActorCriticMlpPolicy",
        "WNActorCriticCnnPolicy",
        "WNActorCriticMultiInputPolicy",
    ),
    ("QRDQN",): ("WNQRDQNMlpPolicy", "WNQRDQNCnnPolicy", "WNQRDQNMultiInputPolicy"),
    ("RecurrentPPO",): (
        "WNRecurrentMlpPolicy",
        "WNRecurrentCnnPolicy",
        "WNRecurrentMultiInputPolicy",
    ),
    ("TQC",): ("WNTQCPolicy", "WNTQCCnnPolicy", "WNTQCMultiInputPolicy"),
    ("CrossQ",): ("WNCrossQPolicy", "WNCrossQPolicy", "WNCrossQPolicy"),  # vectors only
}
_IN_CONTRIB = ("QRDQN", "RecurrentPPO", "TQC", "CrossQ")  # in wnrl.sb3.contrib
# Algorithms without a policy here, and why. Others, among them users' own, are not judged.
_WITHOUT = {
    "ARS": "it searches without gradients, so no optimizer can normalize its weights",
    "MaskablePPO": "its policies take action masks",
}


def _caller(method: str, kind: type) -> Any:
    """Return the nearest object of a class in whose method of this name we are, or None."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == method:
            owner = frame.f_locals.get("self")
            if isinstance(owner, kind):
                return owner
        frame = frame.f_back
    return None


def algorithm_names() -> tuple[str, ...]:
    """Return the class names of the algorithm that is building a policy, its bases last."""
    algorithm = _caller("_setup_model", BaseAlgorithm)
    return () if algorithm is None else tuple(kind.__name__ for kind in type(algorithm).__mro__)


def check_algorithm(policy: type, owners: Collection[str]) -> None:
    """Refuse a policy that another algorithm builds.

    Args:
        policy: class of the policy.
        owners: names of the algorithms that it is for.

    Raises:
        UsageError: one sentence with the class for the algorithm.
    """
    names = algorithm_names()
    if not names or set(owners) & set(names):
        return
    kind = next((each for each in _KINDS if each in policy.__name__), "Mlp")
    *others, last = (f"{owner}'s" for owner in owners)
    belongs = f"{policy.__name__} is {' and '.join(filter(None, (', '.join(others), last)))}"
    for algorithms, classes in _POLICIES.items():
        if set(algorithms) & set(names):
            place = " (wnrl.sb3.contrib)" if set(algorithms) & set(_IN_CONTRIB) else ""
            right = f"{classes[_KINDS.index(kind)]}{place}"
            raise UsageError(f"{belongs}; for {' and '.join(algorithms)} take {right}")
    for name in names:
        if name in _WITHOUT:
            raise UsageError(
                f"{belongs}; wnrl.sb3 has no policy for {name}, because {_WITHOUT[name]}: take one "
                "of its own policies"
            )


def in_storage_of_algorithm(norm: Norm) -> Norm:
    """Return the normalization with weights that the building algorithm steps correctly.

    TRPO steps an actor's Parameters itself, by the natural gradient. It can step gains and vectors,
    but not plain weights as weight-normalized ones, which only an optimizer of ours does.
    """
    return norm.in_storage("gv") if "TRPO" in algorithm_names() else norm


def check_extractor_steps(extractor: type, norm: Norm) -> None:
    """Refuse or warn if the policy that builds an extractor steps its weights as plain ones.

    Args:
        extractor: class of an extractor whose weights an optimizer of ours must step.
        norm: its normalization.

    Raises:
        UsageError: the algorithm is TRPO.
    """
    policy = _caller("make_features_extractor", BasePolicy)
    kind = None if policy is None else policy.optimizer_class
    done = f"norm {norm.name!r} of {extractor.__name__} is done by the optimizer"
    if "TRPO" in algorithm_names():
        raise UsageError(
            f"{done}, and TRPO steps the actor without one: take WNActorCriticCnnPolicy as policy"
        )
    if kind is not None and not issubclass(kind, NormalizingOptimizer):
        warnings.warn(
            f"{done}, and {kind.__name__} does not do it: for DQN, PPO, A2C, SAC, TD3, DDPG and "
            f"TQC give policy_kwargs=wnrl.sb3.policy_kwargs({norm.name!r}, algorithm=...), or "
            "choose another norm",
            stacklevel=2,
        )
