"""Features of unit length and simplicial embeddings on hand numbers."""

import math

import pytest
import torch

from wnrl.nn.norms.layers.features import Simplicial, UnitLength


def test_each_sample_has_length_one_on_hand_numbers() -> None:
    layer = UnitLength()
    x = torch.tensor([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]])
    assert torch.allclose(layer(x), torch.tensor([[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]]))
    maps = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]])  # (1, 2, 1, 2): one vector, not one each
    assert layer(maps).flatten().tolist() == pytest.approx([0.6, 0.0, 0.0, 0.8])


def test_short_features_are_divided_by_eps() -> None:
    assert UnitLength(eps=0.5)(torch.tensor([[0.1, 0.0]])).tolist() == [[pytest.approx(0.2), 0.0]]


def test_the_gradient_is_orthogonal_to_the_features_and_zero_through_dead_ones() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    (UnitLength()(x.relu()) * torch.tensor([1.0, 5.0])).sum().backward()
    assert x.grad is not None
    # (I - u u^T) (1, 5) / 5 with u = (0.6, 0.8): (1 - 0.6 * 4.6, 5 - 0.8 * 4.6) / 5
    assert x.grad[0].tolist() == pytest.approx([-0.352, 0.264])
    assert x.grad[1].tolist() == [0.0, 0.0]


def test_each_group_is_a_softmax_on_hand_numbers() -> None:
    layer = Simplicial(simplex_units=2, temperature=0.5)
    x = torch.tensor([[0.0, math.log(3) / 2, 7.0, 7.0]])  # exp(x / 0.5): 1, 3 and two equal ones
    assert layer(x).tolist() == [pytest.approx([0.25, 0.75, 0.5, 0.5])]


def test_groups_are_of_successive_units_at_each_position() -> None:
    layer = Simplicial(simplex_units=2)
    x = torch.randn(3, 4, 2, 5, generator=torch.Generator().manual_seed(0))
    y = layer(x)
    assert torch.allclose(y[:, :2], x[:, :2].softmax(dim=1))
    assert torch.allclose(y[:, 2:], x[:, 2:].softmax(dim=1))
    assert torch.equal(y.relu(), y)  # the ReLU that follows changes nothing


def test_simplicial_embeddings_are_those_of_dopamines_second_version() -> None:
    # dopamine's MoE labs, SIMPLICIAL_EMBEDDING_V2: reshape to (groups, V), softmax(x / tau) over V
    x = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))
    theirs = torch.softmax(x.reshape(2, 3, 4) / 0.1, dim=2).reshape(2, -1)
    assert torch.allclose(Simplicial(simplex_units=4, temperature=0.1)(x), theirs)


@pytest.mark.parametrize(
    "layer", [UnitLength(), Simplicial(2)], ids=lambda each: type(each).__name__
)
def test_gradients_in_float64_and_no_state(layer: torch.nn.Module) -> None:
    x = torch.randn(2, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert layer.state_dict() == {}
    assert torch.equal(layer.train()(x), layer.eval()(x))


def test_units_that_do_not_form_groups_raise() -> None:
    with pytest.raises(ValueError, match=r"\(2, 5\).*divisible by simplex_units, 2"):
        Simplicial(2)(torch.zeros(2, 5))
