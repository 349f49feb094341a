"""Layers by name, and states from when they had numbers."""

import copy
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.networks.named_layers import NamedLayers, with_names
from wnrl.nn.networks.q_network import QNetwork, build_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm

PIXELS: tuple[tuple[int, ...], str] = ((2, 36, 36), "uint8")
VECTOR: tuple[tuple[int, ...], str] = ((5,), "float32")


def built(norm: str, observation: tuple[tuple[int, ...], str], seed: int) -> QNetwork:
    generator = torch.Generator().manual_seed(seed)
    return build_q_network(
        NetworkSpec(*observation, 3, norm=get_norm(norm), hidden=(128, 128)), generator
    )


def by_number(network: QNetwork) -> dict[str, Tensor]:
    """The state as it was saved when the torso was a Sequential without names."""
    counted = nn.Sequential(*network.torso.layers).state_dict()
    head = network.head.state_dict()
    torso = {f"torso.layers.{key}": value for key, value in counted.items()}
    return {**torso, **{f"head.{key}": value for key, value in head.items()}}


@pytest.mark.parametrize("observation", [PIXELS, VECTOR])
@pytest.mark.parametrize("norm", NORMS)
def test_a_state_by_number_gives_the_network_that_it_was_taken_from(
    norm: str, observation: tuple[tuple[int, ...], str]
) -> None:
    network, other = built(norm, observation, 1), built(norm, observation, 2)
    saved = by_number(network)
    keys = list(saved)
    assert "torso.layers.hidden1.weight" not in keys
    other.load_state_dict(saved)
    expected, loaded = network.state_dict(), other.state_dict()
    assert expected.keys() == loaded.keys()
    assert all(torch.equal(loaded[key], value) for key, value in expected.items())
    assert list(saved) == keys  # the caller's is left alone


def test_the_keys_are_those_that_runs_were_saved_with() -> None:
    layers = [f"torso.layers.{n}.{what}" for n in (1, 3) for what in ("weight", "bias")]
    assert list(by_number(built("none", VECTOR, 1))) == [*layers, "head.weight", "head.bias"]
    weights = [key for key in by_number(built("batch", PIXELS, 1)) if key.endswith("running_var")]
    assert weights == [f"torso.layers.{n}.running_var" for n in (1, 4, 7, 11)]


def test_a_number_without_a_layer_is_refused_as_any_unknown_key() -> None:
    saved = by_number(built("layer", VECTOR, 1))
    with pytest.raises(RuntimeError, match=r"Unexpected key.*torso.layers.5.weight"):
        built("none", VECTOR, 1).load_state_dict(saved)


def test_the_target_that_an_agent_copies_takes_it_too() -> None:
    network = built("batch", VECTOR, 1)
    copied: Any = copy.deepcopy(built("batch", VECTOR, 2))
    copied.load_state_dict(by_number(network))
    assert torch.equal(copied.torso.layers.hidden1.weight, network.torso.layers[1].weight)


def test_what_was_noted_by_layer_gets_names() -> None:
    network = nn.ModuleDict(
        {"torso": NamedLayers(OrderedDict(flat=nn.Flatten(), fc=nn.Linear(2, 2)))}
    )
    noted = {"v_length/torso.1": 1, "torso.0": 2, "mean/torso.fc": 3, "mean/head": 4, "torso": 5}
    assert with_names(network, noted) == {
        "v_length/torso.fc": 1,
        "torso.flat": 2,
        "mean/torso.fc": 3,
        "mean/head": 4,
        "torso": 5,
    }
