"""Layers in order, each by its name, and what was saved while they only had numbers.

Until normalizations had places, a torso counted its layers (`torso.layers.3`). Runs from then go on
and are evaluated: the order is what it was, so a number says which name is meant.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from wnrl.nn.norms.record import Norm


class NamedLayers(nn.Sequential):
    """A Sequential whose layers have names; it loads a state by name or by number."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # The layers are asked after this, each for what begins with its own name.
        for number, name in enumerate(self._modules):
            numbered = f"{prefix}{number}."
            for key in [key for key in state_dict if key.startswith(numbered)]:
                state_dict[f"{prefix}{name}.{key.removeprefix(numbered)}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *others)


def add_activation(
    layers: "OrderedDict[str, nn.Module]", name: str, norm: Norm, shape: tuple[int, ...]
) -> None:
    """Add what follows a layer: the normalization, if any, and the ReLU.

    Args:
        layers: end with the layer; `<name>_norm` and `<name>_relu` are added.
        name: of the layer.
        norm: at the layer.
        shape: (F,) or (C, H, W) of its output.
    """
    add_normalization(layers, name, norm, shape)
    layers[f"{name}_relu"] = nn.ReLU()


def add_normalization(
    layers: "OrderedDict[str, nn.Module]", name: str, norm: Norm, shape: tuple[int, ...]
) -> None:
    """Add the normalization of a layer's output, if there is one; as `add_activation`."""
    normalization = norm.activation(shape)
    if normalization is not None:
        layers[f"{name}_norm"] = normalization


def with_names(network: nn.Module, tagged: Mapping[str, Any]) -> dict[str, Any]:
    """What was noted by layer, with names for numbers.

    Args:
        network: holds the layers.
        tagged: by the layer or by a tag that ends in it: `v_length/torso.layers.1`.

    Returns:
        The same with `v_length/torso.layers.hidden1`.
    """
    names = {
        f"{place}.{number}": f"{place}.{name}"
        for place, layers in network.named_modules()
        if isinstance(layers, NamedLayers)
        for number, name in enumerate(layers._modules)
    }

    def renamed(tag: str) -> str:
        what, slash, layer = tag.rpartition("/")
        return what + slash + names.get(layer, layer)

    return {renamed(tag): value for tag, value in tagged.items()}
