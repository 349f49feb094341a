"""Widths of ranges, sensitivity and effective dimension, against cases that can be counted."""

import numpy as np
import pytest

from wnrl.stats.intervals import group
from wnrl.stats.sensitivity import (
    draw_means,
    effective_dimension,
    interval_of,
    percentile_range,
    sensitivity,
    width_above,
)

PLACES = np.array([-4.0, -3.0, -2.5, -1.0])


@pytest.mark.parametrize(
    ("scores", "least", "width"),
    [
        ([10.0, 10.0, 10.0, 10.0], 10.0, 3.0),
        ([10.0, 10.0, 10.0, 10.0], 10.1, 0.0),
        ([0.0, 10.0, 10.0, 0.0], 5.0, 0.5 + 0.5 + 0.75),
        ([0.0, 10.0, 0.0, 10.0], 9.0, 0.1 + 0.05 + 0.15),
        ([8.0, 0.0, 0.0, 0.0], 8.0, 0.0),
    ],
)
def test_the_width_is_the_length_at_which_the_interpolated_score_is_high_enough(
    scores: list[float], least: float, width: float
) -> None:
    assert width_above(np.array(scores), PLACES, np.array(least)) == pytest.approx(width)


def test_widths_of_many_draws_equal_those_of_each_and_of_a_fine_grid() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(20, 4))
    least = scores.max(axis=-1) - 0.7
    widths = width_above(scores, PLACES, least)
    fine = np.linspace(PLACES[0], PLACES[-1], 30_001)
    for row, threshold, width in zip(scores, least, widths, strict=True):
        assert width_above(row, PLACES, threshold) == pytest.approx(width)
        above = np.interp(fine, PLACES, row) >= threshold
        assert above.mean() * 3 == pytest.approx(width, abs=1e-3)


def test_drawn_means_have_the_interval_of_a_t_distribution() -> None:
    scores = [3.0, 5.0, 4.0, 8.0]
    drawn = draw_means([group(scores), group([1.0, 1.0])], 200_000, np.random.default_rng(0))
    found = interval_of(5.0, drawn[:, 0])
    error = np.std(scores, ddof=1) / 2
    assert found.low == pytest.approx(5 - 3.182446 * error, abs=0.05)
    assert found.high == pytest.approx(5 + 3.182446 * error, abs=0.05)
    assert (drawn[:, 1] == 1.0).all()  # without any spread nothing is drawn


def test_the_observed_value_lies_in_its_interval() -> None:
    found = interval_of(2.0, np.linspace(0.0, 1.0, 101))
    assert (found.low, found.high) == (pytest.approx(0.025), 2.0)


def test_sensitivity_is_the_gain_of_tuning_in_each_environment() -> None:
    one_best_everywhere = np.array([[0.2, 0.9, 0.1], [0.3, 1.0, 0.4]])
    assert sensitivity(one_best_everywhere) == pytest.approx(0.0)
    each_its_own = np.array([[1.0, 0.0], [0.2, 0.8]])
    # tuned in each: (1.0 + 0.8) / 2; one for all: max((1.0 + 0.2) / 2, (0.0 + 0.8) / 2)
    assert sensitivity(each_its_own) == pytest.approx(0.9 - 0.6)
    assert sensitivity(np.stack([one_best_everywhere[:, :2], each_its_own])) == pytest.approx(
        [0.0, 0.3]
    )
    assert sensitivity(each_its_own[:1]) == pytest.approx(0.0)


def test_the_effective_dimension_counts_the_settings_that_must_be_tuned() -> None:
    """Environment 0 wants a high first setting, environment 1 a low one; the second is minor."""
    scores = np.zeros((2, 2, 2))
    scores[0] = [[0.1, 0.1], [1.0, 0.98]]
    scores[1] = [[0.98, 1.0], [0.1, 0.1]]
    assert effective_dimension(scores) == 1
    scores[0] = [[0.1, 0.1], [1.0, 0.5]]
    scores[1] = [[0.5, 1.0], [0.1, 0.1]]
    assert effective_dimension(scores) == 2
    scores[1] = scores[0]
    assert effective_dimension(scores) == 0


def test_scores_are_normalized_by_their_5th_and_95th_percentile() -> None:
    assert percentile_range(np.arange(101.0)) == (pytest.approx(5.0), pytest.approx(95.0))
