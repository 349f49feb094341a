"""Dormant units and ranks that are known by construction."""

import math

import pytest
import torch

from wnrl.instruments.capacity import (
    dormant_fraction,
    dormant_scores,
    effective_rank,
    singular_values,
    srank,
)


def test_dormant_units_are_counted_at_each_threshold() -> None:
    # The mean is 2, so the scores are 0, 0, 0.02, 0.1, 2.94 and 2.94.
    scores = dormant_scores(torch.tensor([0.0, 0.0, 0.04, 0.2, 5.88, 5.88]))
    assert scores.tolist() == pytest.approx([0.0, 0.0, 0.02, 0.1, 2.94, 2.94])
    counted = [6 * float(dormant_fraction(scores, tau)) for tau in (0.0, 0.025, 0.11)]
    assert counted == pytest.approx([2, 3, 4])


def test_a_layer_without_an_active_unit_is_dormant_as_a_whole() -> None:
    assert float(dormant_fraction(dormant_scores(torch.zeros(3)), 0.0)) == 1.0


def test_a_layer_that_has_diverged_is_neither_dormant_nor_not() -> None:
    for wrong in (math.nan, math.inf):
        scores = dormant_scores(torch.tensor([1.0, wrong, 0.0]))
        assert dormant_fraction(scores, 0.1).isnan()


def test_srank_counts_singular_values_up_to_99_percent_of_their_sum() -> None:
    for values, rank in [
        ([1.0, 1.0, 1.0, 1.0], 4),
        ([98.0, 1.0, 1.0, 0.0], 2),  # 98 + 1 are 99% exactly
        ([97.9, 1.0, 1.0, 0.1], 3),
        ([5.0, 0.0, 0.0, 0.0], 1),
        ([0.0, 0.0, 0.0, 0.0], 0),
    ]:
        assert int(srank(torch.tensor(values))) == rank, values
    assert int(srank(torch.tensor([2.0, 1.0, 1.0]), delta=0.5)) == 1


def test_effective_rank_is_the_exponential_of_the_entropy() -> None:
    assert float(effective_rank(torch.tensor([3.0, 3.0, 3.0, 0.0]))) == pytest.approx(3.0)
    # p = (1/2, 1/4, 1/4): H = 1.5 log 2
    assert float(effective_rank(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(2**1.5)
    assert float(effective_rank(torch.zeros(3))) == 0.0


def test_singular_values_are_those_of_a_known_matrix_and_nan_where_it_is_not_finite() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    features = turn @ torch.diag(torch.tensor([5.0, 2.0])) @ torch.eye(2, 3)
    torch.testing.assert_close(singular_values(features), torch.tensor([5.0, 2.0]))
    for wrong in (math.inf, math.nan):
        features = torch.ones(128, 5)
        features[3, 2] = wrong
        assert singular_values(features).isnan().all()
        assert srank(singular_values(features)).isnan()
        assert effective_rank(singular_values(features)).isnan()


def test_shapes_that_are_no_layer_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mean_activations is \(0,\)"):
        dormant_scores(torch.ones(0))
    with pytest.raises(ValueError, match=r"features is \(2, 3, 4\)"):
        singular_values(torch.ones(2, 3, 4))
