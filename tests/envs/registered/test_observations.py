"""What a network gets of the observations of any Gymnasium environment."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from wnrl._settings import UsageError
from wnrl.envs.registered.observations import observation_reader
from wnrl.nn import get_norm
from wnrl.nn.networks.minatar import MinAtarTorso
from wnrl.nn.networks.mlp import MLPTorso
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.networks.torsos import build_torso

SIDES = [(5, 5), (7, 12), (10, 10), (36, 40)]


def seen(space: spaces.Space[Any], *values: Any) -> Any:
    """Return the observations that a network gets of values."""
    reader = observation_reader("Mine-v0", space)
    flat = np.stack([np.asarray(spaces.flatten(space, each), np.float32) for each in values])
    found = reader.read(flat)
    assert found.shape == (len(values), *reader.spec.shape)
    assert found.dtype == reader.spec.dtype
    assert np.array_equal(reader.read(flat[0]), found[0])  # one alone as in a batch
    return found


def image_space(dtype: Any, shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(0, 255 if dtype == np.uint8 else 1, shape, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["first", "last", "none"])
@pytest.mark.parametrize("sides", SIDES)
def test_images_of_any_type_layout_and_size_get_a_convolution(
    dtype: Any, layout: str, sides: tuple[int, int]
) -> None:
    shape = {"first": (3, *sides), "last": (*sides, 3), "none": sides}[layout]
    space = image_space(dtype, shape)
    space.seed(1)
    values = [space.sample() for _ in range(2)]
    expected = np.stack(values).astype(np.float64) / (255 if dtype == np.uint8 else 1)
    if layout == "last":
        expected = expected.transpose(0, 3, 1, 2)
    elif layout == "none":
        expected = expected[:, None]

    found = seen(space, *values)
    scale = 255 if found.dtype == np.uint8 else 1
    assert np.array_equal(found.astype(np.float32) / np.float32(scale), expected.astype(np.float32))
    torso = build_torso(found.shape[1:], str(found.dtype), norm=get_norm("weight"))
    assert type(torso) is (NatureTorso if min(sides) >= 36 else MinAtarTorso)
    assert torso(torch.from_numpy(found)).isfinite().all()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4, 3), (2, 3)])
def test_smaller_arrays_are_for_fully_connected_layers(shape: tuple[int, ...]) -> None:
    space = spaces.Box(-2.0, 2.0, shape)
    found = seen(space, np.ones(shape))
    assert (found == 0.75).all()
    torso = build_torso(found.shape[1:], "float32", norm=get_norm("weight"))
    assert type(torso) is MLPTorso


@pytest.mark.parametrize(
    ("space", "value", "flat"),
    [
        (spaces.Box(-9.0, 9.0, (2,)), [3.0, -4.5], [3.0, -4.5]),  # not scaled
        (spaces.Box(0, 255, (2,), np.uint8), [0, 255], [0, 255]),  # bytes, which a network scales
        (spaces.Discrete(3, start=4), 5, [0, 1, 0]),
        (spaces.MultiBinary(2), [1, 0], [1, 0]),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(-9.0, 9.0, (1,)))), (1, [7.0]), [0, 1, 7]),
        (spaces.Dict(a=spaces.Box(-9.0, 9.0, (2,))), {"a": [1.0, 2.0]}, [1, 2]),
        (spaces.Dict(a=spaces.Box(-9.0, 9.0, (1, 2))), {"a": [[1.0, 2.0]]}, [1, 2]),
    ],
)
def test_vectors_are_flattened_by_gymnasium_and_stay_as_they_are(
    space: spaces.Space[Any], value: Any, flat: list[float]
) -> None:
    assert seen(space, value)[0].tolist() == flat


@pytest.mark.parametrize(
    ("space", "source"),
    [
        (image_space(np.uint8, (96, 96, 3)), "96x96x3 uint8, channels last, divided by 255"),
        (image_space(np.bool_, (10, 10)), "10x10 bool, 0 or 1"),
        (image_space(np.float32, (4, 9, 9)), "4x9x9 float32, channels first, within 0 and 1"),
        (
            spaces.Box(-1.0, 1.0, (9, 9, 4), np.float64),
            "9x9x4 float64, channels last, scaled from -1 and 1 to 0 and 1",
        ),
        (
            spaces.Box(-np.inf, np.inf, (5, 5)),
            "5x5 float32, without bounds, so not scaled",
        ),
        (spaces.Box(0, 255, (128,), np.uint8), "128 bytes, divided by 255"),
        (spaces.Box(-9.0, 9.0, (2,)), ""),
        (spaces.MultiBinary(3), ""),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "MultiDiscrete, flattened by Gymnasium"),
        (spaces.Dict(a=spaces.Discrete(2)), "Dict, flattened by Gymnasium"),
    ],
)
def test_what_became_of_an_image_is_said(space: spaces.Space[Any], source: str) -> None:
    assert observation_reader("Mine-v0", space).spec.source == source


IMAGE = image_space(np.uint8, (7, 7, 3))


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (
            spaces.Dict(image=IMAGE, facing=spaces.Discrete(4)),
            "'Mine-v0' has observations of several parts, and 'image' is an image; .* wrap the env",
        ),
        (spaces.Tuple((IMAGE, IMAGE)), "and '0' and '1' are images;"),
        (spaces.Dict(robot=spaces.Dict(eye=IMAGE)), r"and 'robot\.eye' is an image;"),
        (spaces.Dict(map=spaces.Box(-1.0, 1.0, (5, 5))), "and 'map' is an image;"),
        (spaces.Dict(map=spaces.Box(0, 255, (2, 2), np.uint8)), "and 'map' is an image;"),
        (
            spaces.Box(0, 255, (4, 84, 84, 3), np.uint8),
            r"observations \(4, 84, 84, 3\), and an image has 2 or 3 axes; wrap the environment",
        ),
        (spaces.Sequence(spaces.Discrete(2)), "whose size varies"),
        (spaces.Box(-1.0, 1.0, (0,)), "which hold no number"),
    ],
)
def test_what_no_network_takes_gets_one_sentence(space: spaces.Space[Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        observation_reader("Mine-v0", space)
    assert "\n" not in str(caught.value)
