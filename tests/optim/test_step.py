"""Schedules around an optimizer, on hand numbers; RAdam against torch's; round trips."""

import copy
import io

import pytest
import torch
from torch import nn

from wnrl.optim.rules import OPTIMIZER_NAMES
from wnrl.optim.step import OptimizerSpec, StepOptimizer
from wnrl.optim.wrapped_step import ScheduledStep


def scheduled(network: nn.Module) -> ScheduledStep:
    groups = [{"params": list(network.parameters())}]
    built = OptimizerSpec("adam", 1.0, max_grad_norm=5.0).build(groups)
    return ScheduledStep(built, lambda updates: max(0.0, 1 - updates / 4))


def step(network: nn.Linear, optimizer: ScheduledStep) -> None:
    optimizer.zero_grad()
    network(torch.ones(1, 1)).sum().backward()
    optimizer.step()


def test_each_update_has_the_rate_of_its_number() -> None:
    network = nn.Linear(1, 1)
    optimizer, rates, before = scheduled(network), [], network.bias.item()
    for _ in range(5):
        step(network, optimizer)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert before - network.bias.item() == pytest.approx(2.5, rel=1e-5)  # Adam on a steady gradient
    assert optimizer.grad_norm.item() == pytest.approx(2**0.5)


def test_a_round_trip_goes_on_where_the_schedule_was() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer = scheduled(first)
    for _ in range(2):
        step(first, optimizer)
    second.load_state_dict(first.state_dict())
    other = scheduled(second)
    other.load_state_dict(optimizer.state_dict())
    for _ in range(2):
        step(first, optimizer)
        step(second, other)
    assert other.param_groups[0]["lr"] == 0.25
    assert torch.equal(first.weight, second.weight)


def test_the_names_are_in_alphabetical_order_and_each_builds() -> None:
    assert list(OPTIMIZER_NAMES) == ["adam", "adamax", "radam", "rmsprop", "rmsprop-tf"]
    for name in OPTIMIZER_NAMES:
        OptimizerSpec(name).build([{"params": [nn.Parameter(torch.ones(2))]}])


@pytest.mark.parametrize("name", OPTIMIZER_NAMES)
def test_a_state_from_a_gpu_steps_on_a_cpu(name: str) -> None:
    first, second = (nn.Parameter(torch.ones(2)) for _ in "ab")
    optimizer, other = (OptimizerSpec(name).build([{"params": [p]}]) for p in (first, second))
    for parameter in (first, second):
        parameter.grad = torch.ones(2)
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    for group in state["param_groups"]:
        if "capturable" in group:
            group["capturable"] = True  # as it is where updates are captured
    second.data.copy_(first)
    other.load_state_dict(state)
    for each in (optimizer, other):
        each.step()
    assert torch.equal(first, second)


def radam_walk(
    optimizer: StepOptimizer | torch.optim.Optimizer, parameters: list[nn.Parameter], steps: range
) -> None:
    """Steps with gradients that are set by the step's number; the second rests in every third."""
    for step_number in steps:
        generator = torch.Generator().manual_seed(step_number)
        for index, parameter in enumerate(parameters):
            gradient = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.grad = None if index == 1 and step_number % 3 == 0 else gradient
        optimizer.step()


def radam_parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in ((3, 4), (5,), (2, 1, 3))]


# Of numbers near 1, after 50 steps that each round a few times.
SAME = {torch.float64: 1e-13, torch.float32: 5e-6}


@pytest.mark.parametrize("dtype", SAME)
@pytest.mark.parametrize("eps", [1e-8, 0.1])  # a large one tells where it is added
def test_radam_of_unmarked_groups_equals_torchs(dtype: torch.dtype, eps: float) -> None:
    ours, torchs = radam_parameters(dtype), radam_parameters(dtype)
    built = OptimizerSpec("radam", 0.01, eps, (0.9, 0.99)).build([{"params": ours}])
    radam_walk(built, ours, range(50))
    radam_walk(torch.optim.RAdam(torchs, 0.01, (0.9, 0.99), eps), torchs, range(50))
    for mine, theirs in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=SAME[dtype])


def test_radam_clips_the_global_norm_before_it_steps() -> None:
    ours, torchs = radam_parameters(torch.float64), radam_parameters(torch.float64)
    built = OptimizerSpec("radam", 0.01, 0.1, max_grad_norm=0.5).build([{"params": ours}])
    theirs = torch.optim.RAdam(torchs, 0.01, eps=0.1)
    for step_number in range(20):
        radam_walk(built, ours, range(step_number, step_number + 1))
        for mine, other in zip(ours, torchs, strict=True):
            other.grad = None if mine.grad is None else mine.grad.clone()
        norm = nn.utils.clip_grad_norm_(torchs, 0.5)
        theirs.step()
        torch.testing.assert_close(built.grad_norm, norm)
    for mine, other in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=SAME[torch.float64])


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("stopped", [3, 20])  # before and after the rectification begins
def test_radam_saved_and_loaded_goes_on_bit_for_bit(marked: bool, stopped: int) -> None:
    spec = OptimizerSpec("radam", 0.01, betas=(0.9, 0.99), max_grad_norm=1.0)
    whole, parts = radam_parameters(torch.float32), radam_parameters(torch.float32)
    groups = [{"params": p, "weight_norm": marked} for p in (whole, parts)]
    radam_walk(spec.build(groups[:1]), whole, range(40))
    first = spec.build(groups[1:])
    radam_walk(first, parts, range(stopped))
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second = spec.build([{"params": parts, "weight_norm": marked}])
    second.load_state_dict(torch.load(buffer, weights_only=True))
    radam_walk(second, parts, range(stopped, 40))
    assert all(map(torch.equal, whole, parts))
