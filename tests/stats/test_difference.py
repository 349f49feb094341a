"""Welch's test, equivalence and effect size against scipy, statsmodels and hand numbers."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_ind

from wnrl.stats.difference import effect_size, welch
from wnrl.stats.intervals import group

TOLERANCE = 1e-9


def random_groups(k: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(k)
    n, m = generator.integers(2, 9, 2)
    return generator.normal(0, 1, n), generator.normal(0.7, 3, m)


@pytest.mark.parametrize("k", range(10))
def test_welch_is_that_of_scipy(k: int) -> None:
    x, y = random_groups(k)
    found, expected = welch(group(x), group(y)), stats.ttest_ind(x, y, equal_var=False)
    assert float(found.p()) == pytest.approx(expected.pvalue, abs=TOLERANCE)
    for confidence in (0.8, 0.95):
        interval = found.interval(confidence)
        ends = expected.confidence_interval(confidence)
        assert (interval.low, interval.high) == pytest.approx((ends.low, ends.high))


@pytest.mark.parametrize("k", range(10))
def test_equivalence_is_that_of_statsmodels(k: int) -> None:
    x, y = random_groups(k)
    for margin in (0.1, 2.0):
        expected, _, _ = ttost_ind(x, y, -margin, margin, usevar="unequal")
        found = float(welch(group(x), group(y)).equivalence_p(margin))
        assert found == pytest.approx(expected, abs=TOLERANCE)


def test_welch_by_hand() -> None:
    # means 43 and 21, variances 156 and 1: se² = 157 / 3
    found = welch(group([33, 39, 57]), group([20, 21, 22]))
    assert float(found.value) == 22
    assert float(found.error) == pytest.approx(math.sqrt(157 / 3))
    assert float(found.df) == pytest.approx(2 * 157**2 / (156**2 + 1))
    assert float(found.p()) == pytest.approx(0.0918, abs=1e-4)


def test_many_studies_at_once_are_each_of_them() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 7, 5)), generator.normal(size=(2, 7, 4))
    together = welch(group(x), group(y)).p()
    assert together.shape == (2, 7)
    assert together[1, 3] == pytest.approx(float(welch(group(x[1, 3]), group(y[1, 3])).p()))


def test_a_mean_is_not_more_certain_than_its_episodes_make_it() -> None:
    equal, spread = [5.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]
    assert float(group(equal, [0.1, 0.2, 0.3, math.nan, 0.2]).variance) == pytest.approx(0.2)
    assert float(group(spread, 0.2).variance) == 2.5  # which contains the episodes' share
    assert float(group([0.1 + 0.2, 0.3, 0.3]).variance) == 0  # equal up to rounding


def test_scores_without_any_spread_show_nothing() -> None:
    found = welch(group([5.0] * 5), group([4.0] * 5))
    assert float(found.value) == 1
    assert math.isnan(found.p())
    assert math.isnan(found.equivalence_p(10.0))
    assert not found.interval().bounded
    assert not effect_size(group([5.0] * 5), group([4.0] * 5)).bounded


def test_a_group_without_spread_is_as_uncertain_as_the_other() -> None:
    spread = [1.0, 2.0, 3.0]
    same = welch(group([5.0] * 3), group(spread))
    assert float(same.error) == pytest.approx(math.sqrt(2 / 3))
    assert float(same.df) == pytest.approx(4)


@pytest.mark.parametrize("k", range(4))
def test_the_effect_size_is_hedges_g_with_the_interval_of_the_noncentral_t(k: int) -> None:
    x, y = random_groups(k)
    n, m = len(x), len(y)
    df, scale = n + m - 2, math.sqrt(1 / n + 1 / m)
    t = stats.ttest_ind(x, y).statistic
    correction = math.gamma(df / 2) / math.gamma((df - 1) / 2) / math.sqrt(df / 2)
    found = effect_size(group(x), group(y))
    assert found.value == pytest.approx(correction * scale * t)
    unit = correction * scale
    assert stats.nct.sf(t, df, found.low / unit) == pytest.approx(0.025, abs=1e-4)
    assert stats.nct.cdf(t, df, found.high / unit) == pytest.approx(0.025, abs=1e-4)


def test_one_seed_has_no_effect_size() -> None:
    assert math.isnan(effect_size(group([1.0]), group([1.0, 2.0])).value)


def test_a_p_value_is_not_below_the_chance_that_all_seeds_of_one_variant_collapse() -> None:
    apart = welch(group([1.0, 1.01, 1.02]), group([0.0, 0.01, 0.02]))
    assert float(apart.p()) < 1e-6
    assert float(apart.safe_p()) == pytest.approx(2 / 4**3)
    uneven = welch(group([1.0, 1.01, 1.02]), group([0.0, 0.01])).safe_p()
    shares = np.linspace(0, 1, 1001)
    assert float(uneven) == pytest.approx((2 * shares**3 * (1 - shares) ** 2).max())
    close = welch(group([1.0, 2.0, 3.0]), group([1.0, 2.0, 4.0]))
    assert float(close.safe_p()) == float(close.p())
