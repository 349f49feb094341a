"""Conversion of plain layers to weight-normalized ones and back, in place, with the same function.

The module object keeps its identity and gets another class, so containers, modules used twice and
references elsewhere stay valid. A Parameter shared by two layers stays shared. Conversion from one
storage to the other, with an optimizer, is in `storages`.
"""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import torch
from torch import nn

from wnrl._settings import UsageError, nearest
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.layers.anchored import AnchoredConv2d, AnchoredLinear
from wnrl.nn.norms.layers.gates import Gated, GatedConv2d, GatedLinear
from wnrl.nn.norms.layers.hypersphere import SphereConv2d, SphereLinear
from wnrl.nn.norms.layers.marked import MarkedConv2d, MarkedLinear
from wnrl.nn.norms.layers.projection import ProjectedConv2d, ProjectedLinear
from wnrl.nn.norms.layers.spectral import SpectralConv2d, SpectralLinear
from wnrl.nn.norms.layers.standardization import StandardizedConv2d, StandardizedLinear
from wnrl.nn.norms.left_plain import warn_of_plain
from wnrl.nn.norms.pruning import chains, remove_closed_
from wnrl.nn.norms.record import Norm, no_activation_norm
from wnrl.nn.weight_norm.cells import WNGRUCell, WNLSTMCell
from wnrl.nn.weight_norm.embedding import WNEmbedding
from wnrl.nn.weight_norm.gru import WNGRU
from wnrl.nn.weight_norm.layers import (
    WNConv1d,
    WNConv2d,
    WNConv3d,
    WNConvTranspose1d,
    WNConvTranspose2d,
    WNConvTranspose3d,
    WNLinear,
    reparameterized,
)
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.nn.weight_norm.parametrization import (
    WeightNormalized,
    check_options,
    check_weight,
    computed_weights,
    effective_weights,
)
from wnrl.nn.weight_norm.storages import store_w_

Module = TypeVar("Module", bound=nn.Module)

NORMALIZED: dict[type[nn.Module], type[WeightNormalized]] = {
    nn.Linear: WNLinear,
    nn.Conv1d: WNConv1d,
    nn.Conv2d: WNConv2d,
    nn.Conv3d: WNConv3d,
    nn.ConvTranspose1d: WNConvTranspose1d,
    nn.ConvTranspose2d: WNConvTranspose2d,
    nn.ConvTranspose3d: WNConvTranspose3d,
    nn.LSTM: WNLSTM,
    nn.GRU: WNGRU,
    nn.LSTMCell: WNLSTMCell,
    nn.GRUCell: WNGRUCell,
    nn.Embedding: WNEmbedding,
}
PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    normalized: plain for plain, normalized in NORMALIZED.items()
}


_SPECTRAL = ("power_iterations", "lipschitz", "leave_smaller", "weight_u")
_STANDARDIZED = ("gamma", "eps", "gain")
_PROJECTED = ("by_rows", "radius")
_GATED = ("drop_rate", "log_alpha", "noise_key", "noise_count")
_ANCHORED = ("weight_start", "bias_start")
_ON_SPHERE = ("factor", "scaler")
# What `fold_` makes of a layer of another normalization, and what it removes.
_WITH_OWN_WEIGHT: dict[type[nn.Module], tuple[type[nn.Module], tuple[str, ...]]] = {
    SpectralLinear: (nn.Linear, _SPECTRAL),
    SpectralConv2d: (nn.Conv2d, _SPECTRAL),
    StandardizedLinear: (nn.Linear, _STANDARDIZED),
    StandardizedConv2d: (nn.Conv2d, _STANDARDIZED),
    ProjectedLinear: (nn.Linear, _PROJECTED),
    ProjectedConv2d: (nn.Conv2d, _PROJECTED),
    GatedLinear: (nn.Linear, _GATED),
    GatedConv2d: (nn.Conv2d, _GATED),
    MarkedLinear: (nn.Linear, ()),
    MarkedConv2d: (nn.Conv2d, ()),
    AnchoredLinear: (nn.Linear, _ANCHORED),
    AnchoredConv2d: (nn.Conv2d, _ANCHORED),
    SphereLinear: (nn.Linear, _ON_SPHERE),
    SphereConv2d: (nn.Conv2d, _ON_SPHERE),
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

    Layers of exactly torch's types in `NORMALIZED` get a weight-normalized type. Other layers with
    weights stay as they are, subclasses too, because their forward may compute something else; a
    warning names those that `where` does not leave out. Biases, hooks, modes and ties of layers
    that are all converted stay, as of an embedding and an output layer. With storage="gv" the
    Parameters of the weights are replaced, so build the optimizer afterwards.

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
        UsageError: another norm or storage; a layer whose weight torch computes already (weight
            norm, spectral norm, any parametrization) or prunes; a weight that is complex or empty;
            an embedding with options that `WNEmbedding` refuses; a weight that two layers share
            with another output axis, or, with storage "gv", that another module shares as it is.
            Nothing has changed then.
    """
    check_options(storage, "linear", 1.0, None)
    options = _layer_options(norm, storage)
    chosen = [
        (name, layer)
        for name, layer in module.named_modules()
        if type(layer) in NORMALIZED and where(name, layer)
    ]
    for name, layer in module.named_modules():
        if reparameterized(layer) and where(name, layer) and isinstance(layer, tuple(NORMALIZED)):
            raise UsageError(
                f"torch computes the weight of layer {name!r} (weight_norm, spectral_norm or "
                "another parametrization), so it would be normalized twice: first remove that "
                "(remove_weight_norm, remove_spectral_norm, parametrize.remove_parametrizations), "
                "or leave the layer out with `where`"
            )
    for name, layer in chosen:
        _check_weights(name, layer)
        NORMALIZED[type(layer)].check_layer(layer, storage)
    _check_axes(chosen)
    if storage == "gv":
        check_ties(module, chosen, "convert_(..., storage='w') keeps the tie")
    warn_of_plain("convert_", module, where, tuple(NORMALIZED))
    tied: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    for _, layer in chosen:
        originals = {n: layer._parameters[n] for n in _weight_names(layer)}
        layer.__class__ = NORMALIZED[type(layer)]
        assert isinstance(layer, WeightNormalized)
        layer._adopt(storage, *options)
        if storage == "gv":
            _tie_(layer, originals, tied)
    return module


def _check_weights(name: str, layer: nn.Module) -> None:
    """Raise a UsageError unless each weight is a Parameter with rows that have a norm."""
    for weight_name in _weight_names(layer):
        weight = layer._parameters.get(weight_name)
        if weight is None:
            raise UsageError(
                f"layer {name!r} has no Parameter {weight_name}: first remove its "
                "reparameterization (torch.nn.utils.prune.remove)"
            )
        check_weight(weight, f"{weight_name} of layer {name!r}")


def _check_axes(chosen: Collection[tuple[str, nn.Module]]) -> None:
    """Raise a UsageError if layers share a weight that has its output units on different axes."""
    seen: dict[int, tuple[str, int]] = {}  # by weight: the first layer and its output axis
    for name, layer in chosen:
        axis = NORMALIZED[type(layer)].output_axis
        for weight_name in _weight_names(layer):
            first, other = seen.setdefault(id(layer._parameters[weight_name]), (name, axis))
            if other != axis:
                raise UsageError(
                    f"layers {first!r} and {name!r} share a weight, whose output channels are on "
                    f"axis {other} in the first and {axis} in the second: leave one out with "
                    "`where` and storage='w', or both"
                )


def check_ties(module: nn.Module, chosen: Collection[tuple[str, nn.Module]], instead: str) -> None:
    """Raise a UsageError if a module that is not chosen shares the weight of one that is.

    Args:
        module: holds all layers.
        chosen: names and layers whose weights are to be replaced.
        instead: what to do, for the message.
    """
    layers = {layer for _, layer in chosen}
    owner = {id(layer._parameters[n]): name for name, layer in chosen for n in _weight_names(layer)}
    for name, other in module.named_modules():
        for parameter in () if other in layers else other._parameters.values():
            if id(parameter) in owner:
                raise UsageError(
                    f"layers {owner[id(parameter)]!r} and {name!r} share a weight, and only the "
                    f"first would be normalized: leave it out, or normalize neither; {instead}"
                )


def _tie_(
    layer: WeightNormalized,
    originals: dict[str, nn.Parameter | None],
    tied: dict[int, tuple[nn.Parameter, nn.Parameter]],
) -> None:
    """Let weights that shared a Parameter share g and v.

    Args:
        layer: has just been converted to storage "gv".
        originals: its former weights, by name.
        tied: (g, v) by the id of the original Parameter; new ones are added.
    """
    for name, original in originals.items():
        assert original is not None
        made = layer.gv_parameters(name)
        shared = tied.setdefault(id(original), made)
        if shared is not made:
            layer.share_gv_(name, *shared)


@torch.no_grad()
def fold_(module: Module) -> Module:
    """Turn weight-normalized layers back into torch's, in place.

    Spectral, standardized and projected layers become plain too, with the weight that they use in
    acting. Subclasses of all these layers stay as they are. Hooks, modes and biases stay; weights
    that were computed become new Parameters.

    Units whose L0 gate is closed are removed, with what later layers read from them, so the network
    is smaller and computes the same. They stay as zeros where something else reads them, such as
    an addition, an LSTM or the caller; `chains` says what is removed.

    Returns:
        The module.
    """
    gated = [layer for layer in module.modules() if type(layer) in (GatedLinear, GatedConv2d)]
    shrinking = chains(module, gated) if gated else []
    places = [place for place in computed_weights(module) if type(place[0]) in PLAIN]
    store_w_(places, effective_weights(places), {})
    for layer in module.modules():
        plain = PLAIN.get(type(layer))
        if plain is not None:
            for option in ("storage", "gain", "gain_scale", "max_v_norm", "_frozen"):
                layer.__dict__.pop(option, None)
            layer.__class__ = plain
        elif type(layer) in _WITH_OWN_WEIGHT:
            _fold_one_(layer)
    for chain in shrinking:
        remove_closed_(chain)
    return module


def _fold_one_(layer: Any) -> None:
    """Turn a layer that computes from `weight`, or that a step projects, into torch's."""
    plain, names = _WITH_OWN_WEIGHT[type(layer)]
    if hasattr(layer, "effective_weight"):
        mode, layer.training = layer.training, False  # training mode would move Spectral's u
        weight = layer.effective_weight()
        if isinstance(layer, Gated) and (bias := layer._parameters["bias"]) is not None:
            bias.mul_(layer.test_gates())
        layer.training = mode
        layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    for name in names:
        delattr(layer, name)
    layer.__class__ = plain


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
    if isinstance(layer, nn.RNNBase):
        return tuple(name for name in layer._flat_weights_names if name.startswith("weight"))
    return ("weight_ih", "weight_hh") if isinstance(layer, nn.RNNCellBase) else ("weight",)
