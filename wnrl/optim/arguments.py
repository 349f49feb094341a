"""Arguments of optimizers: their types, their checks, and ||v|| at the first step."""

import math
from typing import Any

import torch
from torch import Tensor

from wnrl._settings import UsageError, nearest

PAPER_WEIGHT_STD = 0.05  # v ~ N(0, 0.05^2) (section 3), so ||v|| is about 0.05 sqrt(fan_in)

Group = dict[str, Any]  # a parameter group
VNorm = str | Tensor  # ||v|| at the first step: weight, paper, unit, or a tensor () or (O,)

_V_NORMS = ("weight", "paper", "unit")


def starting_norm(v_norm: VNorm, gain: Tensor, fan_in: int) -> Tensor:
    """Return n = ||v|| (O, 1) at the first step.

    Args:
        v_norm: "weight" (||w||), "paper" (0.05 sqrt(fan_in)), "unit", or a tensor () or (O,).
        gain: |g| = ||w|| (O, 1).
        fan_in: elements of a row.

    Raises:
        UsageError: a tensor of another shape.
    """
    if isinstance(v_norm, Tensor):
        if v_norm.shape not in ((), (gain.shape[0],)):
            raise UsageError(
                f"v_norm has shape {tuple(v_norm.shape)}: for a weight of {gain.shape[0]} output "
                f"units it must be () or ({gain.shape[0]},)"
            )
        return v_norm.to(gain).reshape(-1, 1).expand_as(gain).clone()
    fixed = {"paper": PAPER_WEIGHT_STD * math.sqrt(fan_in), "unit": 1.0}
    return torch.full_like(gain, fixed[v_norm]) if v_norm in fixed else gain.clone()


def normalized_by(axis: int | None) -> Group:
    """Return the settings of a group whose weights have this output axis; None: plain steps."""
    return {"weight_norm": axis is not None, **({"output_axis": axis} if axis else {})}


def output_axis(group: Group) -> int:
    """Return the axis of the output units of a group's weights."""
    return int(group.get("output_axis", 0))


def check_v_norm(v_norm: VNorm) -> None:
    """Raise a UsageError unless `v_norm` is a known word or a tensor of norms above 0."""
    if isinstance(v_norm, Tensor):
        if not bool((v_norm > 0).all()):
            raise UsageError(f"v_norm is {v_norm}: a norm must be above 0")
    elif v_norm not in _V_NORMS:
        raise UsageError(
            f"v_norm is {v_norm!r}: allowed are {', '.join(_V_NORMS)}, or a tensor"
            + nearest(str(v_norm), _V_NORMS)
        )


def check_max_v_norm(max_v_norm: float) -> None:
    """Raise a UsageError unless it is a number of at least 0."""
    if not max_v_norm >= 0:
        raise UsageError(
            f"max_v_norm is {max_v_norm}: it must be at least 0 (inf: free, 0: held at its start)"
        )


def checked_max_norm(max_norm: float) -> float:
    """Return the norm as a float; raise a UsageError unless it is above 0."""
    if not max_norm > 0:
        raise UsageError(f"max_norm is {max_norm}: it must be above 0; inf disables clipping")
    return float(max_norm)


def check_not_negative(settings: Group) -> None:
    """Raise a UsageError unless `lr` and `eps` are finite and at least 0."""
    for name in ("lr", "eps"):
        if not (settings[name] >= 0 and math.isfinite(settings[name])):
            raise UsageError(f"{name} is {settings[name]}: it must be finite and at least 0")


def check_betas(betas: tuple[float, float]) -> None:
    """Raise a UsageError unless these are two numbers in [0, 1)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise UsageError(f"betas are {betas}: they must be two numbers in [0, 1)")


def check_alpha(alpha: float) -> None:
    """Raise a UsageError unless it is in [0, 1)."""
    if not 0 <= alpha < 1:
        raise UsageError(f"alpha is {alpha}: it must be in [0, 1)")
