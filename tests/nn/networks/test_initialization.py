"""Initialization: owned randomness, torch's distributions, and unit variance from data."""

import copy

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.networks.initialization import (
    init_directions_,
    init_orthogonal_,
    reset_parameters_,
)
from wnrl.nn.networks.q_network import QNetwork, build_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS as CATALOGUE
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.layers.standardization import StandardizedLinear
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.weight import weight_normalization
from wnrl.nn.weight_norm.layers import WNLinear, set_vector_norms_, weight_norm_groups
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.weight_norm import WNAdam

UNIT = 2e-5  # float32 means over some thousand activations
NORMS = {
    "none": get_norm("none"),
    "weight w": get_norm("weight"),
    "weight gv": weight_normalization("gv"),
    "batch": get_norm("batch"),
    "layer": get_norm("layer"),
}
SHAPES = {"mlp": (5,), "nature": (2, 36, 40)}


def network(norm: Norm, kind: str, seed: int = 0, dueling: bool = False) -> QNetwork:
    generator = torch.Generator().manual_seed(seed)
    dtype = "uint8" if kind == "nature" else "float32"
    shape = SHAPES[kind]
    return build_q_network(
        NetworkSpec(shape, dtype, 3, norm=norm, hidden=(16, 8), dueling=dueling), generator
    )


def observations(kind: str, count: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    if kind == "nature":
        size = (count, *SHAPES[kind])
        return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    return 3 + 2 * torch.randn(count, 5, generator=generator)


def pre_activations(net: QNetwork, batch: Tensor) -> list[Tensor]:
    """Outputs of the hidden layers as (samples, units), in the order of the forward pass."""
    found: list[Tensor] = []

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(output.detach().movedim(1, -1).flatten(0, -2))

    hooks = [
        module.register_forward_hook(keep)
        for module in net.torso.modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    net(batch)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", NORMS)
def test_hidden_pre_activations_have_mean_0_and_deviation_1_on_the_batch(
    name: str, kind: str
) -> None:
    net, batch = network(NORMS[name], kind), observations(kind)
    report = init_from_data_(net, batch, sigma_floor=1e-6)
    layers = pre_activations(net, batch)
    assert len(layers) == len(report.layers) == (2 if kind == "mlp" else 4)
    for layer in layers:
        assert torch.allclose(layer.mean(0), torch.zeros(layer.shape[1]), atol=UNIT)
        assert torch.allclose(layer.std(0, correction=0), torch.ones(layer.shape[1]), atol=UNIT)
    assert [r.clipped_fraction for r in report.layers] == [0.0] * len(layers)
    assert all(0 < r.smallest_sigma <= r.median_sigma for r in report.layers)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", CATALOGUE)
def test_every_normalization_starts_from_data_and_says_whose_scale_is_its_own(
    name: str, kind: str
) -> None:
    norm, batch = get_norm(name), observations(kind)
    if name == "group":
        norm = norm.with_settings({"groups": 2})
    net = network(norm, kind)
    buffers = [buffer.clone() for buffer in net.buffers()]
    report = init_from_data_(net, batch, sigma_floor=1e-6)
    assert all(map(torch.equal, net.buffers(), buffers))
    for layer in net.modules():  # as in acting: a training forward may move what a layer knows
        layer.train(not isinstance(layer, nn.Linear | nn.Conv2d))
    layers = pre_activations(net, batch)
    fixed = name in ("spectral", "projection")
    assert [layer.scale_set for layer in report.layers] == [not fixed] * len(layers)
    for t in layers:
        deviation = t.std(0, correction=0)
        assert torch.allclose(t.mean(0), torch.zeros(t.shape[1]), atol=UNIT)
        assert torch.allclose(deviation, torch.ones(t.shape[1]), atol=UNIT) != fixed
    if name == "projection":
        lengths = [m.weight.norm(dim=1) for m in net.torso.modules() if isinstance(m, nn.Linear)]
        assert all(torch.allclose(length, torch.ones_like(length)) for length in lengths)


def test_constant_inputs_hit_the_floor_and_are_reported() -> None:
    net, batch = network(get_norm("weight"), "mlp"), observations("mlp")
    with torch.no_grad():
        layer = net.torso.layers[1]
        layer.weight[3] = torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0])  # type: ignore[operator]
        layer.weight[4] = 0.0  # type: ignore[operator]
    batch[:, 2] = 0.25
    report = init_from_data_(net, batch, sigma_floor=0.1)
    assert report.layers[0].clipped_fraction == 2 / 16
    assert report.layers[0].smallest_sigma == pytest.approx(0.0, abs=1e-6)
    assert layer.weight[3].norm().item() == pytest.approx(10.0)  # type: ignore[operator]
    assert torch.isfinite(torch.cat([p.flatten() for p in net.parameters()])).all()
    first = pre_activations(net, batch)[0]
    assert torch.allclose(first.mean(0), torch.zeros(16), atol=1e-4)
    assert report.layers[0].name == "torso.layers.hidden1"


@pytest.mark.parametrize("dueling", [False, True])
def test_heads_are_left_alone(dueling: bool) -> None:
    net = network(get_norm("none"), "mlp", dueling=dueling)
    before = copy.deepcopy(net.head.state_dict())
    init_from_data_(net, observations("mlp"))
    assert all(torch.equal(before[name], value) for name, value in net.head.state_dict().items())
    sequential = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    report = init_from_data_(sequential, observations("mlp"), heads=[sequential[2]])
    assert [layer.name for layer in report.layers] == ["0"]


@pytest.mark.parametrize("training", [True, False])
def test_modes_running_statistics_and_hooks_stay_as_they_were(training: bool) -> None:
    net, batch = network(get_norm("batch"), "nature"), observations("nature", 8)
    net(batch)
    net.train(training)
    net.torso.layers[1].train(not training)
    modes = [module.training for module in net.modules()]
    buffers = [buffer.clone() for buffer in net.buffers()]
    init_from_data_(net, batch)
    assert [module.training for module in net.modules()] == modes
    assert all(map(torch.equal, net.buffers(), buffers))
    assert all(not module._forward_hooks for module in net.modules())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_a_layer_without_bias_gets_unit_variance_and_keeps_its_mean() -> None:
    net = nn.Sequential(nn.Linear(5, 4, bias=False))
    batch = observations("mlp")
    init_from_data_(net, batch, sigma_floor=1e-6)
    output = net(batch)
    assert torch.allclose(output.std(0, correction=0), torch.ones(4), atol=UNIT)
    assert output.mean(0).abs().max() > 0.1


def test_a_layer_used_twice_is_initialized_at_its_first_use() -> None:
    shared = nn.Linear(5, 5)
    net, batch = nn.Sequential(shared, nn.ReLU(), shared), observations("mlp")
    report = init_from_data_(net, batch, sigma_floor=1e-6)
    assert len(report.layers) == 1
    assert torch.allclose(shared(batch).std(0, correction=0), torch.ones(5), atol=UNIT)


def test_both_storages_start_at_the_same_gains_and_norms_after_it() -> None:
    nets = [network(norm, "mlp") for norm in (get_norm("weight"), weight_normalization("gv"))]
    batch = observations("mlp")
    for net in nets:
        init_from_data_(net, batch)
    stored, computed = nets
    assert torch.equal(stored(batch), computed(batch))
    optimizer = WNAdam(weight_norm_groups(stored), lr=0.0)
    stored(batch).sum().backward()
    optimizer.step()
    norms = optimizer.state[stored.torso.layers[1].weight]["norm"]  # type: ignore[index]
    assert torch.allclose(norms, computed.torso.layers[1].weight_g)  # type: ignore[arg-type]
    assert torch.allclose(norms.flatten(), computed.torso.layers[1].weight_v.norm(dim=1))  # type: ignore[operator,union-attr]


def test_batches_and_floors_that_cannot_be_raise() -> None:
    net = network(get_norm("none"), "mlp")
    with pytest.raises(ValueError, match=r"\(1, 5\)"):
        init_from_data_(net, torch.ones(1, 5))
    with pytest.raises(ValueError, match="sigma_floor is 0"):
        init_from_data_(net, torch.ones(4, 5), sigma_floor=0.0)


def test_reset_parameters_draws_torchs_distribution_from_the_generator_alone() -> None:
    layer = nn.Sequential(nn.Linear(100, 400), nn.Conv2d(4, 50, 5), nn.BatchNorm2d(50))
    gained = StandardizedLinear(2, 2)
    gained.scale_units_(torch.full((2,), 3.0))
    reset_parameters_(gained, torch.Generator().manual_seed(3))
    assert gained.gain.tolist() == [1.0, 1.0]
    state = torch.get_rng_state()
    with torch.no_grad():
        layer[2].weight.fill_(7.0)
    reset_parameters_(layer, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)
    for index in (0, 1):  # U(-0.1, 0.1): fan_in is 100 in both
        weight = layer[index].weight.detach()
        assert weight.abs().max().item() == pytest.approx(0.1, rel=1e-2)
        assert weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
        assert layer[index].bias.abs().max().item() <= 0.1
    assert torch.equal(layer[2].weight, torch.ones(50))
    first = layer[0].weight.detach().clone()
    reset_parameters_(layer, torch.Generator().manual_seed(3))
    assert torch.equal(layer[0].weight, first)
    reset_parameters_(layer, torch.Generator().manual_seed(4))
    assert not torch.equal(layer[0].weight, first)


def test_layers_with_a_random_reset_of_their_own_depend_on_the_generator_alone() -> None:
    layer, drawn = nn.Bilinear(2, 3, 4), []
    for seed, disturbance in ((3, 1), (3, 2), (4, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(disturbance)
            reset_parameters_(layer, torch.Generator().manual_seed(seed))
        drawn.append(layer.weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("dueling", [False, True])
def test_heads_outputs_can_be_given_a_small_deviation(dueling: bool) -> None:
    net, batch = network(get_norm("weight"), "mlp", dueling=dueling), observations("mlp")
    report = init_from_data_(net, batch, sigma_floor=1e-6, head_scale=0.25)
    assert len(report.layers) == (4 if dueling else 3)
    features = net.torso(batch)
    heads = [m for m in net.head.modules() if isinstance(m, nn.Linear)]
    for output in (head(features) for head in heads):
        units = output.shape[1]
        assert torch.allclose(output.mean(0), torch.zeros(units), atol=UNIT)
        assert torch.allclose(output.std(0, correction=0), torch.full((units,), 0.25), atol=UNIT)
    for layer in pre_activations(net, batch):
        assert torch.allclose(layer.std(0, correction=0), torch.ones(layer.shape[1]), atol=UNIT)
    with pytest.raises(ValueError, match="head_scale is 0"):
        init_from_data_(net, batch, head_scale=0.0)


@pytest.mark.parametrize("name", NORMS)
def test_orthogonal_rows_reach_every_kind_of_layer_with_their_gains(name: str) -> None:
    net = network(NORMS[name], "nature")
    init_orthogonal_(net, torch.Generator().manual_seed(1), gain=2.0, gains={net.head: 0.01})
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert len(layers) == 5
    for layer, gain in zip(layers, [2.0] * 4 + [0.01], strict=True):
        rows = layer.weight.detach().flatten(1).double()
        product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        expected = gain**2 * torch.eye(len(product), dtype=torch.float64)
        assert torch.allclose(product, expected, atol=1e-5 * gain**2)  # a float32 QR
        assert layer.bias is not None
        assert not layer.bias.any()


def test_each_gate_of_an_lstm_is_orthogonal_and_plain_ones_are_the_same() -> None:
    weights = []
    for lstm in (WNLSTM(3, 4), WNLSTM(3, 4, storage="w"), nn.LSTM(3, 4)):
        init_orthogonal_(lstm, torch.Generator().manual_seed(2), gain=1.0)
        weights.append(lstm.weight_hh_l0.detach().clone())
        assert not lstm.bias_hh_l0.any()
    for gate in weights[0].chunk(4):
        assert torch.allclose(gate @ gate.T, torch.eye(4), atol=1e-6)  # a float32 QR
    assert torch.allclose(weights[0], weights[1], rtol=1e-6)
    assert torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("name", ["none", "weight w", "weight gv"])
def test_the_papers_directions_are_normal_and_depend_on_the_generator_alone(name: str) -> None:
    nets = [network(NORMS[name], "nature") for _ in range(3)]
    state = torch.get_rng_state()
    for net, seed in zip(nets, (3, 3, 4), strict=True):
        init_directions_(net, torch.Generator().manual_seed(seed))
    assert torch.equal(torch.get_rng_state(), state)
    first, same, other = (net.torso.layers[0].weight.detach() for net in nets)  # type: ignore[operator,union-attr]  # a Tensor
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    wide = nets[0].torso.layers[-2].weight  # type: ignore[union-attr]  # (512, 64)
    assert wide.std().item() == pytest.approx(0.05, rel=0.02)  # type: ignore[operator]  # a Tensor
    assert wide.mean().item() == pytest.approx(0.0, abs=0.001)  # type: ignore[operator]  # a Tensor
    assert not nets[0].torso.layers[0].bias.any()  # type: ignore[operator,union-attr]  # a Tensor


def test_the_papers_whole_recipe_ends_with_unit_variance_and_its_length_of_v() -> None:
    net, batch = network(weight_normalization("gv"), "mlp"), observations("mlp")
    init_directions_(net, torch.Generator().manual_seed(1))
    layer = net.torso.layers[1]
    assert isinstance(layer, WNLinear)
    direction = nn.functional.normalize(layer.weight_v.detach())
    init_from_data_(net, batch, sigma_floor=1e-6)
    set_vector_norms_(net, "paper")
    assert torch.allclose(layer.weight_v.norm(dim=1), torch.full((16,), 0.05 * 5**0.5))
    assert torch.allclose(nn.functional.normalize(layer.weight_v), direction, atol=1e-6)
    first = pre_activations(net, batch)[0]
    assert torch.allclose(first.std(0, correction=0), torch.ones(16), atol=UNIT)


def test_lengths_of_v_can_be_given_for_every_storage_gv_layer() -> None:
    net = nn.ModuleList([WNLinear(3, 8), WNLSTM(3, 2), WNLinear(3, 8, gain="log")])
    weights = [net[0].weight.clone(), net[1].weight_hh_l0.clone(), net[2].weight.clone()]  # type: ignore[operator,union-attr]  # Tensors
    given = torch.arange(1.0, 9.0)
    set_vector_norms_(net, given)
    vectors = (net[0].weight_v, net[1].weight_ih_l0_v, net[1].weight_hh_l0_v, net[2].weight_v)
    for v in vectors:
        assert torch.allclose(v.norm(dim=1), given)  # type: ignore[operator,union-attr]  # a Tensor
    after = [net[0].weight, net[1].weight_hh_l0, net[2].weight]
    assert all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(weights, after, strict=True))  # type: ignore[arg-type]  # Tensors
