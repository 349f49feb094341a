"""The convolutional network of the Nature paper, without its output layer.

Dimension key: B batch, C/H/W of an observation.
"""

from collections import OrderedDict
from collections.abc import Collection

from torch import Tensor, nn

from wnrl._settings import SettingError
from wnrl.kernels.pixels import scaled
from wnrl.nn.networks.architecture import TorsoSettings
from wnrl.nn.networks.named_layers import NamedLayers, add_activation
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm

CONVOLUTIONS = {"conv1": (32, 8, 4), "conv2": (64, 4, 2), "conv3": (64, 3, 1)}
# name: (filters, kernel size, stride)
LAYERS = (*CONVOLUTIONS, "fc")
FEATURES = 512
SMALLEST = 36  # pixels per side that the three convolutions need for one output


class NatureTorso(Torso):
    """The network of the Nature paper without its output layer: (B, C, H, W) -> (B, 512).

    Its layers are conv1, conv2, conv3 and fc. Weights and activations are channels_last, which
    makes convolutions fast on a CPU.

    Args:
        shape: (C, H, W) of one observation, H and W at least 36; (4, 84, 84) for Atari.
        dtype: "uint8", divided by 255, or "float32".
        norm: makes the layers and normalizes before each ReLU.
        placed: names of the layers to normalize; None for all. The others are plain.

    Source: Mnih et al. 2015, Nature 518, Methods, "Model architecture".
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
        if min(height, width) < SMALLEST:
            raise ValueError(f"shape is {shape}: height and width must be at least {SMALLEST}")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for name, (filters, kernel, stride) in CONVOLUTIONS.items():
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            layer_norm = norm_at(name, norm, placed)
            layers[name] = layer_norm.conv(channels, filters, kernel, stride)
            add_activation(layers, name, layer_norm, (filters, height, width))
            channels = filters
        layer_norm = norm_at("fc", norm, placed)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = layer_norm.linear(channels * height * width, FEATURES)
        add_activation(layers, "fc", layer_norm, (FEATURES,))
        self.layers = NamedLayers(layers)
        self.layers.channels_last_()

    def forward(self, obs: Tensor) -> Tensor:
        """(B, C, H, W) of the torso's dtype -> (B, 512)."""
        self.check(obs)
        features: Tensor = self.layers(scaled(obs))
        return features


def fits(shape: tuple[int, ...]) -> bool:
    """Return whether observations are images of at least 36x36."""
    return len(shape) == 3 and min(shape[1:]) >= SMALLEST


def layer_names(settings: TorsoSettings) -> tuple[str, ...]:
    """Return conv1, conv2, conv3, fc."""
    return LAYERS


def build(settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> NatureTorso:
    """Build the torso; SettingError for observations that it does not take."""
    shape = settings.shape
    if not fits(shape):
        raise SettingError(
            "network",
            f"nature takes images (C, H, W) of at least {SMALLEST}x{SMALLEST}, but observations "
            f"are {shape}; use auto, which takes a network that fits",
        )
    return NatureTorso((shape[0], shape[1], shape[2]), settings.dtype, norm, placed)
