"""Images as Gymnasium's environments give them: where the channels are, and how values are scaled.

Dimension key: C channels, H height, W width, ... any leading axes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from wnrl.envs.vector import Observations

BYTE = 255
# A bound of this size is the limit of a type rather than one that values come near to.
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LARGEST_INTEGER = 2**31 - 1

Values = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Image = spaces.Box | spaces.MultiBinary


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of the channels in an image of three axes: 0 or 2.

    Height and width are two neighbouring axes of the same length. Where that does not decide, the
    channels are the shorter of the first and the last axis, and the last if both are the same, as
    in (10, 10, 10): Gymnasium's own images have their channels last.

    Args:
        shape: (C, H, W) or (H, W, C).
    """
    first, middle, last = shape
    if (first == middle) != (middle == last):
        return 2 if first == middle else 0
    return 0 if first < last else 2


class Scaling(NamedTuple):
    """What scales the values of a space for a network, which divides bytes by 255."""

    dtype: str  # "uint8" or "float32"
    apply: Callable[[Values], Observations]  # (..., *shape) -> the same, of that type
    summary: str  # a part of a sentence, for people


def scaling(space: Image) -> Scaling:
    """Return what maps every value of a space from its bounds to [0, 1].

    Values with fewer than two bounds stay as they are. Bytes are kept where they lose nothing: they
    take a quarter of the memory.
    """
    if isinstance(space, spaces.MultiBinary) or space.dtype == np.bool_:
        return Scaling("uint8", _switched, "0 or 1")
    if full_bytes(space):
        return Scaling("uint8", as_bytes, f"divided by {BYTE}")
    low, high = _bounds(space)
    bounded = np.isfinite(low) & np.isfinite(high)
    offset = np.where(bounded, low, 0.0)
    span = np.where(bounded & (high > low), high - offset, 1.0)
    if not offset.any() and (span == 1.0).all():
        within = "within 0 and 1" if bounded.all() else "without bounds, so not scaled"
        return Scaling("float32", lambda values: values, within)
    where = "" if bounded.all() else " where they have bounds"

    def scaled(values: Values) -> Observations:
        unit = (values.astype(np.float64) - offset) / span
        return unit.astype(np.float32)

    return Scaling("float32", scaled, f"scaled from {_range(low, high, bounded)} to 0 and 1{where}")


def full_bytes(space: spaces.Space[object]) -> bool:
    """Return whether the values are bytes between 0 and 255."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return False
    return not space.low.any() and bool((space.high == BYTE).all())


def as_bytes(values: Values) -> Observations:
    """Return whole numbers between 0 and 255 as bytes."""
    return values.astype(np.uint8)


def _switched(values: Values) -> Observations:
    return np.where(values != 0, np.uint8(BYTE), np.uint8(0))


def _bounds(space: spaces.Box) -> tuple[Numbers, Numbers]:
    """Return the lower and the upper bound of each value; infinite where there is none."""
    largest = _LARGEST_FLOAT if space.dtype.kind == "f" else _LARGEST_INTEGER
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    return np.where(low <= -largest, -np.inf, low), np.where(high >= largest, np.inf, high)


def _range(low: Numbers, high: Numbers, bounded: npt.NDArray[np.bool_]) -> str:
    lowest, highest = low[bounded], high[bounded]
    if (lowest == lowest[0]).all() and (highest == highest[0]).all():
        return f"{lowest[0]:g} and {highest[0]:g}"
    return "their bounds"
