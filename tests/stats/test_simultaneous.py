"""Differences over games: what they are, and that their intervals are as wide as they must be."""

import math

import numpy as np
import pytest

from wnrl.stats.scores import interquartile_mean, mean_score, probability_of_improvement
from wnrl.stats.simultaneous import Runs, differences, improvements


def runs(*games: list[float], floors: list[float] | None = None) -> Runs:
    return Runs([np.array(game) for game in games], floors or [0.0] * len(games))


PLAIN = runs([0.1, 0.2, 0.3, 0.2], [0.4, 0.5, 0.6, 0.4])
GOOD = runs([1.1, 1.2, 1.3, 1.3], [1.4, 1.5, 1.6, 1.7])
WIDE = runs([-2.0, 0.2, 0.3, 4.0], [0.1, 0.5, 1.2, 0.3])


def test_a_difference_is_that_of_the_statistic() -> None:
    variants = [PLAIN, GOOD, WIDE]
    found = differences(
        variants, [(1, 0), (0, 2)], interquartile_mean, np.random.default_rng(0), simulations=100
    )
    plain, good, wide = (float(interquartile_mean(each.scores)) for each in variants)
    assert [x.value for x in found.intervals] == pytest.approx([good - plain, plain - wide])
    clear, unclear = found.intervals
    assert clear.low > 0
    assert unclear.low < 0 < unclear.high
    assert found.error <= 0.05


def test_a_bootstrap_that_errs_too_often_is_widened_until_it_does_not() -> None:
    generator = np.random.default_rng(0)
    equal = [runs(*generator.normal(size=(4, 3)).tolist()) for _ in range(3)]
    found = differences(equal, [(1, 0), (2, 0)], mean_score, generator)
    assert found.error <= 0.05 < found.bootstrap_error
    assert found.widened > 1


def test_more_variants_widen_the_intervals() -> None:
    def width(count: int) -> float:
        found = differences(
            [PLAIN] * count,
            [(k, 0) for k in range(1, count)],
            mean_score,
            np.random.default_rng(0),
            simulations=200,
        )
        return found.intervals[0].high - found.intervals[0].low

    assert width(8) > 1.2 * width(2)


def test_scores_without_any_spread_have_no_interval() -> None:
    equal = [runs([1.0, 1.0], [2.0, 2.0]), runs([3.0, 3.0], [2.0, 2.0])]
    (found,) = differences(equal, [(1, 0)], mean_score, np.random.default_rng(0)).intervals
    assert found.value == 1
    assert not found.bounded


def test_equal_seeds_are_as_uncertain_as_their_episodes_or_as_other_variants() -> None:
    def half(other: Runs) -> float:
        pair = [runs([1.0, 1.0, 1.0, 1.0], [2.0] * 4, floors=[0.25, 0.25]), other]
        (found,) = differences(pair, [(1, 0)], mean_score, np.random.default_rng(0)).intervals
        return found.high - found.value

    with_own = half(runs([3.0] * 4, [2.0] * 4, floors=[0.25, 0.25]))
    # e² = 0.25 / 4 / 2 for each of the two; the interval is at least that of the normal
    assert with_own > 1.9 * math.sqrt(2 * 0.25 / 8)
    assert half(runs([3.0] * 4, [2.0] * 4)) == pytest.approx(with_own, rel=0.1)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 seeds"):
        differences([runs([1.0])] * 2, [(1, 0)], mean_score, np.random.default_rng(0))


def test_runs_that_are_all_better_are_not_certain_to_be() -> None:
    variants = [PLAIN, GOOD, WIDE]
    sure, unsure = improvements(variants, [(1, 0), (2, 0)], np.random.default_rng(0))
    assert (sure.value, sure.high) == (1, 1)
    assert 0.5 < sure.low < 0.9
    assert unsure.value == probability_of_improvement(WIDE.scores, PLAIN.scores)
    assert unsure.low < 0.5 < unsure.high


def test_the_interval_of_an_improvement_mirrors_that_of_the_reverse() -> None:
    one, other = (
        improvements([WIDE, PLAIN], [pair], np.random.default_rng(0))[0]
        for pair in ((0, 1), (1, 0))
    )
    assert one.low == pytest.approx(1 - other.high)
    assert one.high == pytest.approx(1 - other.low)
