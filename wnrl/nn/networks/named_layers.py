"""Sequential layers with names, which also load states that were saved under numbers.

Old runs numbered the layers of a torso (`torso.layers.3`) instead of naming them. The order has not
changed, so each number still identifies a layer, and old checkpoints load.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from wnrl._settings import SettingError
from wnrl.nn.norms.record import AFTER_ACTIVATION, AFTER_LAYER, Norm


class NamedLayers(nn.Sequential):
    """A Sequential whose layers have names; it loads states saved by name or by number."""

    def channels_last_(self) -> None:
        """Store convolution weights as channels_last, which makes convolutions fast on a CPU."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # torch loads the layers after this call, each from the keys that begin with its name.
        for number, name in enumerate(self._modules):
            numbered = f"{prefix}{number}."
            for key in [key for key in state_dict if key.startswith(numbered)]:
                state_dict[f"{prefix}{name}.{key.removeprefix(numbered)}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *others)


def add_activation(
    layers: "OrderedDict[str, nn.Module]", name: str, norm: Norm, shape: tuple[int, ...]
) -> None:
    """Add the normalization of a layer, if any, and a ReLU, in the normalization's order.

    Args:
        layers: the layers so far; `<name>_norm` and `<name>_relu` are added.
        name: the layer's name.
        norm: the layer's normalization.
        shape: (F,) or (C, H, W) of the layer's output.
    """
    normalization = norm.activation(shape)
    if normalization is not None and norm.after == AFTER_LAYER:
        layers[f"{name}_norm"] = normalization
    layers[f"{name}_relu"] = nn.ReLU()
    if normalization is not None and norm.after == AFTER_ACTIVATION:
        layers[f"{name}_norm"] = normalization


def add_normalization(
    layers: "OrderedDict[str, nn.Module]", name: str, norm: Norm, shape: tuple[int, ...]
) -> None:
    """Add the normalization of a layer's output, if any; arguments as in `add_activation`.

    Raises:
        SettingError: the normalization goes after the nonlinearity, and none follows this layer.
    """
    normalization = norm.activation(shape)
    if normalization is not None:
        if norm.after == AFTER_ACTIVATION:
            raise SettingError(
                "norm_after",
                f"{AFTER_ACTIVATION} cannot be at {name!r}, which is followed by an addition or a "
                f"pooling, not by a nonlinearity: give {AFTER_LAYER}, or leave the layer out of "
                "norm_where",
            )
        layers[f"{name}_norm"] = normalization


def with_names(network: nn.Module, tagged: Mapping[str, Any]) -> dict[str, Any]:
    """Return values keyed by layer with the layers' names in place of numbers.

    Args:
        network: holds the layers.
        tagged: keyed by a layer or by a tag that ends in one: `v_length/torso.layers.1`.

    Returns:
        The same values, keyed by `v_length/torso.layers.hidden1`.
    """
    names = {
        f"{path}.{number}": f"{path}.{name}"
        for path, layers in network.named_modules()
        if isinstance(layers, NamedLayers)
        for number, name in enumerate(layers._modules)
    }

    def renamed(tag: str) -> str:
        start, slash, layer = tag.rpartition("/")
        return start + slash + names.get(layer, layer)

    return {renamed(tag): value for tag, value in tagged.items()}
