"""SimBa: residual blocks with layer normalization in front, over a flattened observation.

    x = E obs,      x <- x + down(relu(up(LN(x)))) in each block,      features = LN(x)

Source: Lee et al. 2024, arXiv 2410.09754, and DAVIAN-Robotics/SimbaV2 at 86899c2
(scale_rl/agents/simba). Left out: the running normalization of observations, which is a setting of
its own, and the authors' initialization (orthogonal E, He normal in the blocks).
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.architecture import TorsoSettings
from wnrl.nn.networks.named_layers import NamedLayers, add_activation, add_normalization
from wnrl.nn.networks.torso import Torso
from wnrl.nn.norms.placement import norm_at
from wnrl.nn.norms.record import Norm

EXPANSION = 4  # units between `up` and `down`, per unit of the block
EPS = 1e-6  # of flax's LayerNorm


class PreNormBlock(NamedLayers):
    """Layers whose output is added to their input: (B, F) -> (B, F)."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) -> (B, F)."""
        output = input
        for layer in self:
            output = layer(output)
        return input + output


class SimbaTorso(Torso):
    """A linear layer and residual blocks: (B, *shape) -> (B, F).

    Its layers are embed, block1.up, block1.down, block2.up and so on. Its own layer normalization
    is there with any `norm`, which comes in addition: after its layer, before a ReLU or a sum.

    Args:
        shape: shape of one observation.
        dtype: "float32", or "uint8", which is divided by 255.
        hidden: F for each block, all equal; the authors' critics have (512, 512).
        norm: makes the layers and normalizes.
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
        if not hidden or len(set(hidden)) > 1 or hidden[0] < 2:
            raise UsageError(
                f"hidden is {tuple(hidden)}: simba has one number of units, at least 2, in all of "
                "its blocks; give it once per block, as in 128,128"
            )
        units = hidden[0]
        super().__init__(shape, dtype, units)
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        layer_norm = norm_at("embed", norm, placed)
        layers["embed"] = layer_norm.linear(math.prod(shape), units)
        add_normalization(layers, "embed", layer_norm, (units,))
        for name in _block_names(hidden):
            layers[name] = _block(name, units, norm, placed)
        layers["out_layer_norm"] = nn.LayerNorm(units, eps=EPS)
        self.layers = NamedLayers(layers)

    def forward(self, obs: Tensor) -> Tensor:
        """(B, *shape) of the torso's dtype -> (B, F)."""
        self.check(obs)
        features: Tensor = self.layers(obs / 255 if self.dtype == torch.uint8 else obs)
        return features


def _block(name: str, units: int, norm: Norm, placed: Collection[str] | None) -> PreNormBlock:
    layers: OrderedDict[str, nn.Module] = OrderedDict(layer_norm=nn.LayerNorm(units, eps=EPS))
    up, down = (norm_at(f"{name}.{part}", norm, placed) for part in ("up", "down"))
    layers["up"] = up.linear(units, EXPANSION * units)
    add_activation(layers, "up", up, (EXPANSION * units,))
    layers["down"] = down.linear(EXPANSION * units, units)
    add_normalization(layers, "down", down, (units,))
    return PreNormBlock(layers)


def _block_names(hidden: Sequence[int]) -> list[str]:
    return [f"block{index + 1}" for index in range(len(hidden))]


def layer_names(settings: TorsoSettings) -> tuple[str, ...]:
    """Return embed, block1.up, block1.down, ..."""
    blocks = [f"{name}.{part}" for name in _block_names(settings.hidden) for part in ("up", "down")]
    return ("embed", *blocks)


def build(settings: TorsoSettings, norm: Norm, placed: Collection[str] | None) -> SimbaTorso:
    """Build the torso."""
    return SimbaTorso(settings.shape, settings.dtype, settings.hidden, norm, placed)
