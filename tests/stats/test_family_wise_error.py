"""Simulated studies in which all variants are equal: at most 5% of them may name a difference.

The scores are normal, skewed (exponential), or collapsing: 30% of the seeds fail.
"""

import math

import numpy as np
import pytest

from wnrl.stats.difference import welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.stats.scores import interquartile_mean, optimality_gap
from wnrl.stats.simultaneous import LAWS, Pair, Runs, differences, improvements
from wnrl.stats.verdict import LEVEL

LAW_NAMES = ("normal", "skewed", "collapsing")
STUDIES = 500  # of the quick form
MANY = 4_000
SHAPES = [(v, n, m) for v in (2, 4, 8, 15) for n in (3, 5, 10) for m in (1, 4, 7)]
QUICK_SHAPES = [(2, 3, 1), (2, 10, 7), (4, 5, 4), (8, 5, 1), (15, 3, 7), (15, 10, 1)]
SHARED_SHAPES = [(2, 3, 4), (4, 3, 4), (8, 5, 4), (3, 5, 7), (2, 10, 7)]


def at_most(level: float, studies: int) -> float:
    """Return the level and three standard errors of a share of so many studies."""
    return level + 3 * math.sqrt(level * (1 - level) / studies)


def share_with_a_claim(shape: tuple[int, int, int], law: int, studies: int) -> float:
    """Return how many studies name a difference to the first variant in any game."""
    variants, seeds, games = shape
    scores = LAWS[law](np.random.default_rng(law), (studies, variants, games, seeds))
    p = welch(group(scores[:, 1:]), group(scores[:, :1])).safe_p()  # (studies, variants - 1, games)
    return float((holm(p.reshape(studies, -1)) <= LEVEL).any(axis=-1).mean())


@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@pytest.mark.parametrize("shape", QUICK_SHAPES, ids=str)
def test_at_most_5_percent_of_studies_name_a_difference_in_a_game(
    shape: tuple[int, int, int], law: int
) -> None:
    assert share_with_a_claim(shape, law, STUDIES) <= at_most(LEVEL, STUDIES)


@pytest.mark.slow
@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_at_most_5_percent_of_many_studies_name_a_difference_in_a_game(
    shape: tuple[int, int, int], law: int
) -> None:
    assert share_with_a_claim(shape, law, MANY) <= at_most(LEVEL, MANY)


@pytest.mark.parametrize(("seeds", "shift"), [(3, 4.0), (5, 2.0), (10, 1.3)])
def test_one_comparison_finds_what_welchs_test_finds(seeds: int, shift: float) -> None:
    scores = np.random.default_rng(0).normal(size=(2_000, 2, seeds))
    scores[:, 1] += shift
    found = welch(group(scores[:, 1]), group(scores[:, 0]))
    claims = float((holm(found.safe_p()[:, None]) <= LEVEL).mean())
    assert claims >= 0.9 * float((found.p() <= LEVEL).mean()) > 0.9 * 0.74


def study(
    shape: tuple[int, int, int], law: int, generator: np.random.Generator
) -> tuple[list[Runs], list[Pair]]:
    """Return equal variants in games of different means and spreads."""
    variants, seeds, games = shape
    places = range(games)
    runs = [
        Runs([m + 0.3 * (1 + m) * LAWS[law](generator, (seeds,)) for m in places], [0.0] * games)
        for _ in range(variants)
    ]
    return runs, [(place, 0) for place in range(1, variants)]


def shares_over_games(
    shape: tuple[int, int, int], law: int, studies: int, simulations: int
) -> list[float]:
    """Return how many studies name a difference of IQM, optimality gap or improvement."""
    generator = np.random.default_rng(law)
    claims = np.zeros((studies, 3), dtype=bool)
    for k in range(studies):
        runs, pairs = study(shape, law, generator)
        few = {"simulations": simulations, "resamples": 200}
        found = [
            differences(runs, pairs, statistic, generator, **few).intervals
            for statistic in (interquartile_mean, optimality_gap)
        ]
        claims[k, :2] = [any(x.low > 0 or x.high < 0 for x in of) for of in found]
        claims[k, 2] = any(
            x.low > 0.5 or x.high < 0.5 for x in improvements(runs, pairs, generator)
        )
    shares: list[float] = claims.mean(axis=0).tolist()
    return shares


def test_at_most_5_percent_of_studies_name_a_difference_over_games() -> None:
    studies = 60
    assert max(shares_over_games((4, 3, 4), 0, studies, 50)) <= at_most(LEVEL, studies)


@pytest.mark.slow
@pytest.mark.parametrize("law", range(3), ids=LAW_NAMES)
@pytest.mark.parametrize("shape", SHARED_SHAPES, ids=str)
def test_at_most_5_percent_of_many_studies_name_a_difference_over_games(
    shape: tuple[int, int, int], law: int
) -> None:
    studies = 200
    assert max(shares_over_games(shape, law, studies, 100)) <= at_most(LEVEL, studies)
