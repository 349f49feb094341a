"""Fully connected layers over a flattened observation.

Dimension key: B batch, F features.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.architecture import TorsoSettings
from wnrl.nn.networks.named_layers import NamedLayers, add_activation
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm


class MLPTorso(Torso):
    """Fully connected ReLU layers over a flattened observation: (B, *shape) -> (B, F).

    Its layers are hidden1, hidden2 and so on.

    Args:
        shape: shape of one observation.
        dtype: "float32", or "uint8" for small frames, which are divided by 255.
        hidden: units of each layer, at least one layer; F is the last.
        norm: makes the layers and normalizes before each ReLU.
        placed: names of the layers to normalize; None for all. The others are plain.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        hidden: Sequence[int],
        norm: Norm,
        placed: Collection[str] | None = None,
    ) -> None:
        if not hidden or min(hidden) < 1:
            raise UsageError(
                f"hidden is {tuple(hidden)}: it must be one or more layers of at least 1 unit"
            )
        super().__init__(shape, dtype, hidden[-1])
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        units_in = math.prod(shape)
        for name, units in zip(_names(hidden), hidden, strict=True):
            layer_norm = norm_at(name, norm, placed)
            layers[name] = layer_norm.linear(units_in, units)
            add_activation(layers, name, layer_norm, (units,))
            units_in = units
        self.layers = NamedLayers(layers)

    def forward(self, obs: Tensor) -> Tensor:
        """(B, *shape) of the torso's dtype -> (B, F)."""
        self.check(obs)
        features: Tensor = self.layers(obs / 255 if self.dtype == torch.uint8 else obs)
        return features


def layer_names(settings: TorsoSettings) -> tuple[str, ...]:
    """Return hidden1, hidden2, ..."""
    return tuple(_names(settings.hidden))


def _names(hidden: Sequence[int]) -> list[str]:
    return [f"hidden{index + 1}" for index in range(len(hidden))]


def build(settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> MLPTorso:
    """Build the torso."""
    return MLPTorso(settings.shape, settings.dtype, settings.hidden, norm, placed)
