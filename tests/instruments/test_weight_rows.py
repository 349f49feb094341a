"""Gains, lengths and gradients are read the same from both storages."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from wnrl.config import make_config
from wnrl.envs.vector import EpisodeStatistics
from wnrl.instruments.weight_rows import layer_weights, weight_vectors
from wnrl.nn import (
    WNLSTM,
    SpectralLinear,
    StandardizedLinear,
    WNConv2d,
    WNLinear,
    convert_,
    weight_norm_groups,
)
from wnrl.optim.step import ClippedStep
from wnrl.optim.weight_norm import WNAdam
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import run


def vectors(
    storage: str, v_norm: str, steps: int, **changes: float
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    config = make_config(
        {"env": "toy/Catch", "warmup_steps": 100, "steps": steps, **changes},
        weight_storage=storage,
        v_norm=v_norm,
    )
    parts = resolve(config)
    env = build_env(parts)
    agent = build_agent(parts, env, build_network(parts, env)[0], torch.device("cpu"))
    env.reset()
    for _ in run(env, agent, EpisodeStatistics(env.num_envs), 0, steps):
        pass
    return weight_vectors(agent.network, agent.learner.optimizer)


@pytest.mark.parametrize("v_norm", ["weight", "paper", "unit"])
def test_both_storages_walk_the_same_way_from_the_same_lengths(v_norm: str) -> None:
    w, gv = vectors("w", v_norm, 125), vectors("gv", v_norm, 125)
    assert list(w) == list(gv) == ["torso.layers.hidden1", "torso.layers.hidden2"]
    for layer, (gain, norm) in w.items():
        torch.testing.assert_close(gain, gv[layer][0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm, gv[layer][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("storage", ["w", "gv"])
def test_lengths_start_as_asked(storage: str) -> None:
    for layer, (gain, norm) in vectors(storage, "unit", 110, learning_rate=1e-12).items():
        torch.testing.assert_close(norm, torch.ones_like(norm), msg=layer)
        assert not torch.allclose(gain, norm)


def test_before_its_first_step_an_optimizer_holds_no_lengths() -> None:
    assert vectors("w", "unit", 90) == {}


def stepped_by(optimizer: WNAdam, module: nn.Module, batch: torch.Tensor) -> None:
    output = module(batch)
    (output[0] if isinstance(output, tuple) else output).square().mean().backward()
    optimizer.step()


def test_an_lstm_has_vectors_for_each_of_its_weights_in_both_storages() -> None:
    torch.manual_seed(0)
    batch, lstm = torch.randn(5, 2, 3), WNLSTM(3, 4, storage="w")
    computed = WNLSTM(3, 4)
    computed.load_state_dict(lstm.state_dict())
    normalizing = WNAdam(weight_norm_groups(nn.ModuleDict({"lstm": lstm})), lr=1e-2)
    stepped_by(normalizing, lstm, batch)
    plain = torch.optim.Adam(computed.parameters(), lr=1e-2)
    computed(batch)[0].square().mean().backward()
    plain.step()
    w = weight_vectors(nn.ModuleDict({"lstm": lstm}), normalizing)
    gv = weight_vectors(nn.ModuleDict({"lstm": computed}), ClippedStep(plain))
    assert list(w) == list(gv) == ["lstm.weight_ih_l0", "lstm.weight_hh_l0"]
    for name, (gain, norm) in w.items():
        assert gain.shape == norm.shape == (16,)
        torch.testing.assert_close(gain, gv[name][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm, gv[name][1], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(gain, norm)


def test_plain_layers_that_the_optimizer_normalizes_have_vectors_and_others_have_none() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    optimizer = WNAdam(network.parameters())
    stepped_by(optimizer, network, torch.randn(6, 3))
    assert list(weight_vectors(network, optimizer)) == ["0", "2"]
    assert list(weight_vectors(network, ClippedStep(optimizer))) == ["0", "2"]  # inside another
    network = nn.Sequential(nn.Linear(3, 4))
    assert weight_vectors(network, ClippedStep(torch.optim.SGD(network.parameters()))) == {}


@pytest.mark.parametrize("gain", ["linear", "log"])
def test_the_gradient_of_w_is_that_of_the_same_plain_layer(gain: str) -> None:
    torch.manual_seed(0)
    batch = torch.randn(5, 2, 6, 6, dtype=torch.float64)
    plain = nn.Conv2d(2, 3, 3, dtype=torch.float64)
    layer = WNConv2d(2, 3, 3, dtype=torch.float64, gain=gain, gain_scale=0.7)
    layer.load_state_dict(plain.state_dict())
    with torch.no_grad():
        layer.weight_v.mul_(3.0)  # ||v|| is not g
        if gain == "linear":
            layer.weight_g[1].neg_()
            plain.weight[1].neg_()
    for module in (plain, layer):
        module(batch).pow(3).mean().backward()
    (ours,), (theirs,) = layer_weights(layer), layer_weights(plain)
    torch.testing.assert_close(ours.rows(), theirs.rows())
    assert ours.gradient() is not None
    torch.testing.assert_close(ours.gradient(), theirs.gradient())


def test_what_has_no_whole_gradient_has_none() -> None:
    layer = WNLinear(3, 2, gain="fixed")
    (weight,) = layer_weights(layer)
    assert weight.gradient() is None
    layer(torch.ones(1, 3)).sum().backward()
    assert weight.gradient() is None  # what lies along w is hidden


@pytest.mark.parametrize("kind", [StandardizedLinear, SpectralLinear])
def test_effective_rows_are_what_the_layer_computes_with_in_acting(kind: type[nn.Linear]) -> None:
    layer = kind(3, 2, bias=False).train()
    before = copy.deepcopy(layer.state_dict())
    (weight,) = layer_weights(layer)
    rows = weight.effective_rows()
    assert layer.training
    assert all(map(torch.equal, layer.state_dict().values(), before.values()))
    torch.testing.assert_close(rows, layer.eval()(torch.eye(3)).T)
    assert torch.equal(weight.rows(), layer.weight)


@pytest.mark.parametrize("convert", [False, True])
def test_every_kind_of_layer_has_its_weights(convert: bool) -> None:
    network: nn.Module = nn.ModuleDict(
        {
            "embedding": nn.Embedding(5, 3),
            "cell": nn.GRUCell(3, 4),
            "gru": nn.GRU(3, 4),
            "conv": nn.ConvTranspose1d(2, 3, 2),
        }
    )
    weights = layer_weights(convert_(network) if convert else network)
    assert {weight.name: tuple(weight.rows().shape) for weight in weights} == {
        "embedding": (5, 3),
        "cell.weight_ih": (12, 3),
        "cell.weight_hh": (12, 4),
        "gru.weight_ih_l0": (12, 3),
        "gru.weight_hh_l0": (12, 4),
        "conv": (3, 4),
    }


def test_a_layer_that_computes_its_weight_is_read_at_its_parameter() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(3, 2))
    network = nn.Sequential(layer, nn.BatchNorm1d(2), nn.LayerNorm((2,)))
    (weight,) = layer_weights(network)
    assert weight.name == "0"
    assert torch.equal(weight.rows(), layer.parametrizations.weight.original)
