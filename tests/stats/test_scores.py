import math

import numpy as np
import pytest
import rliable_numbers
from hypothesis import given
from hypothesis import strategies as st
from rliable_numbers import GAMES_X, GAMES_Y

from wnrl.stats.scores import (
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

AGGREGATES = [mean_score, median_score, optimality_gap, interquartile_mean]

PRINTED = 1e-8  # NumPy prints eight decimals

scores_of_games = st.lists(
    st.lists(st.integers(-20, 20), min_size=1, max_size=5), min_size=1, max_size=5
)


def test_aggregates_are_those_of_rliable() -> None:
    for aggregate, (value, _, _) in (
        (interquartile_mean, rliable_numbers.INTERQUARTILE_MEAN),
        (mean_score, rliable_numbers.MEAN),
        (median_score, rliable_numbers.MEDIAN),
        (optimality_gap, rliable_numbers.OPTIMALITY_GAP),
    ):
        assert aggregate(GAMES_X) == pytest.approx(value, rel=1e-12)
    improvement = probability_of_improvement(GAMES_X, GAMES_Y)
    assert improvement == pytest.approx(rliable_numbers.IMPROVEMENT[0], abs=PRINTED)
    profile = performance_profile(GAMES_X, rliable_numbers.THRESHOLDS)
    np.testing.assert_allclose(profile, rliable_numbers.PROFILE, rtol=0, atol=PRINTED)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([7], 7),
        ([0, 9], 4.5),
        ([0, 1, 9], 10 / 3),  # floor(3 / 4) = 0 are left out
        ([0, 1, 3, 100], 2),
        ([0, 1, 2, 6, 100], 3),  # one at each end; half a run more would give 2.6
        ([0, 1, 2, 3, 4, 8, 100], 3.6),
        ([-50, -50, 1, 2, 3, 4, 100, 100], 2.5),
    ],
)
def test_interquartile_mean_leaves_out_whole_runs(runs: list[float], expected: float) -> None:
    shuffled = np.random.default_rng(0).permutation(runs)
    assert interquartile_mean([shuffled]) == pytest.approx(expected)
    assert interquartile_mean(shuffled[:, None]) == pytest.approx(expected)  # a game per run


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_interquartile_mean_of_equal_seed_counts_is_the_trimmed_mean_of_all_runs(
    games: int, seeds: int, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=(games, seeds))
    runs = np.sort(scores, axis=None)
    cut = int(0.25 * len(runs))  # as scipy.stats.trim_mean(scores, 0.25, axis=None)
    assert interquartile_mean(scores) == pytest.approx(runs[cut : len(runs) - cut].mean())


def test_games_with_different_numbers_of_seeds_have_the_same_weight() -> None:
    scores = [[0, 0, 0, 0], [4, 8]]
    assert mean_score(scores) == 3  # of all runs it would be 2
    assert median_score(scores) == 3
    assert optimality_gap(scores, target=6) == 3.5  # 6 - (0 + 5) / 2; of all runs 13 / 3
    # 0 0 [0 0 4 4] 8 8; of all runs it would be 0 [0 0 0 4] 8
    assert interquartile_mean(scores) == 2
    assert performance_profile(scores, [-1, 0, 5]).tolist() == [1, 0.5, 0.25]
    # 3 seeds and 2: each counts twice or three times, 1 1 2 [2 3 3 4 4 4] 9 9 9
    assert interquartile_mean([[1, 2, 3], [9, 4]]) == pytest.approx(20 / 6)


def test_median_is_of_the_games_means_not_of_the_runs() -> None:
    assert median_score([[0, 0, 9], [1, 1, 1], [5, 5, 5]]) == 3


def test_optimality_gap_by_hand() -> None:
    # 1 - (0.5 + 1 + 1 - 1) / 4: what is above the target does not make up for what is below
    assert optimality_gap([[0.5, 1], [3, -1]]) == 0.625
    assert optimality_gap([[2.0]], target=3) == 1


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([[1, 2, 3]], [[0]], 1),
        ([[1]], [[1]], 0.5),
        ([[1, 2, 3]], [[1, 2, 3]], 0.5),
        ([[1, 3]], [[0, 2, 3]], 3.5 / 6),  # 1 > 0, 3 > 0, 3 > 2, 3 = 3
        ([[1], [5, 5, 5, 5]], [[0], [6]], 0.5),  # the game's weight is not its runs'
    ],
)
def test_probability_of_improvement_by_hand(x: object, y: object, expected: float) -> None:
    assert probability_of_improvement(x, y) == pytest.approx(expected)


@given(scores_of_games, st.integers(0, 2**32))
def test_probability_of_improvement_and_its_converse_add_to_1(
    x: list[list[int]], seed: int
) -> None:
    y = [np.random.default_rng(seed).integers(-20, 21, size=3) for _ in x]
    there, back = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert there + back == pytest.approx(1)
    cubed = probability_of_improvement([np.array(g) ** 3 for g in x], [g**3 for g in y])
    assert cubed == there  # only the order of scores matters


@given(scores_of_games, st.integers(-50, 50), st.integers(1, 9))
def test_aggregates_move_and_stretch_with_the_scores(
    scores: list[list[int]], shift: int, scale: int
) -> None:
    moved = [shift + scale * np.array(game) for game in scores]
    for aggregate in (mean_score, median_score, interquartile_mean):
        assert aggregate(moved) == pytest.approx(shift + scale * aggregate(scores), abs=1e-9)
    gap = optimality_gap(moved, target=shift + scale)
    assert gap == pytest.approx(scale * optimality_gap(scores, target=1), abs=1e-9)


@given(scores_of_games, st.randoms(use_true_random=False))
def test_neither_the_order_of_seeds_nor_that_of_games_matters(
    scores: list[list[int]], random: object
) -> None:
    mixed = [random.sample(game, len(game)) for game in random.sample(scores, len(scores))]
    for aggregate in AGGREGATES:
        assert aggregate(mixed) == pytest.approx(aggregate(scores), abs=1e-9)
    taus = np.arange(-21, 21)
    np.testing.assert_allclose(performance_profile(mixed, taus), performance_profile(scores, taus))


@given(scores_of_games)
def test_profile_falls_from_1_to_0_and_its_area_is_the_mean(scores: list[list[int]]) -> None:
    profile = performance_profile(scores, np.arange(-21, 21))
    assert profile[0] == 1
    assert profile[-1] == 0
    assert (np.diff(profile) <= 0).all()
    assert profile.sum() - 21 == pytest.approx(mean_score(scores))  # of whole scores


def test_leading_dimensions_are_kept() -> None:
    resamples = np.random.default_rng(0).normal(size=(3, 2, 7, 4))  # (M, ..., n)
    for aggregate in AGGREGATES:
        together = aggregate(resamples)
        assert together.shape == (2, 7)
        assert together[1, 5] == pytest.approx(aggregate(resamples[:, 1, 5]))
    profile = performance_profile(resamples, [0.0, 0.5])
    assert profile.shape == (2, 7, 2)
    chances = probability_of_improvement(resamples, resamples[::-1])
    assert chances.shape == (2, 7)
    alone = probability_of_improvement(resamples[:, 1, 5], resamples[::-1, 1, 5])
    assert chances[1, 5] == pytest.approx(alone)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "at least one game"),
        ([[1.0], []], r"game 1 must be \(..., n\) with n >= 1"),
        ([1.0, 2.0], r"game 0 must be \(..., n\)"),
        ([[1.0], [[1.0]]], r"game 1 .* of game 0, \(\), not \(1, 1\)"),
        ([[1.0], [1.0, math.nan]], "game 1 must be finite, not nan"),
        ([[math.inf]], "game 0 must be finite, not inf"),
    ],
)
def test_scores_that_are_none_are_refused(scores: object, message: str) -> None:
    for aggregate in AGGREGATES:
        with pytest.raises(ValueError, match=message):
            aggregate(scores)
    with pytest.raises(ValueError, match=message):
        performance_profile(scores, [0.0])
    with pytest.raises(ValueError, match=message):
        probability_of_improvement(scores, scores)


def test_improvement_is_of_the_same_games() -> None:
    with pytest.raises(ValueError, match="same games, not of 1 and 2"):
        probability_of_improvement([[1.0]], [[1.0], [1.0]])
    with pytest.raises(ValueError, match=r"same leading shape, not \(1, 1\) and \(3, 1\)"):
        probability_of_improvement([[[1.0]]], [[[1.0]] * 3])


def test_thresholds_are_a_row() -> None:
    with pytest.raises(ValueError, match=r"thresholds must be \(K,\), not \(\)"):
        performance_profile([[1.0]], 0.5)
