"""Copies of trained policies with an actor, which `copy.deepcopy` and `pickle` refuse.

The reason is that they keep the distribution of their last forward pass, with its graph.
"""

import copy
from typing import TypeVar

from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

Policy = TypeVar("Policy", bound=BasePolicy)


def clone_policy(policy: Policy) -> Policy:
    """Return an independent copy of a policy, stock or normalized, with its optimizer.

    Weights, statistics, modes and the optimizer's state are copied; the distribution of the last
    forward pass is not.
    """
    memo = {}
    for network in policy.modules():  # the policy or its actor has a distribution
        distribution = getattr(network, "action_dist", None)
        if distribution is not None:
            memo[id(distribution)] = without_graph(distribution)  # deepcopy uses it as the copy
    return copy.deepcopy(policy, memo)


def without_graph(distribution: Distribution) -> Distribution:
    """Return the action distribution before any forward pass; gSDE's noise stays, detached."""
    copied = copy.copy(distribution)
    for graph in ("distribution", "weights_dist"):  # torch's, of the last pass and of gSDE's noise
        copied.__dict__.pop(graph, None)
    for name, value in vars(copied).items():
        if isinstance(value, Tensor):
            setattr(copied, name, value.detach())
    return copied
