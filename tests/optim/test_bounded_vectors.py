"""||v|| held or capped: in the optimizers' steps over w, and around any optimizer of g and v."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn
from trajectories import RULES, Truth

from wnrl._settings import UsageError
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.weight_norm.layers import WNLinear
from wnrl.optim.step import OptimizerSpec
from wnrl.optim.weight_norm import WNSGD, WNAdam

BOUNDS = {"held": 0.0, "capped": 1.2}
SAME_64 = 1e-11  # roundings of 1e-16 a step, of the distance walked


@pytest.mark.usefixtures("cpu_backend")
@pytest.mark.parametrize(
    ("bound", "length"),
    [(math.inf, math.sqrt(25.64)), (5.02, 5.02), (9.0, math.sqrt(25.64)), (0.0, 5.0)],
)
def test_a_bound_on_hand_numbers(bound: float, length: float) -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    weight.grad = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    optimizer = WNSGD([{"params": [weight], "max_v_norm": bound}], 1.0)
    optimizer.step()
    # g = ||w|| = n = 5, dL/dg = 3/5, dL/dv = (1, 0) - (3, 4) 3/25 = (0.64, -0.48)
    # v' = (2.36, 4.48), ||v'|| = sqrt(25.64), g' = 4.4: w' does not depend on the bound
    expected = 4.4 / math.sqrt(25.64) * torch.tensor([[2.36, 4.48]], dtype=torch.float64)
    assert torch.allclose(weight, expected)
    assert optimizer.state[weight]["norm"].item() == pytest.approx(length)


@pytest.mark.usefixtures("cpu_backend")
@pytest.mark.parametrize("bound", BOUNDS.values(), ids=list(BOUNDS))
@pytest.mark.parametrize("rule", RULES)
def test_the_steps_over_w_are_torchs_with_v_scaled_back(rule: str, bound: float) -> None:
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((3, 4), (3,))]
    truth = Truth(starts, RULES[rule][1], 0.5, bound)
    weights = [nn.Parameter(start.clone()) for start in starts]
    optimizer = RULES[rule][0]([{"params": weights, "max_v_norm": bound}], max_norm=0.5)
    for step in range(120):
        swing = math.cos(2 * math.pi * step / 60)  # gains go through zero
        gradients = [
            w - swing * start + 0.1 * torch.randn(w.shape, generator=generator, dtype=w.dtype)
            for w, start in zip(truth.weights(), starts, strict=True)
        ]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clone()
        truth.step(gradients)
        optimizer.step()
    assert truth.deviation(weights) < SAME_64


def test_a_bound_below_zero_raises_and_an_older_state_has_none() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    with pytest.raises(UsageError, match="max_v_norm is -1: it must be at least 0"):
        WNAdam([{"params": [weight], "max_v_norm": -1}])
    optimizer = WNAdam([weight])
    state = optimizer.state_dict()
    del state["param_groups"][0]["max_v_norm"]  # as saved before there were bounds
    optimizer.load_state_dict(state)
    weight.grad = torch.eye(2)
    optimizer.step()
    assert (optimizer.state[weight]["norm"] > math.sqrt(2)).all()


def networks(name: str) -> list[tuple[WNLinear, Any]]:
    """Return a layer in each storage with the optimizer of a normalization."""
    norm = get_norm(name)
    made = []
    for storage in norm.storages:
        torch.manual_seed(0)
        layer: Any = norm.in_storage(storage).linear(6, 4)
        layer.double()
        made.append((layer, norm.optimizer(layer, OptimizerSpec("adam", 0.05))))
    return made


def walk(layer: WNLinear, optimizer: Any, steps: int, seed: int = 3) -> list[float]:
    """Regress on a linear function and noise; return the angle of each step of w."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    angles = []
    for _ in range(steps):
        before = layer.weight.detach().clone()
        x, y = (torch.randn(8, n, generator=generator, dtype=torch.float64) for n in (6, 4))
        optimizer.zero_grad()
        (layer(x) - x @ truth - 3 * y).square().mean().backward()
        optimizer.step()
        cosine = nn.functional.cosine_similarity(before, layer.weight.detach(), dim=1)
        angles.append(float(cosine.clamp(-1, 1).acos().mean()))
    return angles


@pytest.mark.parametrize("name", ["weight-fixed-v", "weight-capped-v"])
def test_both_storages_walk_the_same_trajectory(name: str) -> None:
    (in_w, of_w), (in_gv, of_gv) = networks(name)
    walk(in_w, of_w, 60)
    walk(in_gv, of_gv, 60)
    assert torch.allclose(in_w.weight, in_gv.weight, rtol=1e-9)
    lengths = in_gv.weight_v.detach().norm(dim=1, keepdim=True)
    assert torch.allclose(of_w.state[in_w.weight]["norm"], lengths, rtol=1e-9)
    assert lengths.max() < 1 + 1e-12


def test_only_a_fixed_v_keeps_the_effective_learning_rate() -> None:
    turned = {}
    for name in ("weight", "weight-fixed-v"):
        layer, optimizer = networks(name)[0]
        angles = walk(layer, optimizer, 450)
        turned[name] = sum(angles[-50:]) / sum(angles[150:200])
    assert turned["weight"] < 0.75 < 0.9 < turned["weight-fixed-v"]


def test_lengths_that_are_held_are_saved() -> None:
    layer, optimizer = networks("weight-fixed-v")[1]
    state = copy.deepcopy(optimizer.state_dict())
    lengths = layer.weight_v.detach().norm(dim=1)
    other, continued = networks("weight-fixed-v")[1]
    with torch.no_grad():
        other.weight_v.mul_(3.0)
    continued.load_state_dict(state)
    walk(other, continued, 1)
    assert torch.allclose(other.weight_v.norm(dim=1), lengths)
