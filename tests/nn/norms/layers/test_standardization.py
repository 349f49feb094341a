"""Scaled weight standardization: equation 1 on hand numbers, and that it keeps the variance."""

import math

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.norms.layers.gains import RELU_GAMMA
from wnrl.nn.norms.layers.standardization import StandardizedConv2d, StandardizedLinear

ROW = [1.0, 2.0, 3.0, 6.0]  # mean 3, variance 3.5: sigma sqrt(N) = sqrt(14)
EXPECTED = [-2 / math.sqrt(14), -1 / math.sqrt(14), 0.0, 3 / math.sqrt(14)]


def test_equation_1_on_hand_numbers() -> None:
    layer = StandardizedLinear(4, 2, gamma=1.5)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([ROW, [0.0, 0.0, 0.0, 8.0]]))
        layer.gain.copy_(torch.tensor([2.0, 1.0]))
    w = layer.effective_weight()
    assert w[0].tolist() == pytest.approx([3 * value for value in EXPECTED])
    assert w.sum(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert w.norm(dim=1).tolist() == pytest.approx([3.0, 1.5])
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert torch.allclose(layer(x), x @ w.T + layer.bias)


def test_a_filter_is_one_row() -> None:
    layer = StandardizedConv2d(1, 1, 2, gamma=1.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(ROW).reshape(1, 1, 2, 2))
    assert layer.effective_weight().flatten().tolist() == pytest.approx(EXPECTED)
    x = torch.randn(2, 1, 4, 4)
    expected = nn.functional.conv2d(x, layer.effective_weight(), layer.bias)
    assert torch.equal(layer(x), expected)


def test_a_variance_is_at_least_epsilon() -> None:
    layer = StandardizedLinear(2, 1, gamma=1.0, eps=4.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5]]))  # sigma^2 N = 0.5
    assert layer.effective_weight().tolist() == [[0.25, -0.25]]
    with torch.no_grad():
        layer.weight.fill_(1.0)
    assert layer.effective_weight().tolist() == [[0.0, 0.0]]


def test_relus_constant_keeps_the_variance_through_twenty_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    assert pytest.approx(1.71286, abs=1e-5) == RELU_GAMMA
    relu = torch.randn(100_000, generator=generator).relu()
    assert 1 / relu.std().item() == pytest.approx(RELU_GAMMA, rel=0.01)
    torch.manual_seed(0)
    x = torch.randn(256, 400).relu()
    for _ in range(20):
        layer = StandardizedLinear(400, 400, bias=False)
        t = layer(x)
        x = t.relu()
    assert t.var().item() == pytest.approx(1.0, abs=0.25)  # 400 units drift by some percent a layer


def test_gradients_in_float64_are_orthogonal_to_shifts_and_scales_of_a_row() -> None:
    layer = StandardizedLinear(4, 3).double()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)

    def forward(x: Tensor, weight: Tensor, gain: Tensor) -> Tensor:
        given = {"weight": weight, "gain": gain}
        output: Tensor = torch.func.functional_call(layer, given, (x,))
        return output

    inputs = (x, layer.weight.detach().requires_grad_(), layer.gain.detach().requires_grad_())
    assert torch.autograd.gradcheck(forward, inputs)
    layer(x).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    assert gradient.sum(1).tolist() == pytest.approx([0.0] * 3, abs=1e-10)
    assert (gradient * layer.weight).sum(1).tolist() == pytest.approx([0.0] * 3, abs=1e-10)


def test_the_parameters_are_torchs_and_a_gain_and_survive_a_round_trip() -> None:
    layer, other = StandardizedConv2d(2, 3, 3), StandardizedConv2d(2, 3, 3)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {
        "weight": (3, 2, 3, 3),
        "bias": (3,),
        "gain": (3,),
    }
    layer.scale_units_(torch.tensor([1.0, 2.0, 3.0]))
    other.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 4, 4)
    assert torch.equal(other(x), layer(x))
    layer.reset_gain_()
    assert layer.gain.tolist() == [1.0] * 3
