"""Projection to a sphere after a step: by rows to unit length, or a matrix to the norm it had."""

import copy

import pytest
import torch
from torch import nn

from wnrl.nn.norms.layers.projection import ProjectedConv2d, ProjectedLinear, hold_norms_, project_

WEIGHT = torch.tensor([[3.0, 4.0], [0.0, 0.5], [0.0, 0.0]])


def layer_of(weight: torch.Tensor, **options: bool) -> ProjectedLinear:
    layer = ProjectedLinear(2, 3, **options)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor([10.0, 1.0, 7.0]))
    return layer


def test_rows_get_unit_length_and_the_bias_their_factor() -> None:
    layer = layer_of(WEIGHT)
    layer.project_()
    assert layer.weight.flatten().tolist() == pytest.approx([0.6, 0.8, 0.0, 1.0, 0.0, 0.0])
    assert layer.bias.tolist() == pytest.approx([2.0, 2.0, 7.0])  # a zero row stays


def test_a_matrix_gets_the_norm_that_was_held() -> None:
    layer = layer_of(torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]]), by_rows=False)
    layer.hold_()  # 3
    with torch.no_grad():
        layer.weight.mul_(5.0)
    layer.project_()
    assert layer.radius.item() == pytest.approx(3.0)
    assert layer.weight.flatten().tolist() == pytest.approx([2.0, 0.0, 0.0, 2.0, 1.0, 0.0])
    assert layer.bias.tolist() == pytest.approx([2.0, 0.2, 1.4])
    nn.init.zeros_(layer.weight)
    layer.project_()
    assert not layer.weight.any()


def test_a_filter_is_one_row_and_keeps_its_strides() -> None:
    layer = ProjectedConv2d(2, 3, 3)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub
    layer.project_()
    assert layer.weight.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 3)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("by_rows", [True, False])
def test_the_function_stays_where_a_normalization_follows(by_rows: bool) -> None:
    torch.manual_seed(0)
    after = nn.BatchNorm1d(4, eps=1e-12) if by_rows else nn.LayerNorm(4, eps=1e-12)
    layer = ProjectedLinear(3, 4, by_rows=by_rows)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(4, 1) + 0.5 if by_rows else 1.7)
    x = torch.randn(16, 3)
    before = after(layer(x))
    layer.project_()
    assert torch.allclose(after(layer(x)), before, atol=1e-5)


def test_a_network_is_projected_and_held_layer_by_layer() -> None:
    network = nn.Sequential(
        ProjectedLinear(3, 4), nn.Linear(4, 4), ProjectedLinear(4, 2, by_rows=False)
    )
    plain = network[1].weight.detach().clone()  # type: ignore[operator]  # a Tensor
    with torch.no_grad():
        network[2].weight.mul_(3.0)  # type: ignore[operator]  # a Tensor
    hold_norms_(network)
    norm = network[2].weight.norm().item()  # type: ignore[operator]  # a Tensor
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    project_(network)
    assert network[0].weight.norm(dim=1).tolist() == pytest.approx([1.0] * 4)  # type: ignore[operator]
    assert torch.equal(network[1].weight, 1.5 * plain)  # type: ignore[arg-type]
    assert network[2].weight.norm().item() == pytest.approx(norm)  # type: ignore[operator]


def test_the_forward_is_torchs_and_the_radius_is_saved_and_copied() -> None:
    layer = ProjectedLinear(3, 2, by_rows=False)
    assert layer.radius.item() == pytest.approx(layer.weight.norm().item())
    x = torch.randn(2, 3)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    other = ProjectedLinear(3, 2, by_rows=False)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.radius, layer.radius)
    assert torch.equal(copy.deepcopy(layer).radius, layer.radius)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
