import math
from typing import Any

import numpy as np
import pytest
import rliable_numbers
from rliable_numbers import GAMES_X

from wnrl.stats.bootstrap import (
    profile_bands,
    simulated_coverage,
    stratified_interval,
)
from wnrl.stats.intervals import Interval
from wnrl.stats.scores import interquartile_mean, mean_score, median_score, optimality_gap

SIMULATIONS = 2000
# Four standard errors of a share near 0.8 in as many simulations; near 0.95 there are seven.
SHARE_TOLERANCE = 4 * math.sqrt(0.8 * 0.2 / SIMULATIONS)  # 0.036
# An end of an interval of standard deviation s is known from 20,000 resamples to about 0.02 s; the
# deviations are 0.04 to 0.08 here. Four such errors, on either side.
END_TOLERANCE = 0.01


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class FirstSeedOnly:
    """Generator that always draws index 0 and records its calls."""

    def __init__(self) -> None:
        self.resamples = 0
        self.laws: list[tuple[float, float, int]] = []

    def integers(self, high: int, size: tuple[int, int]) -> Any:
        assert high == size[1]  # as many as there are seeds
        self.resamples += size[0]
        return np.zeros(size, dtype=int)

    def normal(self, mean: float, deviation: float, seeds: int) -> Any:
        self.laws.append((mean, deviation, seeds))
        return np.full(seeds, mean)


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (interquartile_mean, rliable_numbers.INTERQUARTILE_MEAN),
        (mean_score, rliable_numbers.MEAN),
        (median_score, rliable_numbers.MEDIAN),
        (optimality_gap, rliable_numbers.OPTIMALITY_GAP),
    ],
)
def test_intervals_are_those_of_rliable(aggregate: Any, expected: tuple[float, ...]) -> None:
    estimate = stratified_interval(GAMES_X, aggregate, generator(), resamples=20_000)
    assert estimate.value == aggregate(GAMES_X)
    assert (estimate.low, estimate.high) == pytest.approx(expected[1:], abs=END_TOLERANCE)


def test_profile_bands_are_those_of_rliable() -> None:
    # shares of 30 runs: an end is equal or a whole run away
    bands = profile_bands(GAMES_X, rliable_numbers.THRESHOLDS, generator(), resamples=20_000)
    np.testing.assert_allclose(bands.profile, rliable_numbers.PROFILE, atol=1e-7)
    np.testing.assert_allclose(bands.low, rliable_numbers.PROFILE_LOW, atol=1e-7)
    np.testing.assert_allclose(bands.high, rliable_numbers.PROFILE_HIGH, atol=1e-7)


def test_seeds_are_resampled_within_their_game() -> None:
    # across games the mean would vary between 0 and 10, within them it cannot
    estimate = stratified_interval([[0, 0, 0], [10, 10]], mean_score, generator())
    assert (estimate.value, estimate.low, estimate.high) == (5, 5, 5)


def test_resamples_are_the_generators_draws() -> None:
    x, first = [[1.0, 5.0], [2.0, 6.0, 9.0]], FirstSeedOnly()
    estimate = stratified_interval(x, mean_score, first)
    assert (estimate.low, estimate.high) == (1.5, 1.5)
    bands = profile_bands(x, [1.5], first)
    assert (bands.low.tolist(), bands.high.tolist()) == ([0.5], [0.5])


def test_the_number_of_resamples_is_the_argument() -> None:
    counting = FirstSeedOnly()
    stratified_interval([[1.0, 2.0, 3.0]], mean_score, counting, resamples=2345)
    assert counting.resamples == 2345


def test_experiments_are_drawn_with_each_games_mean_sample_deviation_and_seeds() -> None:
    recording = FirstSeedOnly()
    simulated_coverage([[1, 3], [10, 10, 16]], mean_score, recording, simulations=1)
    assert recording.laws == [(2, pytest.approx(2**0.5), 2), (12, pytest.approx(12**0.5), 3)]


def test_equal_generators_give_equal_intervals_and_others_do_not() -> None:
    def interval(generator: np.random.Generator) -> Interval:
        return stratified_interval(GAMES_X, interquartile_mean, generator, resamples=1500)

    first, again, other = interval(generator(1)), interval(generator(1)), interval(generator(2))
    assert first == again
    assert first != other
    assert first.value == other.value


def test_more_confidence_is_a_wider_interval() -> None:
    narrow, wide = (
        stratified_interval(GAMES_X, mean_score, generator(), confidence=c) for c in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_games_may_have_different_numbers_of_seeds() -> None:
    x = [[1, 2], [3, 4, 5, 6]]
    estimate = stratified_interval(x, interquartile_mean, generator())
    assert estimate.low < estimate.value < estimate.high


def test_a_game_with_one_seed_leaves_a_value_but_no_interval() -> None:
    x = [[1.0, 2.0], [3.0]]
    estimate = stratified_interval(x, mean_score, generator())
    assert math.isfinite(estimate.value)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert not estimate.bounded
    bands = profile_bands(x, [0.0, 2.5], generator())
    assert bands.profile.tolist() == [1, 0.5]
    assert np.isnan([bands.low, bands.high]).all()
    coverage = simulated_coverage(x, mean_score, generator())
    assert math.isnan(coverage.share)
    assert math.isnan(coverage.standard_error)


@pytest.mark.parametrize(("seeds", "expected"), [(3, 0.75), (5, 0.83), (50, 0.94)])
def test_simulated_coverage_of_one_games_mean_is_that_of_the_percentile_bootstrap(
    seeds: int, expected: float
) -> None:
    scores = [generator(seeds).normal(100, 30, seeds)]
    coverage = simulated_coverage(
        scores, mean_score, generator(), resamples=300, simulations=SIMULATIONS
    )
    assert coverage.share == pytest.approx(expected, abs=SHARE_TOLERANCE)
    deviation = math.sqrt(coverage.share * (1 - coverage.share) / SIMULATIONS)
    assert coverage.standard_error == pytest.approx(deviation)


def test_simulated_coverage_is_that_of_intervals_around_the_truth() -> None:
    # three games of normal scores: the IQM of all runs tends to the mean of their mixture's middle
    # half, here found from a million draws
    laws = [(0.2, 0.1), (0.5, 0.2), (1.5, 0.4)]
    draws = generator(1)
    population = np.concatenate([draws.normal(*law, 1_000_000) for law in laws])
    truth = interquartile_mean([population])
    held = [
        estimate.low <= truth <= estimate.high
        for estimate in (
            stratified_interval(
                [draws.normal(*law, 5) for law in laws], interquartile_mean, draws, resamples=300
            )
            for _ in range(SIMULATIONS)
        )
    ]
    # scores whose mean and deviation are exactly the laws'
    shape = np.array([-1.0, -1, 0, 1, 1])  # sample variance 1
    coverage = simulated_coverage(
        [mean + deviation * shape for mean, deviation in laws],
        interquartile_mean,
        draws,
        resamples=300,
        simulations=SIMULATIONS,
    )
    assert coverage.share == pytest.approx(np.mean(held), abs=SHARE_TOLERANCE)


def test_simulated_coverage_follows_the_confidence() -> None:
    scores = [generator().normal(size=50)]
    share = simulated_coverage(scores, mean_score, generator(), confidence=0.5).share
    assert share == pytest.approx(0.5, abs=4 * math.sqrt(0.5 * 0.5 / 400))


def test_coverage_of_seeds_that_are_all_equal_is_whole() -> None:
    scores = [[0.1, 0.1, 0.1], [0.7, 0.7]]
    for aggregate in (interquartile_mean, mean_score, median_score, optimality_gap):
        assert simulated_coverage(scores, aggregate, generator(), simulations=5).share == 1


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "at least one game"),
        ([[[1.0, 2.0]]], r"an array \(n,\) per game, not \(1, 2\)"),
        ([[1.0, math.nan]], "finite, not nan"),
    ],
)
def test_invalid_scores_are_refused(scores: Any, message: str) -> None:
    for interval in (
        lambda: stratified_interval(scores, mean_score, generator()),
        lambda: profile_bands(scores, [0.0], generator()),
        lambda: simulated_coverage(scores, mean_score, generator()),
    ):
        with pytest.raises(ValueError, match=message):
            interval()


def test_invalid_counts_and_confidence_are_refused() -> None:
    two = [[1.0, 2.0]]
    with pytest.raises(ValueError, match="resamples must be at least 1, not 0"):
        stratified_interval(two, mean_score, generator(), resamples=0)
    with pytest.raises(ValueError, match="simulations must be at least 1, not 0"):
        simulated_coverage(two, mean_score, generator(), simulations=0)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, not 95"):
        stratified_interval(two, mean_score, generator(), confidence=95)
