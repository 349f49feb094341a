"""Normalizations of observations inside the network, before its first layer.

Each is one record in one table, as the normalizations of layers are (`wnrl.nn.norms.catalogue`).
The network applies it (`wnrl.nn.networks.torso`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wnrl._settings import SettingError, nearest
from wnrl._settings.later import Later

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers import running_norm
else:
    nn = Later("torch.nn")
    running_norm = Later("wnrl.nn.norms.layers.running_norm")


@dataclass(frozen=True)
class InputNorm:
    """One normalization of observations.

    It reads observations as they are: images as numbers from 0 to 255, which are then not divided
    by 255. An image has a mean and a variance per channel with `batch` and `running`.
    """

    name: str
    layer: Callable[[tuple[int, ...]], nn.Module | None]  # from the shape of one observation
    smallest_batch: int = 1  # samples that an update needs


def _nothing(shape: tuple[int, ...]) -> nn.Module | None:
    return None


def _features(shape: tuple[int, ...]) -> int:
    """Return the features of a vector (F,) or the channels of an image (C, H, W)."""
    if len(shape) not in (1, 3):
        raise SettingError(
            "norm_input",
            f"batch and running normalize vectors (F,) and images (C, H, W), and observations are "
            f"{shape}: give layer, or leave it out",
        )
    return shape[0]


def _batch(shape: tuple[int, ...]) -> nn.Module:
    """flax's defaults, as in CrossQ's critic and in purejaxql with NORM_INPUT."""
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    return kind(_features(shape), eps=1e-5, momentum=0.01)


def _running(shape: tuple[int, ...]) -> nn.Module:
    return running_norm.RunningNorm(_features(shape))


def _layer(shape: tuple[int, ...]) -> nn.Module:
    if math.prod(shape) < 2:
        raise SettingError(
            "norm_input",
            "layer would always make an observation of one number 0: give batch or running",
        )
    return nn.LayerNorm(shape)


INPUT_NORMS = {
    norm.name: norm
    for norm in (
        InputNorm("none", _nothing),
        InputNorm("batch", _batch, smallest_batch=2),
        InputNorm("running", _running),
        InputNorm("layer", _layer),
    )
}


def get_input_norm(name: str) -> InputNorm:
    """Return the normalization of observations with this name.

    Raises:
        SettingError: the name is unknown; the message suggests the nearest ones.
    """
    if name not in INPUT_NORMS:
        raise SettingError(
            "norm_input",
            f"{name!r} is unknown; allowed: {', '.join(INPUT_NORMS)}" + nearest(name, INPUT_NORMS),
        )
    return INPUT_NORMS[name]
