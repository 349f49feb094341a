"""Every rule for hundreds of steps, its gains driven through zero, against float64.

The steps for CPUs; `test_optimizer_kernels` has the one for GPUs.
"""

import math

import pytest
import torch
from torch import Tensor, nn
from trajectories import RULES, Truth

pytestmark = pytest.mark.usefixtures("cpu_backend")

PERIOD = 500  # steps from one visit of the target's side to the next
# Of the distance walked. In float64 roundings of 1e-16 a step; in float32 of 6e-8, and momentum
# without a denominator carries each of them ten times as far.
SAME_64 = 1e-11
SAME_32 = 5e-4


def starts() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 4), (3,))
    ]


def walk(rule: str, max_norm: float | None, dtype: torch.dtype, steps: int) -> float:
    """The deviation from the truth, both under dL/dw of 1/2 ||w - target||^2 and noise.

    The target swings from where w starts to the other side of zero and back.
    """
    truth = Truth(starts(), RULES[rule][1], max_norm)
    weights = [nn.Parameter(start.to(dtype)) for start in starts()]
    optimizer = RULES[rule][0](weights, max_norm=max_norm)
    noise = torch.Generator().manual_seed(9)
    signs, crossings, largest = truth.gains(0).sign(), torch.zeros(3), 0.0
    lengths = []
    for step in range(steps):
        swing = math.cos(2 * math.pi * step / PERIOD)
        gradients = [
            w - swing * start + 0.1 * torch.randn(w.shape, generator=noise, dtype=w.dtype)
            for w, start in zip(truth.weights(), truth.start, strict=True)
        ]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.to(dtype)
        truth.step(gradients)
        optimizer.step()
        largest = max(largest, truth.grad_norm)
        crossings += signs != truth.gains(0).sign()
        signs = truth.gains(0).sign()
        lengths.append(optimizer.state[weights[0]]["norm"].clone())
    # Two a turn; clipped SGD is late, and turns around for the first time beyond 500 steps.
    assert (crossings >= (steps - PERIOD) // PERIOD + (rule != "sgd")).all()
    assert max_norm is None or largest > max_norm
    assert torch.equal(signs, optimizer.state[weights[0]]["sign"].flatten())
    if rule == "sgd":  # section 2.1: no step shortens v
        shrunk = torch.stack(lengths).diff(dim=0).min() / lengths[-1].max()
        assert shrunk >= -2 * torch.finfo(dtype).eps
    return truth.deviation(weights)


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("rule", RULES)
def test_hundreds_of_steps_through_zero_stay_on_torchs_trajectory(
    rule: str, max_norm: float | None
) -> None:
    assert walk(rule, max_norm, torch.float64, 500) < SAME_64


@pytest.mark.slow
@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("rule", RULES)
def test_a_thousand_steps_through_zero_in_float32_stay_on_torchs_trajectory(
    rule: str, max_norm: float | None
) -> None:
    assert walk(rule, max_norm, torch.float32, 1_000) < SAME_32
