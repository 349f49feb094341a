"""What a network gets of a Gymnasium observation: an image, or a vector of numbers.

An array of two or three axes is an image. A network gets it with the channels first, and with all
values that have bounds between 0 and 1. All other observations are flattened by Gymnasium; their
numbers stay as they are, except for bytes, which are divided by 255 too.

Dimension key: D numbers in an observation, C channels, H height, W width, ... any leading axes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from wnrl._settings import UsageError
from wnrl.envs.registered.images import (
    BYTE,
    Image,
    Values,
    as_bytes,
    channel_axis,
    full_bytes,
    scaling,
)
from wnrl.envs.vector import Observations, ObservationSpec

SMALLEST_SIDE = 5  # pixels; smaller images have no room for a convolution


class ObservationReader(NamedTuple):
    """How observations of a space become those of a `VectorEnv`."""

    spec: ObservationSpec
    read: Callable[[Values], Observations]  # (..., D), flattened by Gymnasium -> (..., *spec.shape)


def observation_reader(name: str, space: spaces.Space[Any]) -> ObservationReader:
    """Return the reader of a space.

    Args:
        name: name of the environment, for messages.
        space: its observation space.

    Raises:
        UsageError: the size varies, there are no numbers, an image is one of several parts, or an
            array has more than three axes.
    """
    problem = next(_problems(space), None)
    if problem is not None:
        raise UsageError(f"{name!r} has observations {problem}")
    if _axes(space) > 1:
        return _image_reader(space)
    size = spaces.flatdim(space)
    if full_bytes(space):
        spec = ObservationSpec((size,), "uint8", 1, f"{size} bytes, divided by {BYTE}")
        return ObservationReader(spec, as_bytes)
    source = "" if _axes(space) == 1 else f"{type(space).__name__}, flattened by Gymnasium"
    return ObservationReader(ObservationSpec((size,), "float32", 1, source), lambda flat: flat)


def _problems(space: spaces.Space[Any]) -> Iterator[str]:
    """Yield what a network cannot take in a space, and what to do about it."""
    if not space.is_np_flattenable:
        yield f"{space}, whose size varies; choose an id with observations of a fixed size"
    elif spaces.flatdim(space) == 0:
        yield f"{space}, which hold no number; choose an id with observations"
    if images := [path for path, part in _parts(space) if _needs_convolution(part)]:
        yield (
            f"of several parts, and {_named(images)}; a network takes one image or one vector: "
            "wrap the environment so that it gives one, for example in "
            "gymnasium.wrappers.TransformObservation, and register it"
        )
    if _axes(space) > 3:
        yield (
            f"{space.shape}, and an image has 2 or 3 axes; wrap the environment so that it gives "
            "one image, for example with the frames of a stack as channels, and register it"
        )


def _named(images: Sequence[str]) -> str:
    names = " and ".join(map(repr, images))
    return f"{names} are images" if len(images) > 1 else f"{names} is an image"


def _parts(space: spaces.Space[Any], path: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """Yield the spaces inside a `Dict` or `Tuple`, each with its path: `camera`, `robot.0`."""
    inside: dict[Any, spaces.Space[Any]] = {}
    if isinstance(space, spaces.Dict):
        inside = dict(space.spaces)
    elif isinstance(space, spaces.Tuple):
        inside = dict(enumerate(space.spaces))
    for key, part in inside.items():
        yield f"{path}{key}", part
        yield from _parts(part, f"{path}{key}.")


def _axes(space: spaces.Space[Any]) -> int:
    """Return the number of axes of an array of values; 0 for any other space."""
    return len(space.shape or ()) if isinstance(space, Image) else 0


def _needs_convolution(space: spaces.Space[Any]) -> bool:
    """Return whether values are an image that should not be flattened: no small table of floats."""
    axes = _axes(space)
    sides = sorted(space.shape or ())[-2:]  # of (H, W), and at least these of (C, H, W)
    return axes > 3 or (axes > 1 and (min(sides) >= SMALLEST_SIDE or full_bytes(space)))


def _image_reader(space: Any) -> ObservationReader:
    """Return the reader of images (H, W), (C, H, W) or (H, W, C)."""
    shape: tuple[int, ...] = space.shape
    last = len(shape) == 3 and channel_axis(shape) == 2
    seen = (shape[2], *shape[:2]) if last else (1, *shape)[-3:]
    values = scaling(space)

    def read(flat: Values) -> Observations:
        images: npt.NDArray[Any] = values.apply(flat.reshape(*flat.shape[:-1], *shape))
        channels_first = np.moveaxis(images, -1, -3) if last else images
        return np.ascontiguousarray(channels_first).reshape(*flat.shape[:-1], *seen)

    layout = f"channels {'last' if last else 'first'}, " if len(shape) == 3 else ""
    summary = f"{'x'.join(map(str, shape))} {space.dtype}, {layout}{values.summary}"
    return ObservationReader(ObservationSpec(seen, values.dtype, 1, summary), read)
