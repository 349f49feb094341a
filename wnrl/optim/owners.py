"""Weights that a weight-normalizing optimizer would misread, told by the modules that hold them.

An optimizer is given Parameters without their modules. A weight that torch itself normalizes, and
the weight of a transposed convolution, look like any other, so the modules that the garbage
collector knows are looked through, which takes some 0.1 s per million objects. Those that
`gc.freeze` took away from it are not found. Nothing is asked of a group that has `weight_norm`.
"""

import gc
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from wnrl._settings import UsageError


class _Held(NamedTuple):
    """A Parameter in a module."""

    module: nn.Module
    name: str
    value: Tensor


def check_owners(optimizer: str, parameters: Sequence[Tensor]) -> None:
    """Raise a UsageError if the rows of a Parameter are not the weights of one output unit each.

    Args:
        optimizer: its name, for the message.
        parameters: a group's, in the order of `module.parameters()`.
    """
    pairs = [(g, v) for g, v in pairwise(parameters) if _like_gain(g, v)]
    held = list(_held([g for g, _ in pairs] + [p for p in parameters if p.ndim >= 2]))
    for each in held:
        if _is_original(each):
            raise UsageError(
                f"{optimizer} got the parameter {each.name} {tuple(each.value.shape)}, from which "
                "torch computes a weight (spectral_norm or another parametrization), so the weight "
                "would be normalized twice: use torch's optimizer, pass weight_norm_groups(module),"
                " or first remove it (remove_spectral_norm, or "
                "parametrize.remove_parametrizations)"
            )
        if each.name == "weight" and getattr(each.module, "transposed", False):
            raise UsageError(
                f"{optimizer} got the weight {tuple(each.value.shape)} of a transposed "
                "convolution, whose output channels are not axis 0: its gains would be per input "
                "channel; pass weight_norm_groups(module), or {'params': ..., 'weight_norm': "
                "False} for it"
            )
    gains = [g for g, v in pairs if _is_norm(g, v)]  # as made; later the module tells
    gains += [each.value for each in held if _is_gain(each)]
    if gains:
        raise UsageError(
            f"{optimizer} got a gain of shape {tuple(gains[0].shape)} of torch's own weight norm, "
            "whose weights would be normalized twice: use torch's optimizer, or first remove it "
            "(remove_weight_norm, or parametrize.remove_parametrizations)"
        )


def _held(parameters: Sequence[Tensor]) -> Iterator[_Held]:
    """Yield each place in which a module that is alive holds one of the Parameters."""
    wanted = {id(parameter) for parameter in parameters}
    for found in gc.get_objects() if wanted else ():
        if issubclass(type(found), nn.Module):  # isinstance would ask proxies and wake lazy ones
            for name, value in found.__dict__.get("_parameters", {}).items():
                if id(value) in wanted:
                    yield _Held(found, name, value)


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


def _is_gain(held: _Held) -> bool:
    """Return whether it is a gain of torch's weight norm, as a hook or as a parametrization."""
    others = held.module._parameters
    hooked = held.name.endswith("_g") and f"{held.name[:-2]}_v" in others
    return hooked or (held.name == "original0" and "original1" in others)


def _is_original(held: _Held) -> bool:
    """Return whether torch computes a weight from it; pruned weights only are masked."""
    if held.name == "original":
        return isinstance(held.module, ParametrizationList)
    weight = held.name.removesuffix("_orig")  # of a SpectralNorm hook
    return weight != held.name and f"{weight}_u" in held.module._buffers
