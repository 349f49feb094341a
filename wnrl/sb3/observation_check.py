"""Observations that a features extractor cannot take are refused in one sentence."""

from typing import NoReturn

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    NatureCNN,
)

from wnrl._settings import UsageError
from wnrl.nn.networks.nature import SMALLEST

Observations = torch.Tensor | dict[str, torch.Tensor]


def check_observations(
    extractor: type[BaseFeaturesExtractor], space: spaces.Space[object], *, scaled: bool
) -> None:
    """Refuse a space that one of Stable-Baselines3's extractors, or of ours, would stumble over.

    Args:
        extractor: of a class of one's own nothing is known, and nothing refused.
        space: of observations, images with the channels first.
        scaled: whether images come as floats already (`normalize_images=False`).

    Raises:
        UsageError: what came, and which policy takes it.
    """
    if issubclass(extractor, CombinedExtractor):
        if not isinstance(space, spaces.Dict):
            raise UsageError(
                f"a multi-input policy takes spaces.Dict, and observations are {_told(space)}: use "
                "the CNN policy for images, the MLP policy for anything else"
            )
    elif isinstance(space, spaces.Dict):
        if extractor.__module__.startswith(("stable_baselines3.", "wnrl.")):
            _refuse_dict(extractor.__name__, space)
    elif issubclass(extractor, NatureCNN):
        check_image(extractor.__name__, space, scaled=scaled, smallest=SMALLEST)


def check_image(
    taker: str, space: spaces.Space[object], *, scaled: bool, smallest: int = 1
) -> None:
    """UsageError unless the space is of images of at least that many pixels a side."""
    if isinstance(space, spaces.Dict):
        _refuse_dict(taker, space)
    if not is_image_space(space, check_channels=False, normalized_image=scaled):
        kind = "arrays (C, H, W)" if scaled else "uint8 images (C, H, W) of 0 to 255"
        raise UsageError(
            f"{taker} takes {kind}, and observations are {_told(space)}: use the MLP policy for "
            "vectors, normalize_images=False for images that are floats"
        )
    assert space.shape is not None
    if min(space.shape[1:]) < smallest:
        raise UsageError(
            f"{taker} needs images of at least {smallest}x{smallest}, and observations are "
            f"{space.shape}: enlarge them, or use WNImpalaCNN as features_extractor_class"
        )


def _refuse_dict(taker: str, space: spaces.Dict) -> NoReturn:
    raise UsageError(
        f"{taker} takes one array, and observations are a spaces.Dict of "
        f"{', '.join(space.spaces)}: use the multi-input policy of wnrl.sb3"
    )


def _told(space: spaces.Space[object]) -> str:
    """In one line, which a space's own text is not if it is long."""
    return f"{type(space).__name__} {space.shape} {space.dtype}"


def empty_observations(space: spaces.Space[object]) -> Observations:
    """A batch of one observation of zeros, not preprocessed."""
    if isinstance(space, spaces.Dict):
        return {name: torch.zeros(1, *(part.shape or ())) for name, part in space.spaces.items()}
    return torch.zeros(1, *(space.shape or ()))
