"""Copies of trained policies, which `copy.deepcopy` and `pickle` refuse for actor-critics.

An actor-critic keeps the distribution of its last forward pass, and with it that pass's graph.
"""

import copy
from typing import TypeVar

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

Policy = TypeVar("Policy", bound=BasePolicy)


def clone_policy(policy: Policy) -> Policy:
    """An independent copy of a policy, stock or normalized, trained or not, with its optimizer.

    What is copied are weights, statistics, modes and the optimizer's state; the distribution of the
    last forward pass is not.
    """
    memo = {}
    last = getattr(policy, "action_dist", None)
    if isinstance(last, Distribution):
        memo[id(last)] = without_graph(last)  # deepcopy takes it for the copy
    return copy.deepcopy(policy, memo)


def without_graph(distribution: Distribution) -> Distribution:
    """The same action distribution before a forward pass; gSDE's noise stays, detached."""
    made = copy.copy(distribution)
    for name, value in vars(distribution).items():
        if isinstance(value, Tensor):
            setattr(made, name, value.detach())
        elif _of_last_pass(value):
            delattr(made, name)
    return made


def _of_last_pass(value: object) -> bool:
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(part, torch.distributions.Distribution) for part in parts)
