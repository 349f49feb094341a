"""The small convolutional network of the MinAtar paper, without its output layer.

Dimension key: B batch, C/H/W of an observation.
"""

from collections import OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor, nn

from wnrl._settings import SettingError
from wnrl.nn.networks.architecture import TorsoSettings
from wnrl.nn.networks.named_layers import NamedLayers, add_activation
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm

FILTERS, KERNEL = 16, 3
FEATURES = 128
LAYERS = ("conv1", "fc")
SMALLEST = 5  # pixels per side; the convolution leaves 3x3 of them


class MinAtarTorso(Torso):
    """One convolution and one layer: (B, C, H, W) -> (B, 128).

        h = relu(conv1(x))          16 filters of 3x3, stride 1, no padding
        features = relu(fc(h))      128 units

    with x the observation, divided by 255 if it is uint8. Unlike in larger networks, channels_last
    does not pay: reordering 8x8 maps for fc costs more than the convolution gains.

    Args:
        shape: (C, H, W) of one observation, H and W at least 5; (4, 10, 10) for MinAtar's Breakout.
        dtype: "uint8" or "float32".
        norm: makes the layers and normalizes before each ReLU.
        placed: names of the layers to normalize; None for all. The others are plain.

    Source: Young & Tian 2019, arXiv 1903.03176, section 3; the same in purejaxql, pqn_minatar.py.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: str,
        norm: Norm,
        placed: Collection[str] | None = None,
    ) -> None:
        super().__init__(shape, dtype, FEATURES)
        channels, height, width = shape
        maps = (FILTERS, height - KERNEL + 1, width - KERNEL + 1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layer_norm = norm_at("conv1", norm, placed)
        layers["conv1"] = layer_norm.conv(channels, FILTERS, KERNEL, 1)
        add_activation(layers, "conv1", layer_norm, maps)
        layer_norm = norm_at("fc", norm, placed)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = layer_norm.linear(maps[0] * maps[1] * maps[2], FEATURES)
        add_activation(layers, "fc", layer_norm, (FEATURES,))
        self.layers = NamedLayers(layers)

    def forward(self, obs: Tensor) -> Tensor:
        """(B, C, H, W) of the torso's dtype -> (B, 128)."""
        self.check(obs)
        x = obs.to(torch.float32) / 255 if self.dtype == torch.uint8 else obs
        features: Tensor = self.layers(x)
        return features


def fits(shape: tuple[int, ...]) -> bool:
    """Return whether observations are images of at least 5x5."""
    return len(shape) == 3 and min(shape[1:]) >= SMALLEST


def layer_names(settings: TorsoSettings) -> tuple[str, ...]:
    """Return conv1, fc."""
    return LAYERS


def build(settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> MinAtarTorso:
    """Build the torso; SettingError for observations that are not such images."""
    shape = settings.shape
    if not fits(shape):
        raise SettingError(
            "network",
            f"minatar takes images (C, H, W) of at least {SMALLEST}x{SMALLEST}, but observations "
            f"are {shape}; use mlp",
        )
    return MinAtarTorso((shape[0], shape[1], shape[2]), settings.dtype, norm, placed)
