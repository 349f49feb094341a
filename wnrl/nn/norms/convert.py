"""Conversion of plain layers to weight-normalized ones and back, in place, with the same function.

The module object keeps its identity and gets another class, so containers, modules used twice and
references elsewhere stay valid. A Parameter shared by two layers stays shared. Conversion from one
storage to the other, with an optimizer, is in `storages`.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from wnrl._settings import UsageError, nearest
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm, no_activation_norm
from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.nn.weight_norm.parametrization import WeightNormalized, check_options, computed_weights
from wnrl.nn.weight_norm.storages import store_w_

Module = TypeVar("Module", bound=nn.Module)

NORMALIZED: dict[type[nn.Module], type[WeightNormalized]] = {
    nn.Linear: WNLinear,
    nn.Conv2d: WNConv2d,
    nn.LSTM: WNLSTM,
}
PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    normalized: plain for plain, normalized in NORMALIZED.items()
}


def everywhere(name: str, layer: nn.Module) -> bool:
    """Select every layer."""
    return True


@torch.no_grad()
def convert_(
    module: Module,
    norm: str | Norm = "weight",
    storage: str = "gv",
    *,
    where: Callable[[str, nn.Module], bool] = everywhere,
) -> Module:
    """Give the plain layers of a module weight normalization, in place.

    Layers of exactly the types nn.Linear, nn.Conv2d and nn.LSTM become `WNLinear`, `WNConv2d` and
    `WNLSTM`; subclasses stay as they are, because their forward may compute something else. Biases,
    hooks and modes stay. With storage="gv" the Parameters of the weights are replaced, so build the
    optimizer afterwards.

    Args:
        module: any module; it may itself be such a layer.
        norm: "weight", or the name or record of another normalization that consists of
            weight-normalized layers only. The layers take its gain and its cap on ||v||; to apply
            the cap, call the record's `after_step` after each step.
        storage: "gv" or "w"; overrides the record's storage.
        where: called with a layer's name (as in `module.named_modules()`) and the layer; False
            leaves the layer plain, for example a head.

    Returns:
        The module.

    Raises:
        UsageError: another norm or storage, or a layer that torch's hook normalizes. Nothing has
            changed then.
    """
    check_options(storage, "linear", 1.0, None)
    options = _layer_options(norm, storage)
    chosen = [
        (name, layer)
        for name, layer in module.named_modules()
        if type(layer) in NORMALIZED and where(name, layer)
    ]
    for name, layer in chosen:
        missing = [n for n in _weight_names(layer) if layer._parameters.get(n) is None]
        if missing:
            raise UsageError(
                f"layer {name!r} has no Parameter {missing[0]}: first remove its "
                "reparameterization (torch.nn.utils.remove_weight_norm)"
            )
    tied: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    for _, layer in chosen:
        originals = {n: layer._parameters[n] for n in _weight_names(layer)}
        layer.__class__ = NORMALIZED[type(layer)]
        assert isinstance(layer, WeightNormalized)
        layer._adopt(storage, *options)
        if storage == "gv":
            _tie_(layer, originals, tied)
    return module


def _tie_(
    layer: WeightNormalized,
    originals: dict[str, nn.Parameter | None],
    tied: dict[int, tuple[nn.Parameter, nn.Parameter]],
) -> None:
    """Let weights that shared a Parameter share g and v, and keep frozen weights frozen.

    Args:
        layer: has just been converted to storage "gv".
        originals: its former weights, by name.
        tied: (g, v) by the id of the original Parameter; new ones are added.
    """
    for name, original in originals.items():
        assert original is not None
        made = layer.gv_parameters(name)
        for part in made:  # a fixed gain stays fixed
            part.requires_grad_(part.requires_grad and original.requires_grad)
        shared = tied.setdefault(id(original), made)
        if shared is not made:
            layer.share_gv_(name, *shared)


@torch.no_grad()
def fold_(module: Module) -> Module:
    """Turn weight-normalized layers back into nn.Linear, nn.Conv2d and nn.LSTM, in place.

    Subclasses of the weight-normalized layers stay as they are. Hooks, modes and biases stay; the
    weights of storage "gv" become new Parameters.

    Returns:
        The module.
    """
    store_w_([place for place in computed_weights(module) if type(place[0]) in PLAIN], {})
    for layer in module.modules():
        plain = PLAIN.get(type(layer))
        if plain is not None:
            for option in ("storage", "gain", "gain_scale", "max_v_norm", "_frozen"):
                layer.__dict__.pop(option, None)
            layer.__class__ = plain
    return module


def _layer_options(norm: str | Norm, storage: str) -> tuple[str, float, float | None]:
    """Return (gain, gain_scale, max_v_norm) of a normalization's layers."""
    record = get_norm(norm) if isinstance(norm, str) else norm
    if record.activation is not no_activation_norm:
        raise UsageError(
            f"norm is {record.name!r}, which normalizes between a layer and its nonlinearity: "
            "convert_ cannot find that place in a module; build the network with this norm "
            "(wnrl.nn.build_torso), or add its modules and convert_ with norm='weight'"
        )
    with torch.device("meta"):  # no memory, no random numbers
        layer = record.in_storage(storage).linear(1, 1)
    if not isinstance(layer, WNLinear):
        raise UsageError(
            f"norm is {record.name!r}, whose layers are {type(layer).__name__}: convert_ makes "
            "only weight-normalized layers, and fold_ plain ones"
            + nearest(record.name, ("weight",))
        )
    return layer.gain, layer.gain_scale, layer.max_v_norm


def _weight_names(layer: nn.Module) -> tuple[str, ...]:
    if isinstance(layer, nn.LSTM):
        return tuple(name for name in layer._flat_weights_names if name.startswith("weight"))
    return ("weight",)
