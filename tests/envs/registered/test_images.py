"""Where the channels of an image are, and how its values come to be between 0 and 1."""

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces

from wnrl.envs.registered.images import channel_axis, scaling

SHAPE = (5, 6, 3)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((84, 84, 1), 2),
        ((1, 84, 84), 0),
        ((4, 84, 84), 0),
        ((96, 96, 3), 2),
        ((210, 160, 3), 2),
        ((3, 210, 160), 0),
        ((7, 7, 3), 2),
        ((5, 5, 20), 2),  # more channels than rows
        ((20, 5, 5), 0),
        ((10, 10, 10), 2),  # nothing tells: as Gymnasium's own images
        ((6, 9, 6), 2),
    ],
)
def test_the_channels_are_the_axis_that_is_not_a_side(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis(shape) == axis


def scaled(
    space: spaces.Box | spaces.MultiBinary, values: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return what a network sees: bytes are divided by 255 there."""
    found = scaling(space).apply(np.asarray(values, np.float32))
    assert found.dtype == scaling(space).dtype
    return found.astype(np.float32) / np.float32(255) if found.dtype == np.uint8 else found


RANGES = {
    np.uint8: [(0, 1), (0, 255), (0, 10), (3, 7)],
    np.int16: [(0, 1), (-1, 1), (-8, 56), (0, 30_000)],
    np.int32: [(0, 255), (0, 10), (-8, 56)],
    np.float16: [(0, 1), (-1, 1), (3, 7), (0, 30_000)],
    np.float32: [(0, 1), (-1, 1), (0, 255), (-0.3, 0.7), (1e-3, 1e3)],
    np.float64: [(0, 1), (-1, 1), (0, 255), (-8, 56)],
}


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [(dtype, *each) for dtype, pairs in RANGES.items() for each in pairs]
)
def test_bounds_become_0_and_1_exactly(dtype: type, low: float, high: float) -> None:
    space = spaces.Box(low, high, SHAPE, dtype)
    values = np.linspace(space.low.min(), space.high.max(), 90).reshape(SHAPE).astype(dtype)
    given = values.astype(np.float32).astype(np.float64)
    bottom, top = space.low.astype(np.float64), space.high.astype(np.float64)
    exact = ((given - bottom) / (top - bottom)).astype(np.float32)
    found = scaled(space, values)
    assert np.array_equal(found, exact)
    assert (found.min(), found.max()) == (0.0, 1.0)


@pytest.mark.parametrize("space", [spaces.MultiBinary(SHAPE), spaces.Box(0, 1, SHAPE, np.bool_)])
def test_switches_are_bytes_of_0_and_255(space: spaces.Box | spaces.MultiBinary) -> None:
    values = np.arange(90).reshape(SHAPE) % 2
    assert scaling(space).apply(values.astype(np.float32)).tolist() == (255 * values).tolist()
    assert scaling(space).summary == "0 or 1"


def test_bytes_of_the_whole_range_stay_bytes() -> None:
    space = spaces.Box(0, 255, (16, 16), np.uint8)
    every = np.arange(256, dtype=np.float32).reshape(16, 16)
    assert scaling(space).dtype == "uint8"
    assert np.array_equal(scaling(space).apply(every), every.astype(np.uint8))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.float32, -np.inf, np.inf),
        (np.float32, 0.0, np.inf),
        (np.float32, np.finfo(np.float32).min, np.finfo(np.float32).max),
        (np.float32, 0.0, np.finfo(np.float32).max),
        (np.float64, -np.inf, np.finfo(np.float64).max),
        (np.int32, np.iinfo(np.int32).min, np.iinfo(np.int32).max),
        (np.int32, 0, np.iinfo(np.int32).max),
        (np.int64, -np.inf, np.inf),
    ],
)
def test_values_without_two_bounds_stay_and_say_so(dtype: type, low: float, high: float) -> None:
    space = spaces.Box(low, high, SHAPE, dtype)
    values = np.arange(90).reshape(SHAPE) - 40
    assert np.array_equal(scaled(space, values), values)
    assert scaling(space).summary == "without bounds, so not scaled"


def test_each_value_has_its_own_bounds() -> None:
    low, high = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    low[..., 1], high[..., 1] = -4.0, 4.0
    high[..., 2] = np.inf
    space = spaces.Box(low, high)
    seen = scaled(space, np.full(SHAPE, 0.5))
    assert (seen[..., 0] == 0.5).all()
    assert (seen[..., 1] == 4.5 / 8).all()
    assert (seen[..., 2] == 0.5).all()
    summary = "scaled from their bounds to 0 and 1 where they have bounds"
    assert scaling(space).summary == summary


def test_a_value_that_cannot_change_is_0() -> None:
    space = spaces.Box(3.0, 3.0, SHAPE)
    assert not scaled(space, np.full(SHAPE, 3.0)).any()
