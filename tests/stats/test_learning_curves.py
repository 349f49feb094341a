import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnrl.stats.learning_curves import area_under_curve, curve, final_window

STEPS, RETURNS = [10, 20, 30, 80], [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (5, math.nan),  # no episode has ended
        (10, 1.0),  # an episode that ends at g is in
        (20, 1.5),
        (30, 3.0),  # (10, 30]: the one that ended at 10 is out
        (40, 4.0),
        (50, 3.0),  # none in (30, 50]: carried forward from (10, 30]
        (79, 3.0),
        (80, 8.0),
        (1000, 8.0),
    ],
)
def test_curve_by_hand(step: float, expected: float) -> None:
    (value,) = curve(STEPS, RETURNS, [step], window_steps=20)
    assert value == pytest.approx(expected, nan_ok=True)


def test_a_value_does_not_depend_on_the_grid() -> None:
    grid = np.arange(0, 100, 7)
    together = curve(STEPS, RETURNS, grid, window_steps=20)
    alone = [curve(STEPS, RETURNS, [g], window_steps=20)[0] for g in grid]
    np.testing.assert_array_equal(together, alone)


def test_episodes_that_end_at_the_same_step_all_count() -> None:
    assert curve([10, 10, 10], [1.0, 2.0, 6.0], [12], window_steps=5).tolist() == [3.0]


def test_a_window_longer_than_the_run_is_the_mean_of_all_episodes() -> None:
    assert final_window(STEPS, RETURNS, total_steps=80, window_steps=1000) == 3.75


def test_final_window_ends_at_the_end_of_training() -> None:
    assert final_window(STEPS, RETURNS, total_steps=90, window_steps=20) == 8.0
    assert final_window(STEPS, RETURNS, total_steps=60, window_steps=40) == 4.0
    # carried forward from (20, 30]; the episode that ended at 80 does not count
    assert final_window(STEPS, RETURNS, total_steps=60, window_steps=10) == 4.0


def test_area_is_the_mean_height_of_the_curve() -> None:
    # at 10, 20, 30, 40: 1, 1.5, 3, 4
    area = area_under_curve(STEPS, RETURNS, total_steps=40, window_steps=20, points=4)
    assert area == 2.375


def test_until_the_first_episode_has_ended_the_area_takes_its_height() -> None:
    # at 10, 20, 30, 40: none yet (so 2), 2, 6, 6 carried forward
    assert area_under_curve([15, 30], [2.0, 6.0], total_steps=40, window_steps=10, points=4) == 4


def test_a_run_without_an_episode_has_no_score() -> None:
    for steps, returns in (([], []), ([50], [1.0])):
        assert math.isnan(final_window(steps, returns, total_steps=40, window_steps=10))
        assert math.isnan(area_under_curve(steps, returns, total_steps=40, window_steps=10))


@given(
    st.lists(st.tuples(st.integers(1, 100), st.integers(-50, 50)), min_size=1, max_size=20),
    st.integers(1, 120),
)
def test_curve_equals_its_definition(episodes: list[tuple[int, int]], window_steps: int) -> None:
    episodes.sort()
    for g, value in enumerate(
        curve(*zip(*episodes, strict=True), np.arange(121), window_steps=window_steps)
    ):
        ended = [step for step, _ in episodes if step <= g]
        if not ended:
            assert math.isnan(value)
            continue
        e = g if ended[-1] > g - window_steps else ended[-1]
        window = [score for step, score in episodes if e - window_steps < step <= e]
        assert value == pytest.approx(np.mean(window))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20), st.integers(-9, 9))
def test_area_and_final_window_move_and_stretch_with_the_returns(
    returns: list[int], shift: int
) -> None:
    steps = np.cumsum(np.arange(1, len(returns) + 1))
    total_steps = float(steps[-1])
    for score in (final_window, area_under_curve):
        one = score(steps, returns, total_steps=total_steps, window_steps=10)
        other = score(
            steps, shift - 3 * np.array(returns), total_steps=total_steps, window_steps=10
        )
        assert other == pytest.approx(shift - 3 * one, abs=1e-9)


@pytest.mark.parametrize(
    ("steps", "returns", "message"),
    [
        ([1, 2], [1.0], r"must both be \(E,\), not \(2,\) and \(1,\)"),
        ([[1]], [[1.0]], r"must both be \(E,\)"),
        ([2, 1], [1.0, 1.0], "never fall"),
        ([1, 2], [1.0, math.nan], "finite"),
        ([1, math.nan], [1.0, 1.0], "finite"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(steps: object, returns: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        final_window(steps, returns, total_steps=10, window_steps=5)


def test_other_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="window_steps must be above 0, not 0"):
        final_window(STEPS, RETURNS, total_steps=10, window_steps=0)
    with pytest.raises(ValueError, match=r"grid must be \(K,\)"):
        curve(STEPS, RETURNS, 10, window_steps=5)
    with pytest.raises(ValueError, match="points must be at least 1"):
        area_under_curve(STEPS, RETURNS, total_steps=10, window_steps=5, points=0)
    with pytest.raises(ValueError, match="total_steps above 0"):
        area_under_curve(STEPS, RETURNS, total_steps=0, window_steps=5)
