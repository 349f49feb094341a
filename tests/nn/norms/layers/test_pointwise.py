"""Dynamic Tanh and Dynamic erf: their equations on hand numbers and on the authors' form."""

import math

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.norms.layers.pointwise import DynamicErf, DynamicTanh, Pointwise

BOTH = pytest.mark.parametrize("kind", [DynamicTanh, DynamicErf])


def filled(layer: Pointwise, **values: float | list[float]) -> Pointwise:
    with torch.no_grad():
        for name, value in values.items():
            getattr(layer, name).copy_(torch.as_tensor(value))
    return layer


def test_tanh_on_hand_numbers() -> None:
    layer = filled(DynamicTanh(2), alpha=math.log(2), weight=[1.0, 10.0], bias=[0.0, 3.0])
    # tanh(ln 2) = (2 - 1/2) / (2 + 1/2) = 3/5 and tanh(2 ln 2) = (4 - 1/4) / (4 + 1/4) = 15/17
    expected = [[0.6, 10 * 15 / 17 + 3], [0.0, -6 + 3]]
    assert torch.allclose(layer(torch.tensor([[1.0, 2.0], [0.0, -1.0]])), torch.tensor(expected))


def test_erf_on_hand_numbers() -> None:
    layer = filled(DynamicErf(2), alpha=2.0, shift=1.0, weight=[1.0, 10.0], bias=[0.0, 3.0])
    expected = [[math.erf(2.0), 10 * math.erf(-1.0) + 3]]  # 2 x + 1
    assert torch.allclose(layer(torch.tensor([[0.5, -1.0]])), torch.tensor(expected))


@BOTH
def test_it_starts_at_half_the_slope_as_the_papers_do(kind: type[Pointwise]) -> None:
    layer, x = kind(3), torch.tensor([[0.4, -2.0, 6.0]])
    assert torch.allclose(layer(x), (torch.tanh if kind is DynamicTanh else torch.erf)(x / 2))
    assert layer.alpha.shape == (1,)
    assert [p.shape for p in (layer.weight, layer.bias)] == [(3,), (3,)]


@BOTH
def test_maps_have_a_weight_and_a_bias_per_channel_as_in_the_authors_code(
    kind: type[Pointwise],
) -> None:
    layer = filled(kind(2, alpha=0.7), weight=[2.0, -1.0], bias=[0.5, 4.0])
    x = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    # x = f(alpha x) * weight[:, None, None] + bias[:, None, None]: jiachenzhu/DyT, zlab's ViT
    squashed = torch.tanh(0.7 * x) if kind is DynamicTanh else torch.erf(0.7 * x + 0.0)
    theirs = squashed * layer.weight[:, None, None] + layer.bias[:, None, None]
    assert torch.allclose(layer(x), theirs)
    assert layer(x.to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )


@BOTH
def test_learning_and_acting_are_the_same_function(kind: type[Pointwise]) -> None:
    layer, x = kind(3), torch.randn(4, 3)
    assert torch.equal(layer.train()(x), layer.eval()(x))
    assert list(layer.buffers()) == []


@BOTH
def test_gradients_in_float64(kind: type[Pointwise]) -> None:
    layer = kind(2).double()
    x = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    parameters = dict(layer.named_parameters())

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        named = dict(zip(parameters, values, strict=True))
        output: Tensor = torch.func.functional_call(layer, named, (x,))
        return output

    assert torch.autograd.gradcheck(forward, (x, *parameters.values()))


@BOTH
def test_reset_returns_to_the_start(kind: type[Pointwise]) -> None:
    layer, fresh = kind(2, alpha=0.8), kind(2, alpha=0.8)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, 9.0)
    layer.reset_parameters()
    theirs = fresh.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in layer.state_dict().items())


@BOTH
def test_another_number_of_features_raises(kind: type[Pointwise]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\): expected \(B, 3\)"):
        kind(3)(torch.zeros(2, 4))
