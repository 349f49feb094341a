"""Clipping, penalties, spectral gradients and SimbaV2's layers, on hand numbers and formulas."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl.agents.learner import Learner
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.convert import fold_
from wnrl.nn.norms.layers.anchored import AnchoredLinear
from wnrl.nn.norms.layers.hypersphere import SphereConv2d, SphereLinear
from wnrl.nn.norms.layers.marked import MarkedLinear, clip_weights_, parseval_penalty
from wnrl.optim.spectral_gradient import SpectralGradientStep
from wnrl.optim.step import ClippedStep, OptimizerSpec

F64 = torch.float64


def marked(rows: list[list[float]], bias: list[float]) -> MarkedLinear:
    layer = MarkedLinear(len(rows[0]), len(rows)).double()
    layer.weight.data = torch.tensor(rows, dtype=F64)
    layer.bias.data = torch.tensor(bias, dtype=F64)
    return layer


def test_clipping_keeps_what_is_inside_and_bounds_by_the_fan_in() -> None:
    layer = marked([[0.7, -0.2, 0.1, -3.0]], [2.0])
    plain = nn.Linear(4, 1).double()
    before = plain.weight.detach().clone()
    clip_weights_(nn.Sequential(layer, plain), kappa=0.8)  # 0.8 / sqrt(4)
    assert layer.weight.tolist() == [[0.4, -0.2, 0.1, -0.4]]
    assert layer.bias.tolist() == [0.4]
    assert torch.equal(plain.weight, before)


@pytest.mark.parametrize(("groups", "squares"), [(1, 4 + 1 + 9 + 9), (2, 4 + 1)])
def test_parseval_on_hand_numbers(groups: int, squares: float) -> None:
    layer = marked([[1.0, 2.0], [1.0, 1.0]], [0.0, 0.0])
    # W W^T - 3 I = [[5 - 3, 3], [3, 2 - 3]], and (64 / 2)^2 for two units
    penalty = parseval_penalty(layer, strength=1e-3, scale=3.0, groups=groups)
    assert penalty.item() == pytest.approx(1e-3 * 32**2 * squares)


def test_the_distance_from_the_start_is_the_penalty_and_its_gradient() -> None:
    norm = get_norm("l2-init").with_settings({"strength": 0.5})
    layer: Any = norm.linear(2, 1)
    norm.optimizer(layer, OptimizerSpec())  # remembers the weights
    with torch.no_grad():
        layer.weight += torch.tensor([[3.0, 0.0]])
        layer.bias += 2.0
    assert norm.penalty is not None
    penalty = norm.penalty(layer)
    penalty.backward()
    assert penalty.item() == pytest.approx(0.5 * (9 + 4))
    assert layer.weight.grad.tolist() == [[3.0, 0.0]]  # 2 * 0.5 * 3
    assert isinstance(layer, AnchoredLinear)
    other: Any = norm.linear(2, 1)
    other.load_state_dict(layer.state_dict())
    assert norm.penalty(other).item() == pytest.approx(penalty.item())


@pytest.mark.parametrize("name", ["l2-init", "parseval"])
def test_a_penalty_is_added_to_every_loss_of_a_learner(name: str) -> None:
    norm = get_norm(name)
    torch.manual_seed(0)
    layer = norm.linear(3, 2)
    optimizer = norm.optimizer(layer, OptimizerSpec())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 1.0
    x = torch.ones(4, 3)
    learner = Learner(layer, optimizer, penalty=norm.penalty)
    learner._differentiate(lambda net, obs: (net(obs).sum(), None), x)
    assert norm.penalty is not None
    expected = copy.deepcopy(layer)
    expected.zero_grad()
    (expected(x).sum() + norm.penalty(expected)).backward()
    for ours, theirs in zip(layer.parameters(), expected.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad)


def test_gradients_are_divided_by_the_largest_singular_value() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 0.5]], dtype=F64))
    optimizer = SpectralGradientStep(ClippedStep(torch.optim.SGD([weight], 1.0)), [weight], 1.0)
    weight.grad = torch.tensor([[0.0, 6.0], [0.0, 0.0]], dtype=F64)
    before = weight.detach().clone()
    state = copy.deepcopy(optimizer.state_dict())
    optimizer.step()
    assert torch.allclose(before - weight, torch.tensor([[0.0, 2.0], [0.0, 0.0]], dtype=F64))
    optimizer.load_state_dict(state)
    assert torch.allclose(optimizer._left[0].abs(), torch.tensor([1.0, 0.0], dtype=F64))


def embedder(x: Tensor, kernel: Tensor, scaler: Tensor, init: float, scale: float) -> Tensor:
    """SimbaV2's HyperEmbedder without its constant input, from its equations.

    Source: DAVIAN-Robotics/SimbaV2 at 86899c2, scale_rl/agents/simbaV2/simbaV2_layer.py.
    """
    y = scaler * (init / scale) * (x @ kernel)
    return y / y.norm(dim=-1, keepdim=True).clamp(min=1e-8)


def test_hypersphere_equals_simbav2s_layer_through_steps() -> None:
    norm = get_norm("hypersphere").with_settings({"init": 0.5, "scale": 0.1})
    torch.manual_seed(0)
    layer: Any = norm.linear(5, 4)
    layer.double()
    norm.initialize(layer)
    layer.bias.data.zero_()
    layer.bias.requires_grad_(False)
    activation: Any = norm.activation((4,))
    optimizer = norm.optimizer(layer, OptimizerSpec("adam", 0.01))
    kernel = layer.weight.detach().T.clone().requires_grad_()  # (I, O), as in flax
    scaler = torch.full((4,), 0.1, dtype=F64, requires_grad=True)
    theirs = torch.optim.Adam([kernel, scaler], 0.01)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        x = torch.randn(3, 5, generator=generator, dtype=F64)
        target = torch.randn(3, 4, generator=generator, dtype=F64)
        ours, their = activation(layer(x)), embedder(x, kernel, scaler, 0.5, 0.1)
        assert torch.allclose(ours, their, atol=1e-9)
        for each, output in ((optimizer, ours), (theirs, their)):
            each.zero_grad()
            (output * target).sum().backward()
            each.step()
        norm.after_step(layer)
        with torch.no_grad():  # l2normalize_network: every column of the kernel
            kernel /= kernel.norm(dim=0, keepdim=True)
    assert torch.allclose(layer.weight.norm(dim=1), torch.ones(4, dtype=F64))
    assert torch.allclose(layer.scaler, scaler)


@pytest.mark.parametrize("layer", [SphereLinear(6, 4), SphereLinear(3, 5), SphereConv2d(2, 3, 2)])
def test_hypersphere_starts_orthogonal_and_folds_to_the_same_function(layer: Any) -> None:
    layer.orthogonalize_()
    rows = layer.weight.detach().flatten(1)
    assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)))
    if rows.shape[0] <= rows.shape[1]:
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows)), atol=1e-6)
    assert layer.scaler.tolist() == pytest.approx([math.sqrt(2 / len(rows))] * len(rows))
    x = torch.randn(2, 2, 4, 4) if rows.shape[0] == 3 else torch.randn(2, layer.in_features)
    before = layer(x)
    folded = fold_(nn.Sequential(layer))
    assert type(folded[0]) in (nn.Linear, nn.Conv2d)
    assert torch.allclose(folded(x), before, atol=1e-6)


def test_a_scaler_starts_at_init_and_moves_by_init_over_scale() -> None:
    layer = SphereLinear(2, 1, bias=False, init=3.0, scale=0.5)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.6, 0.8]]))
    assert layer(torch.tensor([[1.0, 2.0]])).item() == pytest.approx(3.0 * 2.2)
    with torch.no_grad():
        layer.scaler.add_(0.25)  # 0.5 -> 0.75
    assert layer(torch.tensor([[1.0, 2.0]])).item() == pytest.approx(4.5 * 2.2)
    assert layer.effective_weight().tolist() == [pytest.approx([4.5 * 0.6, 4.5 * 0.8])]
