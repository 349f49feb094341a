"""Holm's adjustment against statsmodels."""

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from wnrl.stats.multiple_tests import holm


@pytest.mark.parametrize("tests", [1, 2, 5, 30])
def test_holm_is_that_of_statsmodels(tests: int) -> None:
    p = np.random.default_rng(tests).random((2, tests)) ** 3
    for row, adjusted in zip(p, holm(p), strict=True):
        np.testing.assert_allclose(adjusted, multipletests(row, method="holm")[1])


def test_holm_by_hand() -> None:
    # 3 x 0.01, then 2 x 0.04, then 1 x 0.03, which may not be below the one before it
    assert holm([0.04, 0.01, 0.045]).tolist() == pytest.approx([0.08, 0.03, 0.08])


def test_a_test_that_could_not_be_done_does_not_count() -> None:
    adjusted = holm([math.nan, 0.01, 0.04])
    assert math.isnan(adjusted[0])
    assert adjusted[1:].tolist() == pytest.approx([0.02, 0.04])
