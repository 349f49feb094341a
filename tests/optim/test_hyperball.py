"""Hyperball steps: hand numbers, the published AdamH on the same numbers, and what may stay."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from wnrl.optim.hyperball import HyperballStep
from wnrl.optim.step import ClippedStep, OptimizerSpec

SAME_64 = 1e-12  # roundings of 1e-16 in a few steps


def sgd_step(weight: nn.Parameter, lr: float, rate: float, by_rows: bool) -> HyperballStep:
    return HyperballStep(ClippedStep(torch.optim.SGD([weight], lr)), [weight], rate, by_rows)


@pytest.mark.parametrize("by_rows", [False, True])
def test_one_step_on_hand_numbers(by_rows: bool) -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=torch.float64))
    weight.grad = torch.tensor([[0.0, 7.0], [0.0, 0.0]], dtype=torch.float64)
    sgd_step(weight, lr=0.2, rate=0.5, by_rows=by_rows).step()  # eta = 0.1
    if by_rows:  # R = 3: (3, -0.1 * 3), back to length 3; the second row has no update
        expected = [[9 / math.sqrt(9.09), -0.9 / math.sqrt(9.09)], [0.0, 4.0]]
    else:  # R = 5: (3, -0.1 * 5; 0, 4), back to length 5
        expected = [[15 / math.sqrt(25.25), -2.5 / math.sqrt(25.25)], [0, 20 / math.sqrt(25.25)]]
    assert torch.allclose(weight, torch.tensor(expected, dtype=torch.float64), rtol=SAME_64)


def adamh(p: Tensor, gradients: list[Tensor], lr: float, betas: tuple[float, float]) -> Tensor:
    """Published AdamH, written again from its equations: two axes by matrix, more by row.

    Source: marin-community/marin at 00843426, lib/levanter/src/levanter/optim/adamh.py.
    """
    (b1, b2), eps = betas, 1e-6
    mean, square = torch.zeros_like(p), torch.zeros_like(p)
    axes = (0, 1) if p.ndim == 2 else tuple(range(1, p.ndim))
    for t, gradient in enumerate(gradients, start=1):
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient**2
        u = (mean / (1 - b1**t)) / ((square / (1 - b2**t)).sqrt() + eps)
        length = p.square().sum(axes, keepdim=True).sqrt()
        moved = p - lr * u * length / u.square().sum(axes, keepdim=True).sqrt().clamp(min=1e-10)
        p = moved / moved.square().sum(axes, keepdim=True).sqrt() * length
    return p


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 2, 2)])
def test_steps_equal_the_published_adamh(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    start, *gradients = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(8)
    )
    weight = nn.Parameter(start.clone())
    groups = [{"params": [weight], "weight_norm": False}]
    inner = OptimizerSpec("adam", 1e-3, eps=1e-6, betas=(0.9, 0.95)).build(groups)
    optimizer = HyperballStep(inner, [weight], 20.0, by_rows=len(shape) > 2)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    expected = adamh(start, gradients, 0.02, (0.9, 0.95))
    assert torch.allclose(weight, expected, rtol=SAME_64, atol=SAME_64)


@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("name", ["adam", "radam", "rmsprop"])
def test_the_norms_of_weight_and_update_are_fixed(name: str, by_rows: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = nn.Parameter(torch.randn(5, 7, generator=generator))
    axes = 1 if by_rows else (0, 1)
    radius = torch.linalg.vector_norm(weight.detach(), dim=axes)
    built = OptimizerSpec(name, 1e-3).build([{"params": [weight], "weight_norm": False}])
    optimizer = HyperballStep(built, [weight], 30.0, by_rows)
    for step in range(300):
        before = weight.detach().clone()
        optimizer.param_groups[0]["lr"] = 1e-3 / (1 + step)  # a schedule of the learning rate
        weight.grad = 10.0 ** (-step % 9) * torch.randn(5, 7, generator=generator)
        optimizer.step()
        if step < 20:  # the chord: eta R, less what the projection takes
            share = torch.linalg.vector_norm(weight.detach() - before, dim=axes) / radius
            assert (share < 0.0301 / (1 + step)).all()
            assert (share > 0.5 * 0.03 / (1 + step)).all()
    assert torch.allclose(torch.linalg.vector_norm(weight.detach(), dim=axes), radius, rtol=1e-6)


def test_zeros_stay_and_other_parameters_take_plain_steps() -> None:
    weight, bias = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2))
    free = nn.Parameter(torch.zeros(2, 3))
    built = ClippedStep(torch.optim.SGD([weight, bias, free], 0.1))
    optimizer = HyperballStep(built, [weight], 1.0, by_rows=True)
    for parameter in (weight, bias, free):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert not weight.any()
    assert torch.allclose(bias, torch.full((2,), -0.1))
    assert torch.allclose(free, torch.full((2, 3), -0.1))
    assert optimizer.grad_norm.item() == pytest.approx(math.sqrt(14))


def test_a_learning_rate_of_zero_and_an_update_of_zero_change_nothing() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = sgd_step(weight, 0.0, 1.0, by_rows=False)
    for gradient in (torch.ones(1, 2), torch.zeros(1, 2)):
        weight.grad = gradient
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 1.0
        assert weight.tolist() == [[3.0, 4.0]]


def test_the_radius_is_saved_with_the_state() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = sgd_step(weight, 0.1, 1.0, by_rows=False)
    state = copy.deepcopy(optimizer.state_dict())
    other = nn.Parameter(torch.tensor([[30.0, 40.0]]))
    continued = sgd_step(other, 0.1, 1.0, by_rows=False)
    continued.load_state_dict(state)
    other.grad = torch.tensor([[1.0, 0.0]])
    continued.step()
    assert other.norm().item() == pytest.approx(5.0)
