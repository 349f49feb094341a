"""Checks of the observations that a features extractor takes, and an empty batch of them."""

from collections.abc import Mapping
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
from wnrl.envs.registered.images import channel_axis
from wnrl.nn.networks.nature import SMALLEST

Observations = torch.Tensor | dict[str, torch.Tensor]


def check_observations(
    extractor: type[BaseFeaturesExtractor], space: spaces.Space[object], *, scaled: bool
) -> None:
    """Raise UsageError for a space that an extractor of Stable-Baselines3 or `wnrl` cannot take.

    Args:
        extractor: class of the extractor; classes from elsewhere take anything.
        space: space of observations, images with the channels first.
        scaled: whether images are floats already (`normalize_images=False`).

    Raises:
        UsageError: other observations; the message says which policy takes them.
    """
    if issubclass(extractor, CombinedExtractor):
        if not _parts(space):
            raise UsageError(
                f"a multi-input policy takes spaces.Dict, and observations are {_describe(space)}: "
                "use the CNN policy for images, the MLP policy for anything else"
            )
        for name, part in _parts(space).items():
            if is_image_space(part, normalized_image=scaled):
                _check_layout(f"{extractor.__name__} ({name})", part)
    elif _parts(space):
        if extractor.__module__.startswith(("stable_baselines3.", "wnrl.")):
            _refuse_dict(extractor.__name__, space)
    elif issubclass(extractor, NatureCNN):
        check_image(extractor.__name__, space, scaled=scaled, smallest=SMALLEST)


def check_image(
    taker: str, space: spaces.Space[object], *, scaled: bool, smallest: int = 1
) -> None:
    """Raise UsageError unless the space has images of at least `smallest` pixels a side.

    Args:
        taker: name of the extractor, for the message.
        space: space of observations.
        scaled: whether images are floats already.
        smallest: pixels that the extractor needs on each side.
    """
    if _parts(space):
        _refuse_dict(taker, space)
    if not is_image_space(space, check_channels=False, normalized_image=scaled):
        kind = "arrays (C, H, W)" if scaled else "uint8 images (C, H, W) of 0 to 255"
        raise UsageError(
            f"{taker} takes {kind}, and observations are {_describe(space)}: use the MLP policy "
            "for vectors, normalize_images=False for images that are floats"
        )
    _check_layout(taker, space)
    assert space.shape is not None
    if min(space.shape[1:]) < smallest:
        raise UsageError(
            f"{taker} needs images of at least {smallest}x{smallest}, and observations are "
            f"{space.shape}: enlarge them, or use WNImpalaCNN as features_extractor_class"
        )


def _check_layout(taker: str, space: spaces.Space[object]) -> None:
    """Raise UsageError for an image whose channels are last where Stable-Baselines3 leaves them.

    It puts the channels first of bytes between 0 and 255 alone, so other images reach the network
    as they are, and a convolution would take their rows for channels.
    """
    if is_image_space(space) or space.shape is None or channel_axis(space.shape) == 0:
        return
    raise UsageError(
        f"{taker} takes images with the channels first, and observations are {_describe(space)}, "
        "with the channels last as far as their shape shows; Stable-Baselines3 transposes only "
        "uint8 images of 0 to 255: transpose them in a wrapper of the environment "
        "(gymnasium.wrappers.TransformObservation)"
    )


def empty_observations(space: spaces.Space[object]) -> Observations:
    """Return a batch of one observation of zeros, not preprocessed."""
    parts = _parts(space)
    if parts:
        return {name: torch.zeros(1, *(part.shape or ())) for name, part in parts.items()}
    return torch.zeros(1, *(space.shape or ()))


def _parts(space: spaces.Space[object]) -> Mapping[str, spaces.Space[object]]:
    """Return the spaces inside a `spaces.Dict` by name, none for any other space."""
    return space.spaces if isinstance(space, spaces.Dict) else {}


def _refuse_dict(taker: str, space: spaces.Space[object]) -> NoReturn:
    raise UsageError(
        f"{taker} takes one array, and observations are a spaces.Dict of "
        f"{', '.join(_parts(space))}: use the multi-input policy of wnrl.sb3"
    )


def _describe(space: spaces.Space[object]) -> str:
    """Describe a space in one line; its own text may have many."""
    return f"{type(space).__name__} {space.shape} {space.dtype}"
