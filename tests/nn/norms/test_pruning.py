"""Folding of L0 gates to a smaller network: the same outputs, without the closed units."""

import copy
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.networks.actor_critic import build_actor_critic
from wnrl.nn.networks.q_network import build_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.convert import fold_
from wnrl.nn.norms.layers.gates import Gated, GatedConv2d, GatedLinear

L0 = get_norm("l0")


def close_(network: nn.Module, share: float = 0.5) -> None:
    """Close a share of each layer's gates."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, Gated):
            units = len(layer.log_alpha)
            order = torch.randperm(units, generator=generator)
            with torch.no_grad():
                layer.log_alpha.copy_(torch.where(order < share * units, -4.0, 0.7))
                assert layer.bias is not None
                layer.bias.uniform_(0.1, 1.0)  # closed units would be seen


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def folded(network: nn.Module, obs: Tensor) -> nn.Module:
    """Return the folded network, which computes the same."""
    small = fold_(copy.deepcopy(network))
    with torch.no_grad():
        expected, found = network.eval()(obs), small.eval()(obs)
    for one, other in zip(
        *(x if isinstance(x, tuple) else (x,) for x in (expected, found)), strict=True
    ):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, Gated) for module in small.modules())
    return small


def sizes(network: nn.Module) -> list[tuple[int, int]]:
    return [
        (module.weight.shape[1], module.weight.shape[0])
        for module in network.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]


NATURE = [(4, 16), (16, 32), (32, 32), (32 * 7 * 7, 256), (256, 3)]


def q_network(torso: str, shape: Sequence[int], dtype: str, **options: bool) -> nn.Module:
    spec = NetworkSpec(tuple(shape), dtype, 3, norm=L0, torso=torso, hidden=(16, 8), **options)
    network = build_q_network(spec, torch.Generator().manual_seed(0))
    close_(network)
    return network


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(2)).to(torch.uint8)


def test_half_of_the_nature_network_is_removed_across_its_flattening() -> None:
    network = q_network("nature", (4, 84, 84), "uint8")
    small = folded(network, images(2, 4, 84, 84))
    assert sizes(small) == NATURE
    assert weights(small) < 0.27 * weights(network)
    conv = small.get_submodule("torso.layers.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert (conv.in_channels, conv.out_channels) == (16, 32)
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_both_streams_of_a_dueling_head_read_less() -> None:
    small = folded(q_network("mlp", (5,), "float32", dueling=True), torch.randn(6, 5))
    assert sizes(small) == [(5, 8), (8, 4), (4, 1), (4, 3)]


def test_what_a_skip_connection_adds_stays() -> None:
    small = folded(q_network("impala", (4, 20, 20), "uint8"), images(2, 4, 20, 20))
    for section, channels in (("section1", 16), ("section2", 32), ("section3", 32)):
        for block in ("block1", "block2"):
            first = small.get_submodule(f"torso.layers.{section}.{block}.conv1")
            second = small.get_submodule(f"torso.layers.{section}.{block}.conv2")
            assert (first.in_channels, first.out_channels) == (channels, channels // 2)
            assert (second.in_channels, second.out_channels) == (channels // 2, channels)


@pytest.mark.parametrize("separate", [False, True])
def test_an_actor_critic_is_folded_too(separate: bool) -> None:
    spec = NetworkSpec((5,), "float32", 3, norm=L0, hidden=(16, 8), separate=separate)
    network = build_actor_critic(spec, torch.Generator().manual_seed(0))
    close_(network)
    small = folded(network, torch.randn(6, 5))
    assert sizes(small)[:2] == [(5, 8), (8, 4)]
    assert weights(small) < 0.5 * weights(network)


def test_what_an_lstm_reads_stays() -> None:
    network = q_network("mlp", (5,), "float32", lstm_units=4)
    small = folded(network, torch.randn(6, 5))
    assert sizes(small) == [(5, 8), (8, 8), (4, 3)]
    assert small.get_submodule("lstm").input_size == 8


def test_one_unit_stays_where_all_gates_are_closed() -> None:
    network = nn.Sequential(GatedLinear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    close_(network, share=1.0)
    small = folded(network, torch.randn(5, 3))
    assert sizes(small) == [(3, 1), (1, 2)]


def test_an_open_unit_with_nothing_but_a_bias_stays() -> None:
    network = nn.Sequential(GatedLinear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    close_(network)
    with torch.no_grad():
        network[0].weight.zero_()  # type: ignore[union-attr, operator]
    assert sizes(folded(network, torch.randn(5, 3))) == [(3, 2), (2, 2)]


class Twice(nn.Module):
    """A layer whose output two others read, one of them by a function that is no module."""

    def __init__(self, after: str) -> None:
        super().__init__()
        self.first, self.second, self.after = GatedLinear(3, 4), nn.Linear(4, 2), after

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if self.after == "cosine":  # which does not keep 0
            return self.second(hidden.cos())
        if self.after == "again":  # for another input, of which every column counts
            return self.second(hidden) + self.second(torch.cat((x, x[:, :1]), dim=1))
        if self.after == "branch":  # which cannot be traced
            return self.second(hidden if x.sum() > -math.inf else x)
        return self.second(hidden) + self.second(-hidden)


@pytest.mark.parametrize("after", ["cosine", "twice", "again"])
def test_units_stay_where_zeros_are_not_all_that_is_read(after: str) -> None:
    network = Twice(after)
    close_(network)
    assert sizes(folded(network, torch.randn(5, 3))) == [(3, 4), (4, 2)]


def test_a_forward_pass_that_cannot_be_traced_is_told_and_keeps_its_units() -> None:
    network = Twice("branch")
    close_(network)
    with pytest.warns(UserWarning, match="no unit is removed, because Twice's forward pass"):
        small = folded(network, torch.randn(5, 3))
    assert sizes(small) == [(3, 4), (4, 2)]


@pytest.mark.parametrize("flatten", [nn.Flatten(), nn.Flatten(2)])
def test_only_a_flattening_of_all_axes_is_followed(flatten: nn.Flatten) -> None:
    last = nn.Linear(4 * 9 if flatten.start_dim == 1 else 9, 2)
    network = nn.Sequential(GatedConv2d(2, 4, 3), nn.ReLU(), flatten, last)
    close_(network)
    small = folded(network, torch.randn(3, 2, 5, 5))
    expected = [(2, 2), (18, 2)] if flatten.start_dim == 1 else [(2, 4), (9, 2)]
    assert sizes(small) == expected


def test_a_grouped_convolution_keeps_its_inputs() -> None:
    network = nn.Sequential(GatedConv2d(2, 4, 1), nn.Conv2d(4, 4, 1, groups=2))
    close_(network)
    assert sizes(folded(network, torch.randn(3, 2, 5, 5))) == [(2, 4), (2, 4)]
