"""L0 gates: the hard concrete distribution, its expected L0, and draws that a state continues."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.convert import fold_
from wnrl.nn.norms.layers.gates import (
    LEAST,
    MOST,
    Gated,
    GatedConv2d,
    GatedLinear,
    bound_gates_,
    expected_l0,
)


def linear(*log_alpha: float, inputs: int = 3, bias: bool = True) -> GatedLinear:
    layer = GatedLinear(inputs, len(log_alpha), bias=bias).double()
    with torch.no_grad():
        layer.log_alpha.copy_(torch.tensor(log_alpha))
    return layer


def test_a_gate_is_equation_10_and_11(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: u = 1/2 and log alpha = 0 give s = 1/2, z = 0.5 1.2 - 0.1."""
    layer = linear(0.0, 0.0, 0.0, 1.0)
    u = torch.tensor([0.5, 0.9, 0.1, 0.25], dtype=torch.float64)
    monkeypatch.setattr(layer, "_uniform", lambda: u)
    # log(9) 3/2 = 3.2958: s = 0.96429, stretched 1.0571; and (1 - log 3) 3/2 = -0.14792
    last = 1.2 / (1 + math.exp(0.14791843)) - 0.1
    assert layer.drawn_gates().tolist() == pytest.approx([0.5, 1.0, 0.0, last], abs=1e-7)


def test_the_probability_of_an_open_gate_is_equation_12() -> None:
    """By hand: -2/3 log(0.1 / 1.1) = 1.598597, so P = 1 / (1 + exp(-1.598597)) at log alpha 0."""
    layer = linear(0.0, -2.0)
    expected = [1 / (1 + math.exp(-1.5985968)), 1 / (1 + math.exp(0.4014032))]
    assert layer.open_probability().tolist() == pytest.approx(expected, abs=1e-7)
    # Two units of 3 weights and a bias; without the bias, 3 weights each.
    assert layer.expected_l0().item() == pytest.approx(4 * sum(expected), abs=1e-6)
    assert linear(0.0, -2.0, bias=False).expected_l0().item() == pytest.approx(3 * sum(expected))
    network = nn.Sequential(layer, nn.ReLU(), nn.Linear(2, 2))
    assert expected_l0(network).item() == pytest.approx(4 * sum(expected), abs=1e-6)


def test_the_gate_of_a_test_is_equation_13() -> None:
    """By hand: closed from log(1/11) = -2.3979 on, open from log(11) on."""
    layer = linear(0.0, math.log(3), -2.39, -2.40, 2.40)
    gates = layer.eval().gates().tolist()
    assert gates[:2] == pytest.approx([0.5, 0.8])
    assert gates[2] > 0
    assert gates[3:] == [0.0, 1.0]


def their_numbers(log_alpha: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return (drawn, open probability, test gate) as the authors' l0_layers.py computes them.

    `quantile_concrete` of u, 1 - `cdf_qz(0)` and `sample_z(sample=False)`, in NumPy.
    """

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    temperature, low, high = 2.0 / 3.0, -0.1, 1.1
    y = sigmoid((np.log(u) - np.log(1 - u) + log_alpha) / temperature)
    drawn = np.clip(y * (high - low) + low, 0, 1)
    zero = (0 - low) / (high - low)
    cdf = sigmoid((np.log(zero) - np.log(1 - zero)) * temperature - log_alpha)
    test = np.clip(sigmoid(log_alpha) * (high - low) + low, 0, 1)
    return drawn, 1 - np.clip(cdf, 1e-6, 1 - 1e-6), test


def test_gates_equal_those_of_the_authors_code(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    log_alpha, u = generator.uniform(-4, 4, 500), generator.uniform(1e-6, 1 - 1e-6, 500)
    layer = linear(*log_alpha)
    monkeypatch.setattr(layer, "_uniform", lambda: torch.from_numpy(u))
    drawn, probability, test = their_numbers(layer.log_alpha.detach().numpy(), u)
    np.testing.assert_allclose(layer.drawn_gates().detach(), drawn, atol=1e-12)
    np.testing.assert_allclose(layer.open_probability().detach(), probability, atol=1e-12)
    np.testing.assert_allclose(layer.test_gates().detach(), test, atol=1e-12)


def test_draws_are_uniform_and_open_as_often_as_expected() -> None:
    layer = linear(*[-1.0] * 4_000)
    draws = torch.stack([layer._uniform() for _ in range(25)])
    assert draws.min() > 0
    assert draws.max() < 1
    assert torch.unique(draws).numel() > 98_000  # of 100,000 in 2^23 places
    counts = torch.histc(draws.flatten(), 100, 0.0, 1.0)
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 160  # chi-squared of 99: above in 1 of 10,000
    neighbours = torch.corrcoef(torch.stack((draws[:, :-1].flatten(), draws[:, 1:].flatten())))
    later = torch.corrcoef(torch.stack((draws[:-1].flatten(), draws[1:].flatten())))
    assert abs(neighbours[0, 1]) < 0.013
    assert abs(later[0, 1]) < 0.013
    opened = torch.stack([layer.drawn_gates() > 0 for _ in range(25)]).double().mean()
    assert opened.item() == pytest.approx(layer.open_probability()[0].item(), abs=0.006)


def test_a_loaded_state_continues_the_draws_and_a_copy_has_the_same() -> None:
    layer, other = linear(0.0, 0.0), linear(0.0, 0.0)
    layer.drawn_gates()
    copied = copy.deepcopy(layer)
    other.load_state_dict(layer.state_dict())
    expected = [layer.drawn_gates().tolist() for _ in range(3)]
    assert [copied.drawn_gates().tolist() for _ in range(3)] == expected
    assert [other.drawn_gates().tolist() for _ in range(3)] == expected
    assert expected[0] != expected[1]


def test_draws_do_not_touch_the_global_generator() -> None:
    layer = linear(0.0, 0.0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    layer.train()(torch.ones(2, 3, dtype=torch.float64))
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_draws_nothing() -> None:
    layer = linear(0.0, 1.0).eval()
    x = torch.ones(2, 3, dtype=torch.float64)
    assert torch.equal(layer(x), layer(x))
    assert layer.noise_count.item() == 0
    assert not torch.equal(layer.train()(x), layer(x))
    assert layer.noise_count.item() == 2


@pytest.mark.parametrize("training", [True, False])
def test_weights_and_bias_of_a_unit_share_its_gate(training: bool) -> None:
    torch.manual_seed(0)
    linear, conv = GatedLinear(5, 4), GatedConv2d(2, 4, 3, 2, 1)
    x, maps = torch.randn(7, 5), torch.randn(3, 2, 6, 6)
    for layer, batch in ((linear, x), (conv, maps)):
        layer.train(training)
        before = copy.deepcopy(layer.state_dict())
        gates = layer.gates()
        layer.load_state_dict(before)
        plain = type(layer).__mro__[2].forward(layer, batch)
        expected = plain * gates.reshape([1, -1] + [1] * (batch.ndim - 2))
        torch.testing.assert_close(layer(batch), expected)


def test_the_gradient_of_the_gates_is_right() -> None:
    layer = linear(0.3, -0.7, 1.1)
    state = copy.deepcopy(layer.state_dict())

    def output(log_alpha: Tensor) -> Tensor:
        layer.load_state_dict(state)
        gates = torch.func.functional_call(
            layer, {"log_alpha": log_alpha}, (torch.ones(2, 3, dtype=torch.float64),)
        )
        return gates.sum() + 0.1 * expected_l0(layer)

    point = layer.log_alpha.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(output, (point,))


def test_log_alpha_stays_within_the_authors_bounds() -> None:
    network = nn.Sequential(linear(-9.0, 0.5, 9.0))
    bound_gates_(network)
    assert network[0].log_alpha.tolist() == pytest.approx([LEAST, 0.5, MOST])


def test_the_penalty_is_lambda_over_n_times_the_expected_l0() -> None:
    norm = get_norm("l0").with_settings({"penalty": "0.5", "samples": "1_000"})
    network = nn.Sequential(linear(0.0, -2.0), nn.ReLU(), linear(1.0, inputs=2))
    assert norm.penalty is not None
    expected = 0.5 / 1_000 * expected_l0(network).item()
    assert norm.penalty(network).item() == pytest.approx(expected)
    assert expected > 0


def test_the_drop_rate_places_the_gates_at_the_start() -> None:
    torch.manual_seed(0)
    layer = GatedLinear(2, 1_000, drop_rate=0.2)
    assert layer.log_alpha.mean().item() == pytest.approx(math.log(4), abs=2e-3)
    assert layer.log_alpha.std().item() == pytest.approx(1e-2, rel=0.1)


@pytest.mark.parametrize("kind", [GatedLinear, GatedConv2d])
def test_data_initialization_counts_the_gates(kind: type[Gated]) -> None:
    torch.manual_seed(0)
    layer = GatedLinear(5, 4) if kind is GatedLinear else GatedConv2d(2, 4, 3)
    batch = 3 + torch.randn(64, 5) if kind is GatedLinear else 3 + torch.randn(64, 2, 6, 6)
    network = nn.Sequential(layer, nn.ReLU())
    init_from_data_(network, batch)
    output = layer.eval()(batch).transpose(0, 1).flatten(1)
    torch.testing.assert_close(output.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.std(1, correction=0), torch.ones(4), atol=1e-3, rtol=0)


def test_a_folded_layer_is_plain_and_has_the_gates_of_a_test() -> None:
    network = nn.Sequential(linear(0.0, -5.0, 5.0))
    x = torch.randn(4, 3, dtype=torch.float64)
    expected = network.eval()(x)
    fold_(network)
    assert type(network[0]) is nn.Linear
    assert set(network.state_dict()) == {"0.weight", "0.bias"}
    torch.testing.assert_close(network(x), expected)
    assert network[0].out_features == 3  # the caller reads them: they stay, one of them as 0
    assert not network(x)[:, 1].any()
