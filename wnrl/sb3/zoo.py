"""Policy classes with a normalization in their name, for programs that take only a class.

RL Baselines3 Zoo loads a policy by its dotted name, and its tuning replaces `policy_kwargs` as a
whole, so a `norm` in it would be lost. `wnrl.sb3.zoo.WNSACPolicy_layer` is `WNSACPolicy` whose
default `norm` is `layer`: any class of `wnrl.sb3` or `wnrl.sb3.contrib`, an underscore, and any
normalization of the catalogue, with underscores for hyphens (`WNCnnPolicy_weight_mean`).
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from wnrl._settings import nearest
from wnrl.nn.norms.catalogue import NORMS
from wnrl.sb3 import policies
from wnrl.sb3.policies import NormalizedPolicy


def __getattr__(name: str) -> type[NormalizedPolicy]:
    """Make the class of this name, once, so that pickled models find the same class.

    Raises:
        AttributeError: one sentence with the policies or normalizations that there are.
    """
    policy, _, spelled = name.partition("_")
    norms = {norm.replace("-", "_"): norm for norm in NORMS}
    kinds = _policies()
    if name.startswith("__") or not spelled:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for part, allowed in ((policy, kinds), (spelled, norms)):
        if part not in allowed:
            raise AttributeError(
                f"{__name__}.{name}: {part!r} is unknown; allowed are {', '.join(allowed)}"
                + nearest(part, allowed)
            )
    members = {
        "__module__": __name__,
        "__doc__": f"`{policy}` with the default norm `{norms[spelled]}`.",
        "norm": norms[spelled],
    }
    made: Any = type(name, (kinds[policy],), members)
    globals()[name] = made
    kind: type[NormalizedPolicy] = made
    return kind


def _policies() -> dict[str, type[NormalizedPolicy]]:
    """Return the policy classes by name; sb3-contrib's only if it is installed."""
    modules = [policies, *([import_module("wnrl.sb3.contrib")] if find_spec("sb3_contrib") else [])]
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if name.startswith("WN") and issubclass(kind, NormalizedPolicy)
    }
