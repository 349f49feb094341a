"""Weights that a weight-normalizing optimizer would misread, told by the modules that hold them.

An optimizer is given Parameters without their modules. A weight that torch itself normalizes, and
the weight of a transposed convolution, look like any other, so the garbage collector is asked who
holds them. Nothing is asked of a group that has `weight_norm`.
"""

import gc
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from wnrl._settings import UsageError


def check_owners(optimizer: str, parameters: Sequence[Tensor]) -> None:
    """Raise a UsageError if the rows of a Parameter are not the weights of one output unit each.

    Args:
        optimizer: its name, for the message.
        parameters: a group's, in the order of `module.parameters()`.
    """
    pairs = [(g, v) for g, v in pairwise(parameters) if _like_gain(g, v)]
    suspects = [g for g, _ in pairs] + [p for p in parameters if p.ndim >= 2]
    held = list(_held(suspects))
    for name, value, holder in held:
        if (name == "original" or name.endswith("_orig")) and _reparameterized(name, holder):
            raise UsageError(
                f"{optimizer} got the parameter {name} {tuple(value.shape)}, from which torch "
                "computes a weight (spectral_norm or another parametrization), so the weight would "
                "be normalized twice: use torch's optimizer, pass weight_norm_groups(module), or "
                "first remove it (remove_spectral_norm, or parametrize.remove_parametrizations)"
            )
        if name == "weight" and value.ndim >= 3 and _attributes(holder).get("transposed"):
            raise UsageError(
                f"{optimizer} got the weight {tuple(value.shape)} of a transposed convolution, "
                "whose output channels are not axis 0: its gains would be per input channel; pass "
                "weight_norm_groups(module), or {'params': ..., 'weight_norm': False} for it"
            )
    gains = [g for g, v in pairs if _is_norm(g, v)]  # as made; later the module tells
    gains += [g for name, g, holder in held if _is_gain(name, holder)]
    if gains:
        raise UsageError(
            f"{optimizer} got a gain of shape {tuple(gains[0].shape)} of torch's own weight norm, "
            "whose weights would be normalized twice: use torch's optimizer, or first remove it "
            "(remove_weight_norm, or parametrize.remove_parametrizations)"
        )


def _held(parameters: Sequence[Tensor]) -> Iterator[tuple[str, Tensor, dict[Any, Any]]]:
    """Yield each name, Parameter and dict that holds the Parameter under the name."""
    wanted = {id(parameter) for parameter in parameters}
    for holder in gc.get_referrers(*parameters) if parameters else ():
        if isinstance(holder, dict):
            for name, value in list(holder.items()):
                if id(value) in wanted:
                    yield str(name), value, holder


def _like_gain(g: Tensor, v: Tensor) -> bool:
    """Return whether g has the shape of torch's gain of v, for any of its `dim`."""
    if v.ndim < 2 or g.ndim not in (0, v.ndim):
        return False
    wide = [axis for axis, size in enumerate(g.shape) if size != 1]
    return len(wide) <= 1 and all(g.shape[axis] == v.shape[axis] for axis in wide)


def _is_norm(g: Tensor, v: Tensor) -> bool:
    """Return whether g is the norm of v."""
    if g.is_meta or not g.detach().any():
        return False
    others = [axis for axis in range(v.ndim) if g.ndim == 0 or g.shape[axis] == 1]
    norm = torch.linalg.vector_norm(v.detach(), dim=others, keepdim=g.ndim > 0)
    return norm.shape == g.shape and torch.allclose(norm, g.detach())


def _is_gain(name: str, holder: dict[Any, Any]) -> bool:
    hooked = name.endswith("_g") and f"{name[:-2]}_v" in holder
    return hooked or (name == "original0" and "original1" in holder)


def _reparameterized(name: str, parameters: dict[Any, Any]) -> bool:
    """Return whether torch computes a weight from the Parameter of this name; not if it prunes."""
    attributes = _attributes(parameters)
    if name == "original":
        return "is_tensor" in attributes  # a ParametrizationList
    return f"{name.removesuffix('_orig')}_u" in attributes.get("_buffers", {})  # SpectralNorm


def _attributes(parameters: dict[Any, Any]) -> dict[str, Any]:
    """Return the attributes of the module that has these Parameters; empty if there is none."""
    for holder in gc.get_referrers(parameters):
        attributes = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
        if attributes.get("_parameters") is parameters:
            return attributes
    return {}
