"""The table of update rules: those of `OptimizerSpec`, and users' own. It needs no torch."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from wnrl._settings import SettingError, UsageError

if TYPE_CHECKING:
    import torch

# Makes an optimizer from parameter groups and the `OptimizerSpec` with the run's settings.
MakeOptimizer = Callable[[list[dict[str, Any]], Any], "torch.optim.Optimizer"]

_BUILT_IN: dict[str, Any] = dict.fromkeys(("adam", "adamax", "radam", "rmsprop", "rmsprop-tf"))
REGISTERED: dict[str, MakeOptimizer] = {}
OPTIMIZER_NAMES: Collection[str] = ChainMap(REGISTERED, _BUILT_IN)


def register_optimizer(name: str, make: MakeOptimizer) -> None:
    """Add an update rule, for `--optimizer` and `OptimizerSpec`.

    It steps plain weights. With weight normalization it needs `weight_storage="gv"`, where g and v
    are plain parameters.

    Args:
        name: its name.
        make: makes a torch optimizer from parameter groups and an `OptimizerSpec`; gradients are
            clipped before its steps.

    Raises:
        UsageError: the name is taken or empty.
    """
    if not name or name in OPTIMIZER_NAMES:
        raise UsageError(f"optimizer {name!r} is taken or empty: choose another name")
    REGISTERED[name] = make


def check_marked(name: str, marked: bool) -> None:
    """Refuse to step weights that only `OptimizerSpec`'s own rules can step.

    Args:
        name: an update rule.
        marked: whether the network has weight-normalized weights with storage w.

    Raises:
        SettingError: it would not be weight normalization.
    """
    if marked and name in REGISTERED:
        raise SettingError(
            "optimizer",
            f"{name!r} is your own and does not step g and v of weight-normalized weights; give "
            f"weight_storage gv too, or one of {', '.join(_BUILT_IN)}",
        )
