"""Spectral normalization: the largest singular value, its gradient, and who moves its vector."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from wnrl.nn.norms.layers.spectral import SpectralConv2d, SpectralLinear, settle_spectral_

DIAGONAL = torch.tensor([[3.0, 0.0], [0.0, 4.0]])


def diagonal(**options: float) -> SpectralLinear:
    layer = SpectralLinear(2, 2, **options).eval()
    with torch.no_grad():
        layer.weight.copy_(DIAGONAL)
    layer.iterate_(60)
    return layer


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.75, 1.0]),
        ({"lipschitz": 2.0}, [1.5, 2.0]),
        ({"leave_smaller": True}, [0.75, 1.0]),
        ({"leave_smaller": True, "lipschitz": 8.0}, [3.0, 4.0]),
        ({"lipschitz": 8.0}, [6.0, 8.0]),
    ],
)
def test_the_weight_is_divided_by_its_largest_singular_value(
    options: dict[str, float], expected: list[float]
) -> None:
    layer = diagonal(**options)
    assert layer.effective_weight().diagonal().tolist() == pytest.approx(expected)
    assert (layer(torch.eye(2)) - layer.bias).diagonal().tolist() == pytest.approx(expected)


def test_one_power_iteration_on_hand_numbers() -> None:
    layer = diagonal().train()
    layer.weight_u.copy_(torch.tensor([0.8, 0.6]))
    # W^T u = (2.4, 2.4), v = (1, 1) / sqrt 2, W v ~ (3, 4), u = (0.6, 0.8);
    # sigma = ||W^T u|| = ||(1.8, 3.2)||.
    sigma = (1.8**2 + 3.2**2) ** 0.5
    assert layer.effective_weight()[1, 1].item() == pytest.approx(4 / sigma)
    assert layer.weight_u.tolist() == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_it_is_torchs_spectral_norm_once_both_have_settled(kind: str) -> None:
    torch.manual_seed(0)
    ours: SpectralLinear | SpectralConv2d
    ours, plain = (
        (SpectralLinear(5, 7), nn.Linear(5, 7))
        if kind == "linear"
        else (SpectralConv2d(2, 3, 3, 2), nn.Conv2d(2, 3, 3, 2))
    )
    ours.load_state_dict(plain.state_dict(), strict=False)  # the same keys, and weight_u
    ours.iterate_(500)
    theirs = spectral_norm(plain, n_power_iterations=500).eval()
    x = torch.randn(4, 5) if kind == "linear" else torch.randn(2, 2, 7, 7)
    assert torch.allclose(ours.eval()(x), theirs(x), atol=1e-5)  # two float32 iterations
    largest = torch.linalg.matrix_norm(ours.effective_weight().flatten(1), 2)
    assert largest.item() == pytest.approx(1.0, abs=1e-5)


def test_gradients_reach_sigma_in_float64() -> None:
    layer = SpectralLinear(3, 2).double().eval()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return output

    assert torch.autograd.gradcheck(forward, (x, layer.weight.detach().requires_grad_()))
    layer.iterate_(100)  # then w is orthogonal to its gradient: a longer W is the same w
    layer(x).square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    assert (gradient * layer.weight).sum().item() == pytest.approx(0.0, abs=1e-9)


def test_only_a_training_forward_moves_the_singular_vector() -> None:
    layer, x = SpectralConv2d(2, 3, 3), torch.randn(1, 2, 5, 5)
    before = layer.weight_u.clone()
    layer.eval()(x)
    assert torch.equal(layer.weight_u, before)
    learning = layer.train()(x)
    assert not torch.equal(layer.weight_u, before)
    assert torch.equal(layer.eval()(x), learning)  # acting computes what learning did


def test_two_forwards_may_stand_before_a_backward() -> None:
    layer, x = SpectralLinear(3, 3), torch.randn(2, 3)
    (layer(x).sum() + layer(x).square().sum()).backward()
    assert layer.weight.grad is not None


def test_a_weight_that_is_written_is_heard_and_one_of_zeros_is_finite() -> None:
    layer = SpectralLinear(2, 2).eval()
    nn.init.eye_(layer.weight)
    assert torch.allclose(layer.effective_weight(), torch.eye(2))
    nn.init.zeros_(layer.weight)
    layer.train()(torch.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    assert bool(layer.weight_u.isfinite().all())
    assert layer.weight_u.norm().item() == pytest.approx(1.0)
    assert bool(layer.effective_weight().isfinite().all())


def test_a_state_round_trip_and_a_copy_go_on() -> None:
    layer, x = diagonal().train(), torch.randn(3, 2)
    other = SpectralLinear(2, 2)
    other.load_state_dict(layer.state_dict())
    twin = copy.deepcopy(layer)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(twin(x), other(x))
    assert list(layer.state_dict()) == ["weight", "bias", "weight_u"]


def test_settling_finds_sigma_in_every_layer() -> None:
    torch.manual_seed(0)  # one drawing in some hundred needs more iterations
    network = nn.Sequential(SpectralConv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), SpectralLinear(8, 4))
    settle_spectral_(network)
    for layer in (network[0], network[3]):
        largest = torch.linalg.matrix_norm(layer.eval().effective_weight().flatten(1), 2)  # type: ignore[operator]  # a layer's
        assert largest.item() == pytest.approx(1.0, abs=0.05)  # of 15 iterations
