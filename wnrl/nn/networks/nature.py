"""The convolutional network of the Nature paper, without its output.

Dimension key: B batch, C/H/W of an observation.
"""

from collections import OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.named_layers import NamedLayers, add_activation
from wnrl.nn.networks.torso import Architecture, Torso, TorsoSettings
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm

CONVOLUTIONS = {"conv1": (32, 8, 4), "conv2": (64, 4, 2), "conv3": (64, 3, 1)}
# name: (filters, kernel size, stride)
LAYERS = (*CONVOLUTIONS, "fc")
FEATURES = 512
SMALLEST = 36  # pixels a side: what the three convolutions need for one output


class NatureTorso(Torso):
    """The network of the Nature paper without its output: (B, C, H, W) uint8 -> (B, 512).

    Weights and activations are channels_last, which the CPU's convolutions need to be fast.

    Its layers are conv1, conv2, conv3 and fc.

    Args:
        shape: (C, H, W) of one observation, H and W at least 36; Atari's is (4, 84, 84).
        norm: makes the layers and normalizes before each ReLU.
        placed: the names of the layers that it makes; None for all. The others are plain.

    Source: Mnih et al. 2015, Nature 518, Methods, "Model architecture".
    """

    def __init__(
        self, shape: tuple[int, int, int], norm: Norm, placed: Collection[str] | None = None
    ) -> None:
        super().__init__(shape, "uint8", FEATURES)
        channels, height, width = shape
        if min(height, width) < SMALLEST:
            raise ValueError(f"shape is {shape}: height and width must be at least {SMALLEST}")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for name, (filters, kernel, stride) in CONVOLUTIONS.items():
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            own = norm_at(name, norm, placed)
            layers[name] = own.conv(channels, filters, kernel, stride)
            add_activation(layers, name, own, (filters, height, width))
            channels = filters
        own = norm_at("fc", norm, placed)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = own.linear(channels * height * width, FEATURES)
        add_activation(layers, "fc", own, (FEATURES,))
        self.layers = NamedLayers(layers)
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub

    def forward(self, obs: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, 512)."""
        self.check(obs)
        # Bytes change their layout, then their type: in one call each float is written by itself.
        pixels = torch.stack(obs.unbind(1), dim=-1).permute(0, 3, 1, 2)  # channels_last
        scaled = pixels.to(torch.float32, memory_format=torch.channels_last).div_(255)
        features: Tensor = self.layers(scaled)
        return features


def fits(shape: tuple[int, ...], dtype: str) -> bool:
    """Whether observations are uint8 images of at least 36x36."""
    return dtype == "uint8" and len(shape) == 3 and min(shape[1:]) >= SMALLEST


def _build(settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> NatureTorso:
    shape = settings.shape
    if not fits(shape, settings.dtype):
        raise UsageError(
            f"network nature takes uint8 images (C, H, W) of at least {SMALLEST}x{SMALLEST}, and "
            f"observations are {shape} {settings.dtype}; allowed is mlp"
        )
    return NatureTorso((shape[0], shape[1], shape[2]), norm, placed)


NATURE = Architecture(
    name="nature",
    summary="three convolutions and a layer of 512 units, for images of at least 36x36",
    paper="Mnih et al. 2015, Nature 518",
    layers=lambda settings: LAYERS,
    build=_build,
    takes_hidden=False,
)
