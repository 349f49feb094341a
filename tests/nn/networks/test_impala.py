"""The residual network: the paper's layers, where a normalization stands, and how it starts."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.networks.initialization import init_orthogonal_, reset_parameters_
from wnrl.nn.networks.named_layers import NamedLayers
from wnrl.nn.networks.q_network import Initialize, QNetwork, build_q_network
from wnrl.nn.networks.residual.impala import LAYERS, ImpalaTorso
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.networks.torsos import torso_layers
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.weight import weight_normalization

SHAPE = (2, 12, 9)
UNIT = 2e-5  # float32 means over some thousand activations


def build(
    norm: Norm | None = None,
    seed: int = 0,
    initialize: Initialize = reset_parameters_,
    **settings: Any,
) -> QNetwork:
    network = build_q_network(
        NetworkSpec(SHAPE, "uint8", 3, norm=norm or get_norm("none"), torso="impala", **settings),
        torch.Generator().manual_seed(seed),
        initialize,
    )
    assert isinstance(network, QNetwork)
    return network


def frames(count: int = 4, shape: tuple[int, ...] = SHAPE) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)


def layer(network: nn.Module, name: str) -> Any:
    return network.get_submodule(f"torso.layers.{name}")


def by_hand(network: QNetwork, obs: Tensor, norms: bool) -> Tensor:
    """The paper's figure, written out."""

    def apply(name: str, x: Tensor) -> Tensor:
        x = layer(network, name)(x)
        return layer(network, f"{name}_norm")(x) if norms else x

    x = obs.float() / 255
    for section in ("section1", "section2", "section3"):
        x = nn.functional.max_pool2d(apply(f"{section}.conv", x), 3, stride=2, padding=1)
        for block in ("block1", "block2"):
            inside = apply(f"{section}.{block}.conv1", x.relu())
            x = x + apply(f"{section}.{block}.conv2", inside.relu())
    return apply("fc", x.relu().flatten(1)).relu()


@pytest.mark.parametrize("name", ["none", "layer"])
def test_it_is_the_papers_figure_with_a_normalization_after_each_layer(name: str) -> None:
    network, obs = build(get_norm(name)), frames()
    expected = by_hand(network, obs, norms=name == "layer")
    torch.testing.assert_close(network.torso(obs), expected, rtol=1e-4, atol=1e-6)


def test_atari_has_15_convolutions_and_1_09_million_parameters() -> None:
    torso = ImpalaTorso((4, 84, 84), "uint8", get_norm("none"))
    convolutions = [m for m in torso.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16] * 5 + [32] * 10
    assert torso.layers.fc.in_features == 32 * 11 * 11
    # By hand: 592 + 4 * 2_320, 4_640 + 4 * 9_248, 5 * 9_248, 256 * 3_873.
    assert sum(p.numel() for p in torso.parameters()) == 1_089_232
    assert torso(frames(2, (4, 84, 84))).shape == (2, 256)
    assert convolutions[0].weight.is_contiguous(memory_format=torch.channels_last)
    wide = ImpalaTorso((4, 84, 84), "uint8", get_norm("none"), width=3)
    assert [m.out_channels for m in wide.modules() if isinstance(m, nn.Conv2d)] == (
        [48] * 5 + [96] * 10
    )
    assert (wide.layers.fc.in_features, wide.num_features) == (96 * 11 * 11, 256)


def test_normalizations_have_the_shapes_of_the_maps_where_they_stand() -> None:
    network = build(get_norm("layer"), width=2)
    shapes = [m.normalized_shape for m in network.modules() if isinstance(m, nn.LayerNorm)]
    section1, section2, section3 = (32, 6, 5), (64, 3, 3), (64, 2, 2)
    assert shapes == [
        (32, 12, 9), *[section1] * 4, (64, 6, 5), *[section2] * 4, (64, 3, 3), *[section3] * 4,
        (256,),
    ]  # fmt: skip
    assert network(frames()).shape == (4, 3)


def test_its_names_are_those_of_its_layers_and_any_can_be_placed() -> None:
    names = torso_layers(SHAPE, "uint8", network="impala")
    assert names == LAYERS
    layers = [
        name.removeprefix("torso.layers.")
        for name, m in build().torso.named_modules(prefix="torso")
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    assert tuple(layers) == names
    assert not any("," in name for name in names)
    network = build(get_norm("batch"), where="section2.block1.conv2,section3.conv")
    found = [name for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert found == [
        "torso.layers.section2.block1.conv2_norm",
        "torso.layers.section3.conv_norm",
    ]


def test_a_state_dict_has_the_names_and_loads_by_number_too() -> None:
    network, other = build(), build(seed=1)
    expected = network.state_dict()
    assert "torso.layers.section1.block2.conv1.weight" in expected

    def numbered(name: str) -> str:
        module: nn.Module = network
        parts = []
        for part in name.split("."):
            at = list(module._modules)
            parts.append(str(at.index(part)) if isinstance(module, NamedLayers) else part)
            module = getattr(module, part)
        return ".".join(parts)

    saved = {numbered(name): value for name, value in expected.items()}
    assert "torso.layers.0.2.1.weight" in saved
    other.load_state_dict(saved)
    assert all(map(torch.equal, other.state_dict().values(), expected.values()))


def orthogonal(network: nn.Module, generator: torch.Generator) -> None:
    init_orthogonal_(network, generator, gains={network.head: 0.01})  # type: ignore[dict-item]


STARTS_AS_NONE = {
    "weight w": weight_normalization("w"),
    "weight gv": weight_normalization("gv"),
    "weight-mean": NORMS["weight-mean"],
    "mean": NORMS["mean"],
}


@pytest.mark.parametrize("name", STARTS_AS_NONE)
def test_with_orthogonal_weights_the_function_at_start_is_the_plain_networks(name: str) -> None:
    plain = build(initialize=orthogonal).eval()(frames())
    ours = build(STARTS_AS_NONE[name], initialize=orthogonal).eval()
    torch.testing.assert_close(ours(frames()), plain, rtol=1e-4, atol=1e-6)  # 16 float32 layers
    assert not torch.equal(build(seed=1, initialize=orthogonal)(frames()), plain)
    if name == "weight gv":
        for each in LAYERS:
            rows = layer(ours, each).effective_weight().detach().flatten(1).double()
            product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
            expected = 2 * torch.eye(len(product), dtype=torch.float64)
            assert torch.allclose(product, expected, atol=1e-5)  # a float32 QR


@pytest.mark.parametrize("name", ["none", "weight w", "weight gv", "batch", "layer"])
def test_data_give_every_convolution_unit_variance(name: str) -> None:
    network, batch = build(STARTS_AS_NONE.get(name) or get_norm(name)), frames(64)
    report = init_from_data_(network, batch, sigma_floor=1e-6)
    assert [each.name for each in report.layers] == [f"torso.layers.{each}" for each in LAYERS]
    assert all(each.scale_set for each in report.layers)
    found: dict[str, Tensor] = {}
    for each in LAYERS:
        layer(network, each).register_forward_hook(
            lambda _, inputs, output, each=each: found.update({each: output.detach()})
        )
    network(batch)
    for each, output in found.items():
        samples = output.movedim(1, -1).flatten(0, -2)
        zeros, ones = torch.zeros(samples.shape[1]), torch.ones(samples.shape[1])
        assert torch.allclose(samples.mean(0), zeros, atol=UNIT), each
        assert torch.allclose(samples.std(0, correction=0), ones, atol=UNIT), each


def test_images_of_any_size_and_nothing_else() -> None:
    for dtype in ("uint8", "float32"):
        network = build_q_network(
            NetworkSpec((1, 1, 2), dtype, 2, norm=get_norm("none"), torso="impala"),
            torch.Generator(),
        )
        obs = frames(2, (1, 1, 2)) if dtype == "uint8" else frames(2, (1, 1, 2)) / 255
        assert network(obs).shape == (2, 2)
        if dtype == "uint8":
            of_pixels = network.state_dict(), network(obs)
    network.load_state_dict(of_pixels[0])
    torch.testing.assert_close(network(obs), of_pixels[1])
    with pytest.raises(UsageError, match=r"impala takes images .*\(3,\); use mlp"):
        build_q_network(
            NetworkSpec((3,), "float32", 2, norm=get_norm("none"), torso="impala"),
            torch.Generator(),
        )
    with pytest.raises(UsageError, match="groups 32 does not divide a layer of 16 units"):
        build(get_norm("group"))
    assert build(get_norm("group"), width=2)(frames()).isfinite().all()
