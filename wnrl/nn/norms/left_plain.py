"""Layers that a conversion leaves plain, named in one warning with the reasons."""

import warnings
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from wnrl.nn.weight_norm.layers import reparameterized
from wnrl.nn.weight_norm.parametrization import WeightNormalized

# Their parameters are gains and shifts, one per feature, or parts of a layer that is named itself.
_NOT_NAMED = (WeightNormalized, nn.LayerNorm, nn.RMSNorm, _NormBase, ParametrizationList)


class _LeftPlain(NamedTuple):
    """A layer or Parameter that stays plain."""

    name: str
    reason: str


def warn_of_plain(
    converter: str,
    module: nn.Module,
    where: Callable[[str, nn.Module], bool],
    kinds: Collection[type[nn.Module]],
) -> None:
    """Warn, in one line, of layers with weights that stay plain, and say why.

    Matrices outside torch's layers are named too. One with a single row is not: it is no weight
    but a bias, a `log_std` or an embedding of positions.

    Args:
        converter: what leaves these layers plain, for the message.
        module: before or after its conversion.
        where: whether a layer is meant, by name and layer.
        kinds: types of the layers that are not left plain.
    """
    plain = [
        found
        for name, layer in module.named_modules()
        if type(layer) not in kinds and not isinstance(layer, _NOT_NAMED) and where(name, layer)
        for found in _left_plain(name, layer, kinds)
    ]
    if plain:
        shown = ", ".join(found.name for found in plain[:3])
        shown += f" and {len(plain) - 3} more" if len(plain) > 3 else ""
        reasons = "; ".join(dict.fromkeys(found.reason for found in plain))
        warnings.warn(f"{converter} leaves {shown} plain: {reasons}", stacklevel=3)


def _left_plain(
    name: str, layer: nn.Module, kinds: Collection[type[nn.Module]]
) -> Iterator[_LeftPlain]:
    """Yield the layer with the reason, or each of its matrices, or nothing."""
    kind = layer._get_name()  # torch's own name: a quantized layer's type may be called Linear
    shown = f"{name or 'the module'} ({kind})"
    like = next((plain.__name__ for plain in kinds if isinstance(layer, plain)), None)
    if _is_quantized(layer):
        yield _LeftPlain(shown, "its weights are quantized; normalize the network before that")
    elif isinstance(layer, torch.jit.ScriptModule) and _has(_is_weight, layer):
        yield _LeftPlain(shown, "torch.jit has compiled it; normalize the network before that")
    elif reparameterized(layer):
        yield _LeftPlain(shown, f"torch computes the weight of {kind} already")
    elif isinstance(layer, nn.modules.lazy.LazyModuleMixin) and _has(_is_weight, layer):
        yield _LeftPlain(shown, f"{kind} has no weights before its first forward")
    elif like is not None:
        yield _LeftPlain(shown, f"{kind} is a subclass of {like} and may compute something else")
    elif _has(_is_weight, layer):
        yield _LeftPlain(shown, f"{kind} has no normalized form here")
    else:
        for matrix in _names(_is_matrix, layer):
            path = f"{name}.{matrix}" if name else matrix
            yield _LeftPlain(
                f"{path} (Parameter)", "a Parameter outside torch's layers has no normalized form"
            )


def _is_quantized(layer: nn.Module) -> bool:
    """Return whether the layer is torch's and has a method, not a Parameter, for its weights."""
    kind = type(layer)
    methods = (getattr(kind, name, None) for name in ("weight", "get_weight"))
    return kind.__module__.startswith("torch.") and any(map(callable, methods))


def _names(is_meant: Callable[[str, Tensor], bool], layer: nn.Module) -> list[str]:
    return [n for n, p in layer.named_parameters(recurse=False) if is_meant(n, p)]


def _has(is_meant: Callable[[str, Tensor], bool], layer: nn.Module) -> bool:
    return bool(_names(is_meant, layer))


def _is_weight(name: str, parameter: Tensor) -> bool:
    return "weight" in name and (is_lazy(parameter) or parameter.ndim >= 2)


def _is_matrix(name: str, parameter: Tensor) -> bool:
    return not is_lazy(parameter) and parameter.ndim >= 2 and len(parameter) > 1
