"""Weight-normalizing optimizers with the interface that Stable-Baselines3 expects.

Stable-Baselines3 passes one list of parameters, writes `lr` into the groups, clips the gradients
before the step (of w, not of g and v), and loads the `state_dict` of a checkpoint. Which optimizer
a policy gets is decided in `wnrl.sb3.optimizer_choice`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop

_MARK = "_weight_normalized"
_STATE = "weight_norm_state"  # our key in a state that torch's optimizer can read


def mark_weights_(network: nn.Module) -> None:
    """Mark the weights of layers with storage "w", for an optimizer that only gets parameters."""
    for group in weight_norm_groups(network):
        for parameter in group["params"]:
            setattr(parameter, _MARK, group["weight_norm"])


class InOneList(torch.optim.Optimizer):
    """Mixin that goes before an optimizer of `wnrl.optim`.

    It takes parameters in one list and normalizes those that are marked. Torch's optimizer of the
    same rule can load its `state_dict`, and the reverse. The moments then start from zero, because
    moments of g and v mean nothing to a step in w.
    """

    plain: type[torch.optim.Optimizer]  # torch's optimizer of the same rule

    def __init__(self, params: Iterable[nn.Parameter], *arguments: Any, **settings: Any) -> None:
        parameters = list(params)
        groups = [
            {"params": chosen, "weight_norm": marked}
            for marked in (True, False)
            if (chosen := [p for p in parameters if getattr(p, _MARK, False) == marked])
        ]
        super().__init__(groups, *arguments, **settings)

    def state_dict(self) -> dict[str, Any]:
        """Return a state like torch's before its first step, with the real one under our key."""
        state = super().state_dict()
        plain: Any = self.plain
        defaults = plain([torch.zeros(1)]).defaults
        first = state["param_groups"][0]
        count = sum(len(group["params"]) for group in state["param_groups"])
        group = {name: first.get(name, default) for name, default in defaults.items()}
        return {
            "state": {},
            "param_groups": [{**group, "params": list(range(count)), _STATE: state}],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore our own state; from torch's, take only the learning rate."""
        first = state_dict["param_groups"][0]
        if _STATE in first and not state_dict["state"]:  # torch's optimizer has not stepped since
            super().load_state_dict(first[_STATE])
            return
        self.state.clear()
        for group in self.param_groups:
            group["lr"] = first["lr"]


def start_again_with_other_parameters(
    optimizer: torch.optim.Optimizer, state_dict: dict[str, Any]
) -> dict[str, Any] | None:
    """Replace a state for other parameters, those of w for g and v, by an empty one; a load hook.

    Only its learning rate stays.
    """
    if _sizes(state_dict) == _sizes(own := optimizer.state_dict()):
        return None
    rate = state_dict["param_groups"][0]["lr"]
    return {"state": {}, "param_groups": [{**group, "lr": rate} for group in own["param_groups"]]}


def _sizes(state_dict: dict[str, Any]) -> list[int]:
    return [len(group["params"]) for group in state_dict["param_groups"]]


class PolicyWNAdam(InOneList, WNAdam):
    """`WNAdam`, for the parameters of a policy."""

    plain = torch.optim.Adam


class PolicyWNAdamax(InOneList, WNAdamax):
    """`WNAdamax`, for the parameters of a policy."""

    plain = torch.optim.Adamax


class PolicyWNRAdam(InOneList, WNRAdam):
    """`WNRAdam`, for the parameters of a policy."""

    plain = torch.optim.RAdam


class PolicyWNRMSprop(InOneList, WNRMSprop):
    """`WNRMSprop`, for the parameters of a policy."""

    plain = torch.optim.RMSprop


class PolicyWNSGD(InOneList, WNSGD):
    """`WNSGD`, for the parameters of a policy."""

    plain = torch.optim.SGD
