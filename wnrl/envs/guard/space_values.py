"""Fit a value of an environment to the space that it declares, without losing anything.

NumPy's conversions would: 0.7 in a space of bytes becomes 0, and -1 in `Discrete(5)` becomes 4.
Here such values are errors, while lists, tensors and other types of the same numbers are taken.
The bounds of a `Box` are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from wnrl.envs.guard.description import kind_of

Array = npt.NDArray[Any]


@singledispatch
def fitted(space: spaces.Space[Any], value: Any) -> Any:
    """Return a value of a space as `gymnasium.spaces.flatten` takes it.

    Args:
        space: one of a fixed size.
        value: what the environment returned for it.

    Raises:
        Exception: it is not of that space; usually a ValueError with the reason.
    """
    return value  # text and users' own spaces: `flatten` checks them


@fitted.register(spaces.Box)
def fitted_box(space: spaces.Box, value: Any) -> Array:
    """Return a value of a `Box` as an array of its shape and type, perhaps the value itself.

    Raises:
        Exception: another shape, no numbers, or numbers that its type cannot hold.
    """
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.shape != space.shape:
        raise _misshapen(value, array)
    if array.dtype == space.dtype:
        return array
    return _converted(array, np.dtype(space.dtype))


@fitted.register(spaces.MultiBinary)
def _(space: spaces.MultiBinary, value: Any) -> Array:
    return _whole(space, value, 0, 2)


@fitted.register(spaces.MultiDiscrete)
def _(space: spaces.MultiDiscrete, value: Any) -> Array:
    return _whole(space, value, space.start, space.nvec)


@fitted.register(spaces.Discrete)
def _(space: spaces.Discrete, value: Any) -> int:
    array = np.asarray(value)
    if array.size != 1:
        raise _misshapen(value, array)
    return int(_whole(space, array.reshape(()), space.start, space.n))


@fitted.register(spaces.Tuple)
def _(space: spaces.Tuple[Any], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
        raise ValueError(f"it is no tuple of {len(space.spaces)} parts")
    return tuple(fitted(part, x) for part, x in zip(space.spaces, value, strict=True))


@fitted.register(spaces.Dict)
def _(space: spaces.Dict, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("it is no dict")
    missing = [key for key in space.spaces if key not in value]
    if missing:
        raise ValueError(f"it has no {missing[0]!r}")
    return {key: fitted(part, value[key]) for key, part in space.spaces.items()}


def _misshapen(value: Any, array: Array) -> ValueError:
    """Return the error for a value that became an array of another shape."""
    return ValueError(f"its shape is {array.shape}" if array.ndim else f"it is {kind_of(value)}")


def _whole(space: spaces.Space[Any], value: Any, start: Any, count: Any) -> Array:
    """Return whole numbers from `start` on, as an array of the space's shape and type."""
    array = np.asarray(value)
    if array.shape != space.shape:
        raise _misshapen(value, array)
    whole = _converted(array, np.dtype(space.dtype))
    if ((whole < start) | (whole >= start + count)).any():
        raise ValueError(f"{array.tolist()} is outside")
    return whole


def _converted(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return numbers as another type; whole numbers stay what they are."""
    if array.dtype.kind not in "biufO":
        raise ValueError(f"its type is {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # what it cannot hold is found below
        converted = array.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(converted, array):
        raise ValueError(f"its numbers are of type {array.dtype} and do not fit {dtype}")
    return converted
