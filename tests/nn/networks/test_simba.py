"""SimBa computes its equations, with any normalization in addition."""

from typing import Any

import pytest
import torch
from torch.nn.functional import layer_norm

from wnrl._settings import UsageError
from wnrl.nn.networks.torsos import build_torso, torso_layers
from wnrl.nn.norms.catalogue import get_norm


def torso(norm: str = "none", hidden: tuple[int, ...] = (6, 6), **options: Any) -> Any:
    torch.manual_seed(0)
    return build_torso(
        (3,), "float32", norm=get_norm(norm), network="simba", hidden=hidden, **options
    )


def test_the_features_are_those_of_the_equations() -> None:
    net, x = torso(), torch.randn(5, 3)
    layers = net.layers
    for norm in (layers.block1.layer_norm, layers.out_layer_norm):
        torch.nn.init.normal_(norm.weight)
    y = layers.embed(x)
    for block in (layers.block1, layers.block2):
        z = layer_norm(y, (6,), block.layer_norm.weight, block.layer_norm.bias, 1e-6)
        y = y + block.down(block.up(z).relu())
    expected = layer_norm(y, (6,), layers.out_layer_norm.weight, layers.out_layer_norm.bias, 1e-6)
    assert torch.allclose(net(x), expected, atol=1e-6)
    assert layers.block1.up.weight.shape == (24, 6)


def test_layers_have_names_and_take_a_normalization_by_place() -> None:
    names = torso_layers((3,), "float32", network="simba", hidden=(6, 6))
    assert names == ("embed", "block1.up", "block1.down", "block2.up", "block2.down")
    net = torso("weight", placed=("block2.up",))
    marked = [name for name in names if type(net.layers.get_submodule(name)).__name__ == "WNLinear"]
    assert marked == ["block2.up"]
    assert torso("batch")(torch.randn(5, 3)).shape == (5, 6)


@pytest.mark.parametrize("hidden", [(), (6, 7), (1,)])
def test_blocks_have_one_number_of_units(hidden: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="simba has one number of units"):
        torso(hidden=hidden)
