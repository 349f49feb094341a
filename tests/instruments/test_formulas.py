"""Every formula on tensors whose answer is known by construction."""

import math

import pytest
import torch

from wnrl.instruments.formulas import (
    Moments,
    dormant_fraction,
    dormant_scores,
    effective_rank,
    moments,
    policy_churn,
    relative_gradient,
    row_angles,
    row_cosines,
    shift,
    sign_flips,
    singular_values,
    srank,
    statistics_gap,
    stretch,
    variance_ratio,
)
from wnrl.kernels.reference import gradients


def projected_covariance(
    covariance: torch.Tensor, weight: torch.Tensor, gain: float, norm: float
) -> torch.Tensor:
    """cov(dL/dv) (K, K) = (g^2 / ||v||^2) M_w C M_w of one row, with C that of dL/dw.

    Salimans & Kingma 2016, arXiv 1602.07868, section 2.1, after eq. 4.
    """
    direction = weight / torch.linalg.vector_norm(weight)
    projection = torch.eye(len(weight)).to(weight) - torch.outer(direction, direction)
    return (gain / norm) ** 2 * projection @ covariance @ projection


def test_a_row_turned_by_a_known_angle_reports_it_however_small() -> None:
    turned = [0.0, 1e-6, 0.3, math.pi / 2, math.pi]
    before = torch.tensor([[2.0, 0.0]] * 5)
    after = torch.tensor([[5 * math.cos(angle), 5 * math.sin(angle)] for angle in turned])
    torch.testing.assert_close(row_angles(before, after), torch.tensor(turned), rtol=1e-6, atol=0)


def test_a_row_of_zeros_has_no_angle_and_no_cosine() -> None:
    zero, row = torch.zeros(1, 3), torch.ones(1, 3)
    for a, b in ((zero, row), (row, zero), (zero, zero)):
        assert row_angles(a, b).tolist() == [0.0]
        assert row_cosines(a, b).tolist() == [0.0]


def test_rows_that_are_not_numbers_have_neither_an_angle_nor_a_cosine_of_0() -> None:
    row, wrong = torch.ones(1, 3), torch.full((1, 3), math.nan)
    for a, b in ((wrong, row), (row, wrong)):
        assert row_angles(a, b).isnan().all()
        assert row_cosines(a, b).isnan().all()


def test_cosines_are_those_of_a_hand_table() -> None:
    weight = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]])
    gradient = torch.tensor([[6.0, 8.0], [-8.0, 6.0], [-5.0, 0.0]])
    assert row_cosines(gradient, weight).tolist() == pytest.approx([1.0, 0.0, -0.6])


def test_the_projection_removes_the_squared_cosine_of_the_gradient() -> None:
    torch.manual_seed(0)
    v, dw = torch.randn(4, 7, dtype=torch.float64), torch.randn(4, 7, dtype=torch.float64)
    g = torch.linalg.vector_norm(v, dim=1, keepdim=True)  # w = v, and g / ||v|| = 1
    dv, _ = gradients(dw, v, g)
    left = dv.square().sum(1) / dw.square().sum(1)
    torch.testing.assert_close(1 - row_cosines(dw, v).square(), left)


def test_the_covariance_of_v_gradients_is_that_of_equation_4() -> None:
    torch.manual_seed(1)
    v = torch.randn(1, 5, dtype=torch.float64)
    gain = 0.7
    mixing = torch.randn(5, 5, dtype=torch.float64)
    samples = torch.randn(400, 5, dtype=torch.float64) @ mixing + 3.0
    g = torch.tensor([[gain]], dtype=torch.float64)
    dv = torch.cat([gradients(dw[None], v, g)[0] for dw in samples])
    norm = float(torch.linalg.vector_norm(v))
    weight = gain * v[0] / norm
    expected = projected_covariance(samples.T.cov(), weight, gain, norm)
    torch.testing.assert_close(dv.T.cov(), expected)


def test_a_gradient_is_relative_to_the_weight() -> None:
    relative = relative_gradient(torch.full((2, 2), 3.0), torch.full((2, 2), 0.5))
    assert float(relative) == pytest.approx(6.0)


def test_a_gain_that_crosses_zero_is_a_flip_and_one_that_reaches_it_is_none() -> None:
    before = torch.tensor([1.0, -2.0, 3.0, 0.0, 1.0])
    after = torch.tensor([-1.0, 2.0, 9.0, -1.0, 0.0])
    assert int(sign_flips(before, after)) == 2


def test_moments_are_each_units_over_the_samples() -> None:
    mean, std = moments(torch.tensor([[1.0, 10.0], [3.0, 10.0], [5.0, 10.0]]))
    assert mean.tolist() == [3.0, 10.0]
    assert std.tolist() == pytest.approx([math.sqrt(8 / 3), 0.0])


def test_drift_is_in_units_of_the_spread_at_first() -> None:
    first = Moments(torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0]))
    now = Moments(torch.tensor([6.0, -8.0]), torch.tensor([0.0, 2.5]))
    assert (float(shift(first, now)), float(stretch(first, now))) == (2.0, 0.5)
    assert (float(shift(first, first)), float(stretch(first, first))) == (0.0, 1.0)


def test_the_gap_of_statistics_is_in_running_standard_deviations() -> None:
    batch_mean, running_mean = torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0])
    batch_var, running_var = torch.tensor([1.0, 9.0]), torch.tensor([4.0, 1.0])
    gap = statistics_gap(batch_mean, batch_var, running_mean, running_var, eps=0.0)
    assert float(gap) == 2.0  # 2 / 2 and 3 / 1
    gap = statistics_gap(batch_mean, batch_var, running_mean, None, eps=0.0)
    assert float(gap) == 1.5  # 2 / 1 and 3 / 3
    assert float(variance_ratio(batch_var, running_var, eps=0.0)) == 4.625  # 1/4 and 9
    dead = torch.zeros(1)
    assert float(variance_ratio(dead, dead)) == 1.0  # eps decides


def test_churn_is_the_share_of_states_whose_action_changed() -> None:
    assert float(policy_churn(torch.tensor([0, 1, 2, 3]), torch.tensor([0, 2, 2, 3]))) == 0.25


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: row_angles(torch.ones(2, 3), torch.ones(2, 1)), r"after is \(2, 1\)"),
        (lambda: row_cosines(torch.ones(3), torch.ones(3)), r"gradient is \(3,\)"),
        (lambda: policy_churn(torch.ones(2), torch.ones(1)), r"after is \(1,\)"),
        (lambda: moments(torch.ones(2)), r"values is \(2,\)"),
        (lambda: sign_flips(torch.ones(2), torch.ones(3)), r"after is \(3,\)"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(wrong: object, message: str) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=message):
        wrong()


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
