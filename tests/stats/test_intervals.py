import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wnrl.stats.intervals import Evidence, Interval, evidence, t_interval, two_sided_t

# t(0.975) with 1, 2, ... degrees of freedom, to three decimals as printed in
# the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
NIST = """
    12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 2.120
    2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 2.045 2.042
"""
# The same by scipy.stats.t.ppf of scipy 1.17.1.
SCIPY = """
    12.70620474 4.30265273 3.18244631 2.77644511 2.57058184 2.44691185 2.36462425 2.30600414
    2.26215716 2.22813885 2.20098516 2.17881283 2.16036866 2.14478669 2.13144955 2.1199053
    2.10981558 2.10092204 2.09302405 2.08596345 2.07961384 2.07387307 2.06865761 2.06389856
    2.05953855 2.05552944 2.05183052 2.04840714 2.04522964 2.04227246
"""
T_TOLERANCE = 1e-8  # the table's last digit

EXPERIMENTS = 4000
# Four standard errors of a share near 0.95 in as many experiments; near 0.8 they are wider.
SHARE_TOLERANCE = 4 * math.sqrt(0.95 * 0.05 / EXPERIMENTS)  # 0.014
WIDE_TOLERANCE = 4 * math.sqrt(0.8 * 0.2 / EXPERIMENTS)  # 0.025

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("df", range(1, 31))
def test_t_is_that_of_the_tables(df: int) -> None:
    t = two_sided_t(0.95, df)
    assert t == pytest.approx(float(SCIPY.split()[df - 1]), abs=T_TOLERANCE)
    assert f"{t:.3f}" == NIST.split()[df - 1]


@pytest.mark.parametrize(
    ("df", "confidence", "expected"),
    [
        (1, 0.5, 1.0),  # tan(pi / 4)
        (2, 0.9, 2.91998558),
        (4, 0.99, 4.60409487),
        (7, 0.8, 1.41492393),
        (29, 0.999, 3.65940502),
        (200, 0.95, 1.97189622),
        (math.inf, 0.95, 1.95996398),
        (math.inf, 0.99, 2.57582930),
    ],
)
def test_t_at_other_confidences(df: float, confidence: float, expected: float) -> None:
    assert two_sided_t(confidence, df) == pytest.approx(expected, abs=T_TOLERANCE)


@pytest.mark.parametrize("df", [0, -1, 2.5, math.nan])
def test_t_refuses_other_degrees_of_freedom(df: float) -> None:
    with pytest.raises(ValueError, match="df must be"):
        two_sided_t(0.95, df)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, math.nan])
def test_confidence_is_a_share(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        t_interval([1.0, 2.0], confidence=confidence)


def test_t_interval_by_hand() -> None:
    # mean 3, s² = (4 + 1 + 1 + 4) / 4 = 2.5, half = 2.77644511 sqrt(2.5 / 5); with s² over S it
    # would be 1.756, with the normal's 1.96 it would be 1.386
    interval = t_interval([5, 1, 2, 4, 3])
    assert interval.value == 3
    assert interval.high - 3 == pytest.approx(1.96324, abs=1e-5)
    assert 3 - interval.low == pytest.approx(1.96324, abs=1e-5)
    assert interval.bounded


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_t_interval_covers_the_true_mean_as_often_as_it_says(seeds: int) -> None:
    experiments = np.random.default_rng(seeds).normal(7, 3, (EXPERIMENTS, seeds))
    for confidence in (0.95, 0.8):
        intervals = [t_interval(e, confidence=confidence) for e in experiments]
        share = np.mean([i.low <= 7 <= i.high for i in intervals])
        tolerance = SHARE_TOLERANCE if confidence == 0.95 else WIDE_TOLERANCE
        assert share == pytest.approx(confidence, abs=tolerance)


@pytest.mark.parametrize("value", [4.0, 0.1])
def test_one_seed_has_a_mean_but_no_interval(value: float) -> None:
    interval = t_interval([value])
    assert interval.value == value
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert not interval.bounded


def test_equal_scores_have_an_interval_of_width_0() -> None:
    assert t_interval([500, 500, 500]) == Interval(500, 500, 500)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], r"\(S,\) with S >= 1, not \(0,\)"),
        ([[1.0, 2.0]], r"not \(1, 2\)"),
        (3.0, r"not \(\)"),
        ([1.0, math.nan], "must be finite, not nan"),
        ([1.0, math.inf], "must be finite, not inf"),
    ],
)
def test_invalid_scores_are_refused(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        t_interval(values)


@given(st.lists(finite, min_size=2, max_size=8), finite, st.floats(0.01, 100))
def test_t_interval_moves_and_stretches_with_the_scores(
    values: list[float], shift: float, scale: float
) -> None:
    assume(np.ptp(values) > 1e-3 or np.ptp(values) == 0)
    one = t_interval(values)
    other = t_interval(shift + scale * np.array(values))
    slack = 1e-9 * (1 + abs(shift) + scale * max(map(abs, values))) * 100
    for end in ("value", "low", "high"):
        assert getattr(other, end) == pytest.approx(shift + scale * getattr(one, end), abs=slack)


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (0, Evidence.NONE),
        (1, Evidence.NONE),
        (2, Evidence.NONE),
        (3, Evidence.INDICATIVE),
        (4, Evidence.INDICATIVE),
        (5, Evidence.CONCLUSIVE),
        (50, Evidence.CONCLUSIVE),
    ],
)
def test_evidence_grows_with_the_number_of_seeds(seeds: int, expected: Evidence) -> None:
    assert evidence(seeds) is expected


def test_evidence_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="at least 0, not -1"):
        evidence(-1)
