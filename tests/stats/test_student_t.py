"""Student's t against the tables of NIST and against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from wnrl.stats.student_t import noncentral_upper_p, two_sided_p, two_sided_t, upper_p

# t(0.975) with 1, 2, ... degrees of freedom, to three decimals as printed in
# the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
NIST = """
    12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 2.120
    2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042
"""
P_TOLERANCE = 1e-11
T_TOLERANCE = 1e-8
NONCENTRAL_TOLERANCE = 1e-6  # of the quadrature


def test_p_values_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    t, df = generator.normal(0, 5, 500), generator.uniform(0.5, 300, 500)
    np.testing.assert_allclose(
        two_sided_p(t, df), 2 * stats.t.sf(np.abs(t), df), rtol=0, atol=P_TOLERANCE
    )
    np.testing.assert_allclose(upper_p(t, df), stats.t.sf(t, df), rtol=0, atol=P_TOLERANCE)
    assert two_sided_p([0, math.inf, math.nan], 3).tolist()[:2] == [1, 0]
    assert math.isnan(two_sided_p(math.nan, 3))


@pytest.mark.parametrize("df", range(1, 31))
def test_quantiles_are_those_of_the_tables(df: int) -> None:
    assert f"{two_sided_t(0.95, df):.3f}" == NIST.split()[df - 1]


@pytest.mark.parametrize("df", [0.7, 1, 2, 2.03, 4, 7.5, 29, 200, math.inf])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_quantiles_are_those_of_scipy_at_any_degrees_of_freedom(
    df: float, confidence: float
) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, df)
    assert two_sided_t(confidence, df) == pytest.approx(expected, rel=T_TOLERANCE)


@pytest.mark.parametrize("df", [0, -1, math.nan])
def test_other_degrees_of_freedom_are_refused(df: float) -> None:
    with pytest.raises(ValueError, match="df must be above 0"):
        two_sided_t(0.95, df)


@pytest.mark.parametrize("df", [1, 1.5, 2, 4.2, 8, 100])
@pytest.mark.parametrize("shift", [-2.0, 0.5, 3.0])
def test_the_noncentral_t_is_that_of_scipy(df: float, shift: float) -> None:
    for t in (-3.0, 0.0, 2.0, 12.7):
        expected = stats.nct.sf(t, df, shift)
        assert noncentral_upper_p(t, df, shift) == pytest.approx(expected, abs=NONCENTRAL_TOLERANCE)
