"""Networks: shapes, /255, equation 9, and an initial function that the norm does not change."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from wnrl._settings import UsageError
from wnrl.nn.networks.heads import DuelingHead
from wnrl.nn.networks.minatar import MinAtarTorso
from wnrl.nn.networks.mlp import MLPTorso
from wnrl.nn.networks.nature import NatureTorso
from wnrl.nn.networks.q_network import QNetwork, build_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.weight import weight_normalization
from wnrl.optim.step import OptimizerSpec

ATARI = (4, 84, 84)


def build(
    shape: tuple[int, ...] = (3,),
    dtype: str = "float32",
    norm: Norm | None = None,
    seed: int = 0,
    **settings: Any,
) -> QNetwork:
    generator = torch.Generator().manual_seed(seed)
    return build_q_network(
        NetworkSpec(shape, dtype, 5, norm=norm or get_norm("none"), **settings), generator
    )


def frames(count: int, shape: tuple[int, ...] = ATARI, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def test_the_nature_network_has_the_papers_layers_and_1_69_million_parameters() -> None:
    net = build(ATARI, "uint8")
    shapes = [tuple(p.shape) for p in net.parameters() if p.ndim > 1]
    assert shapes == [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (5, 512)]
    assert sum(p.numel() for p in net.parameters()) == 1_686_693
    assert net(frames(2)).shape == (2, 5)


def test_the_first_convolution_sees_each_pixel_over_255_in_channels_last() -> None:
    seen: list[torch.Tensor] = []
    for shape in (ATARI, (1, 36, 40)):
        net, obs = build(shape, "uint8"), frames(3, shape)
        before = obs.clone()
        net.torso.layers[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        net(obs)
        assert torch.equal(seen[-1], before.float() / 255)
        assert seen[-1].is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(obs, before)


def test_pixels_are_divided_by_255_inside_and_weights_are_channels_last() -> None:
    net, obs = build(ATARI, "uint8"), frames(2)
    by_hand = nn.Sequential(*net.torso.layers)(obs.float() / 255)
    assert torch.allclose(net.torso(obs), by_hand, rtol=1e-4, atol=1e-6)
    first = net.torso.layers[0].weight
    assert isinstance(first, torch.Tensor)
    assert first.is_contiguous(memory_format=torch.channels_last)
    small = build((1, 4, 3), "uint8")
    assert torch.equal(
        small(frames(2, (1, 4, 3))), small.head(small.torso.layers(frames(2, (1, 4, 3)) / 255))
    )


@pytest.mark.parametrize(
    ("shape", "dtype", "torso"),
    [
        (ATARI, "uint8", NatureTorso),
        ((1, 36, 36), "uint8", NatureTorso),
        ((4, 35, 84), "uint8", MinAtarTorso),
        ((84, 84), "uint8", MLPTorso),
        ((4, 84, 84), "float32", NatureTorso),
        ((3,), "float32", MLPTorso),
    ],
)
def test_images_of_at_least_36_pixels_get_the_nature_torso(
    shape: tuple[int, ...], dtype: str, torso: type
) -> None:
    net = build(shape, dtype, hidden=(6,))
    assert type(net.torso) is torso
    obs = frames(2, shape) if dtype == "uint8" else torch.ones(2, *shape)
    assert net(obs).shape == (2, 5)


@pytest.mark.parametrize(("shape", "dtype"), [((3,), "float32"), ((2, 36, 40), "uint8")])
def test_weight_norm_starts_at_the_plain_networks_function(
    shape: tuple[int, ...], dtype: str
) -> None:
    obs = frames(4, shape) if dtype == "uint8" else torch.arange(12.0).reshape(4, 3)
    plain = build(shape, dtype)(obs)
    assert torch.equal(build(shape, dtype, get_norm("weight"))(obs), plain)
    # channels_last sums the squares of ||v|| in another order than the initialization did.
    computed = build(shape, dtype, weight_normalization("gv"))(obs)
    assert torch.allclose(computed, plain, rtol=1e-5, atol=1e-7)
    assert not torch.equal(build(shape, dtype, seed=1)(obs), plain)


@pytest.mark.parametrize("name", NORMS)
def test_building_leaves_the_global_generator_and_depends_on_its_own_alone(name: str) -> None:
    state = torch.get_rng_state()
    first = build((2, 36, 36), "uint8", get_norm(name)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        second = build((2, 36, 36), "uint8", get_norm(name)).state_dict()
    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_dueling_head_is_equation_9() -> None:
    head = DuelingHead(2, 3)
    with torch.no_grad():
        head.value.weight.copy_(torch.tensor([[1.0, 2.0]]))
        head.advantage.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]))
        head.value.bias.fill_(10.0)
        head.advantage.bias.zero_()
    # V = 10 + 1 + 4 = 15; A = (1, 2, 6), mean 3.
    assert head(torch.tensor([[1.0, 2.0]])).tolist() == [[13.0, 14.0, 18.0]]
    dueling = build(dueling=True)
    assert type(dueling.head) is DuelingHead
    assert dueling(torch.ones(2, 3)).shape == (2, 5)


def test_observations_of_another_shape_or_type_raise() -> None:
    net = build(ATARI, "uint8")
    with pytest.raises(ValueError, match=r"\(1, 84, 84, 4\)"):
        net(frames(1, (84, 84, 4)))
    with pytest.raises(ValueError, match=r"float32: expected \(B, 4, 84, 84\) torch.uint8"):
        net(frames(1).float())
    with pytest.raises(ValueError, match="float64"):
        build()(torch.ones(1, 3, dtype=torch.float64))


def test_networks_that_cannot_be_raise() -> None:
    with pytest.raises(UsageError, match="float64"):
        build(dtype="float64")
    with pytest.raises(UsageError, match=r"hidden is \(\)"):
        build(hidden=())
    with pytest.raises(UsageError, match="num_actions is 0"):
        build_q_network(NetworkSpec((3,), "float32", 0, norm=get_norm("none")), torch.Generator())
    with pytest.raises(ValueError, match="at least 36"):
        NatureTorso((4, 35, 84), "uint8", get_norm("none"))


@pytest.mark.parametrize("name", NORMS)
def test_a_nature_network_takes_a_step_that_lowers_its_loss(name: str) -> None:
    norm, obs = get_norm(name), frames(8)
    net = build(ATARI, "uint8", norm)
    target = copy.deepcopy(net)
    optimizer = norm.optimizer(net, OptimizerSpec("adam", 1e-4, max_grad_norm=10.0))
    losses = []
    for _ in range(3):
        loss = (net(obs) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert not torch.equal(net.head.weight, target.head.weight)  # type: ignore[arg-type]
    assert net.torso.layers[0].weight.stride() == target.torso.layers[0].weight.stride()  # type: ignore[operator,union-attr]
