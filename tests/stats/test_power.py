"""Power, detectable differences and seeds against statsmodels and simulated studies."""

import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower

from wnrl.stats.difference import Difference, welch
from wnrl.stats.intervals import group
from wnrl.stats.power import detectable_difference, power, seeds_needed

ORACLE = TTestIndPower()


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("level", [0.05, 0.05 / 12])
def test_with_equal_variances_it_is_that_of_statsmodels(seeds: int, level: float) -> None:
    error, df = math.sqrt(2 / seeds), 2 * seeds - 2
    expected = ORACLE.power(effect_size=2.0, nobs1=seeds, alpha=level)
    assert power(2.0, error, df, level) == pytest.approx(expected, abs=1e-6)
    found = Difference(np.array(0.3), np.array(error), np.array(float(df)), (seeds, seeds))
    detectable = detectable_difference(found, level)
    assert ORACLE.power(detectable, seeds, level) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(("difference", "level"), [(0.5, 0.05), (1.3, 0.05 / 12), (8.0, 0.05)])
def test_the_seeds_that_are_needed_are_the_fewest_with_the_power(
    difference: float, level: float
) -> None:
    seeds = seeds_needed(difference, (1.0, 1.0), level)
    assert seeds is not None
    assert ORACLE.power(difference, seeds, level) >= 0.8
    assert seeds == 2 or ORACLE.power(difference, seeds - 1, level) < 0.8


def test_unequal_variances_have_about_the_power_of_simulated_studies() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(2.5, 2, (20_000, 6)), generator.normal(0, 1, (20_000, 6))
    found = float((welch(group(x), group(y)).p() <= 0.05).mean())
    df = 5 * 5**2 / (4**2 + 1)
    assert power(2.5, math.sqrt(5 / 6), df, 0.05) == pytest.approx(found, abs=0.015)


def test_no_number_of_seeds_finds_no_difference() -> None:
    assert seeds_needed(0.0, (1.0, 1.0), 0.05) is None
    assert seeds_needed(0.01, (1.0, 1.0), 0.05) is None  # more than a thousand
    assert seeds_needed(1.0, (0.0, 0.0), 0.05) is None
    unknown = Difference(np.array(1.0), np.array(math.nan), np.array(math.nan), (1, 1))
    assert math.isnan(detectable_difference(unknown, 0.05))
