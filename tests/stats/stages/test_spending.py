"""Levels of repeated tests, against published bounds and scipy's normal distribution."""

import numpy as np
import pytest
from scipy import stats

from wnrl.stats.stages.spending import spent, stage_levels

# Two-sided bounds of Lan and DeMets's function for Pocock's boundaries at 5%, five equal stages;
# Jennison & Turnbull 2000, or any package for group-sequential designs.
PUBLISHED = [2.438, 2.427, 2.410, 2.397, 2.386]
SEEDS = (3, 7, 12)


def bounds(levels: tuple[float, ...]) -> list[float]:
    return [float(stats.norm.isf(level / 2)) for level in levels]


def test_the_bounds_are_the_published_ones() -> None:
    assert bounds(stage_levels((2, 4, 6, 8, 10), 0.05)) == pytest.approx(PUBLISHED, abs=6e-4)


def stays_inside(seeds: tuple[int, ...], levels: tuple[float, ...]) -> float:
    """Return how often no stage of a normal study without a difference crosses its bound."""
    n = np.array(seeds)
    correlation = np.sqrt(np.minimum.outer(n, n) / np.maximum.outer(n, n))
    b = np.array(bounds(levels))
    normal = stats.multivariate_normal(np.zeros(len(n)), correlation, abseps=1e-6, seed=0)
    return float(normal.cdf(b, lower_limit=-b))


@pytest.mark.parametrize("level", [0.05, 0.05 / 14])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_as_much_is_used_up_to_each_stage_as_may_be_spent(level: float, stage: int) -> None:
    levels = stage_levels(SEEDS, level)[: stage + 1]
    used = 1 - stays_inside(SEEDS[: stage + 1], levels)
    assert used == pytest.approx(spent(level, SEEDS[stage] / 12), rel=2e-3)


def test_the_whole_level_is_spent_at_the_end() -> None:
    assert spent(0.05, 1.0) == pytest.approx(0.05)


def test_a_skipped_stage_leaves_its_part_to_the_next() -> None:
    first, second, third = stage_levels(SEEDS, 0.05, frozenset({0}))
    assert first == 0
    assert second == pytest.approx(spent(0.05, 7 / 12), rel=1e-6)
    assert 1 - stays_inside(SEEDS[1:], (second, third)) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("skipped", [frozenset(), frozenset({0})])
def test_every_level_rises_with_the_level_of_the_whole(skipped: frozenset[int]) -> None:
    """Otherwise Holm's method could take back in a later step what it found in an earlier one."""
    rows = np.array([stage_levels((3, 7, 12, 16, 20), 0.05 / m, skipped) for m in range(1, 31)])
    assert (np.diff(rows[:, len(skipped) :], axis=0) < 0).all()
