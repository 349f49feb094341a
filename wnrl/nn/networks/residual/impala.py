"""The deep residual network of IMPALA, without its LSTM and outputs.

Dimension key: B batch, C/H/W of an observation.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator

from torch import Tensor, nn

from wnrl._settings import SettingError
from wnrl.kernels.pixels import scaled
from wnrl.nn.networks.architecture import TorsoSettings
from wnrl.nn.networks.named_layers import NamedLayers, add_activation, add_normalization
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm

CHANNELS = {"section1": 16, "section2": 32, "section3": 32}
BLOCKS = ("block1", "block2")  # blocks of each section
FEATURES = 256


class ResidualBlock(NamedLayers):
    """x + f(x), with f its layers in order: (B, C, H, W) -> the same."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        output = input
        for layer in self:
            output = layer(output)
        return input + output


class ImpalaTorso(Torso):
    """Three sections of a convolution, a pooling and two residual blocks: (B, C, H, W) -> (B, 256).

        section: conv 3x3, max pooling 3x3 of stride 2, two blocks x + conv(relu(conv(relu(x))))
        torso:   sections of 16, 32 and 32 channels, relu, fc of 256 units, relu

    Its layers are section1.conv, section1.block1.conv1, section1.block1.conv2, ..., and fc. Weights
    and activations are channels_last, which makes convolutions fast on a CPU.

    A normalization of activations follows its layer directly, as in residual networks with batch
    norm (He et al. 2016, arXiv 1512.03385, section 3.4): before a ReLU, before the addition at the
    end of a block, or before the pooling of a section. Skip connections are not normalized.

    Args:
        shape: (C, H, W) of one observation; 84x84 pixels are 11x11 after three poolings.
        dtype: "uint8", divided by 255, or "float32".
        norm: makes the layers and normalizes.
        placed: names of the layers to normalize; None for all. The others are plain.
        width: multiplies the channels, like `nn_scale` of Dopamine's ImpalaEncoder, which BBF sets
            to 4 (Schwarzer et al. 2023, arXiv 2305.19452); fc stays at 256 units.

    Source: Espeholt et al. 2018, arXiv 1802.01561, figure 3, right.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: str,
        norm: Norm,
        placed: Collection[str] | None = None,
        width: int = 1,
    ) -> None:
        super().__init__(shape, dtype, FEATURES)
        maps = shape
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for name, channels in CHANNELS.items():
            layers[name], maps = _section(name, maps, channels * width, norm, placed)
        layers["relu"] = nn.ReLU()
        layers["flatten"] = nn.Flatten()
        layer_norm = norm_at("fc", norm, placed)
        channels, rows, columns = maps
        layers["fc"] = layer_norm.linear(channels * rows * columns, FEATURES)
        add_activation(layers, "fc", layer_norm, (FEATURES,))
        self.layers = NamedLayers(layers)
        self.layers.channels_last_()

    def forward(self, obs: Tensor) -> Tensor:
        """(B, C, H, W) of the torso's dtype -> (B, 256)."""
        self.check(obs)
        features: Tensor = self.layers(scaled(obs))
        return features


def _section(
    name: str,
    shape: tuple[int, int, int],
    channels: int,
    norm: Norm,
    placed: Collection[str] | None,
) -> tuple[NamedLayers, tuple[int, int, int]]:
    """Return a section for maps of a shape (C, H, W), and the shape of its output."""
    channels_in, height, width = shape
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layer_norm = norm_at(f"{name}.conv", norm, placed)
    layers["conv"] = layer_norm.conv(channels_in, channels, 3, 1, 1)
    add_normalization(layers, "conv", layer_norm, (channels, height, width))
    layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    pooled = (channels, (height + 1) // 2, (width + 1) // 2)
    for block in BLOCKS:
        inside: OrderedDict[str, nn.Module] = OrderedDict()
        for number in (1, 2):
            layer_norm = norm_at(f"{name}.{block}.conv{number}", norm, placed)
            inside[f"relu{number}"] = nn.ReLU()
            inside[f"conv{number}"] = layer_norm.conv(channels, channels, 3, 1, 1)
            add_normalization(inside, f"conv{number}", layer_norm, pooled)
        layers[block] = ResidualBlock(inside)
    return NamedLayers(layers), pooled


def _names() -> Iterator[str]:
    for section in CHANNELS:
        yield f"{section}.conv"
        for block in BLOCKS:
            yield from (f"{section}.{block}.conv{number}" for number in (1, 2))
    yield "fc"


LAYERS = tuple(_names())


def layer_names(settings: TorsoSettings) -> tuple[str, ...]:
    """Return section1.conv, section1.block1.conv1, ..., fc."""
    return LAYERS


def build(settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> ImpalaTorso:
    """Build the torso; SettingError for observations that it does not take."""
    shape = settings.shape
    if len(shape) != 3:
        raise SettingError(
            "network", f"impala takes images (C, H, W), but observations are {shape}; use mlp"
        )
    return ImpalaTorso((shape[0], shape[1], shape[2]), settings.dtype, norm, placed, settings.width)
