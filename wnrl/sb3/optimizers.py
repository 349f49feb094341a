"""Weight-normalizing optimizers as Stable-Baselines3 wants one.

It gives an optimizer one list of parameters, writes `lr` into its groups, clips the gradients
before the step by itself (dL/dw, which is not the gradient of g and v), and loads whatever
`state_dict` a checkpoint has. Not here: which one a policy gets (wnrl.sb3.optimizer_choice).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop

_MARK = "_weight_normalized"
_STATE = "weight_norm_state"  # key of ours in the state that torch's optimizer reads


def mark_weights_(network: nn.Module) -> None:
    """Mark the weights of layers with storage "w", for an optimizer that sees parameters alone."""
    for group in weight_norm_groups(network):
        for parameter in group["params"]:
            setattr(parameter, _MARK, group["weight_norm"])


class InOneList(torch.optim.Optimizer):
    """What the classes below share. It stands before one of `wnrl.optim`'s.

    It takes parameters in one list and normalizes those that are marked. Its `state_dict` is one
    that torch's optimizer of the same rule can load, and the other way round: what was learnt goes
    over with the weights, while the moments begin anew, for those of g and v mean nothing to a
    step in w.
    """

    plain: type[torch.optim.Optimizer]  # of the same rule

    def __init__(self, params: Iterable[nn.Parameter], *arguments: Any, **settings: Any) -> None:
        listed = list(params)
        groups = [
            {"params": chosen, "weight_norm": flag}
            for flag in (True, False)
            if (chosen := [p for p in listed if getattr(p, _MARK, False) == flag])
        ]
        super().__init__(groups, *arguments, **settings)

    def state_dict(self) -> dict[str, Any]:
        """One group without state, as torch's own before its first step; ours is inside."""
        own = super().state_dict()
        plain: Any = self.plain
        settings = plain([torch.zeros(1)]).defaults
        first = own["param_groups"][0]
        count = sum(len(group["params"]) for group in own["param_groups"])
        group = {name: first.get(name, default) for name, default in settings.items()}
        return {
            "state": {},
            "param_groups": [{**group, "params": list(range(count)), _STATE: own}],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the state was taken; from torch's own, begin anew at its learning rate."""
        first = state_dict["param_groups"][0]
        if _STATE in first and not state_dict["state"]:  # torch's has not stepped since
            super().load_state_dict(first[_STATE])
            return
        self.state.clear()
        for group in self.param_groups:
            group["lr"] = first["lr"]


class PolicyWNAdam(InOneList, WNAdam):
    """`WNAdam` of a policy's parameters."""

    plain = torch.optim.Adam


class PolicyWNAdamax(InOneList, WNAdamax):
    """`WNAdamax` of a policy's parameters."""

    plain = torch.optim.Adamax


class PolicyWNRAdam(InOneList, WNRAdam):
    """`WNRAdam` of a policy's parameters."""

    plain = torch.optim.RAdam


class PolicyWNRMSprop(InOneList, WNRMSprop):
    """`WNRMSprop` of a policy's parameters."""

    plain = torch.optim.RMSprop


class PolicyWNSGD(InOneList, WNSGD):
    """`WNSGD` of a policy's parameters."""

    plain = torch.optim.SGD
