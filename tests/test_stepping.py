"""A schedule around an optimizer: rates on hand numbers, and a round trip."""

import pytest
import torch
from torch import nn

from wnrl.stepping import OptimizerSpec, ScheduledStep


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
