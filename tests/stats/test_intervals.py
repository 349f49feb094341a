import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wnrl.stats.intervals import Evidence, evidence, t_interval

EXPERIMENTS = 4000
# Four standard errors of a share near 0.95 in as many experiments; near 0.8 they are wider.
SHARE_TOLERANCE = 4 * math.sqrt(0.95 * 0.05 / EXPERIMENTS)  # 0.014
WIDE_TOLERANCE = 4 * math.sqrt(0.8 * 0.2 / EXPERIMENTS)  # 0.025

finite = st.floats(-1e6, 1e6)


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


def test_equal_scores_are_as_uncertain_as_their_episodes_make_them() -> None:
    interval = t_interval([500, 500, 500], sampling_variance=[1, 2, 3])
    assert interval.high - 500 == pytest.approx(4.30265 * math.sqrt(2 / 3), abs=1e-4)


def test_equal_scores_of_unknown_error_have_no_interval() -> None:
    interval = t_interval([500, 500, 500])
    assert interval.value == 500
    assert not interval.bounded


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
    size = max(map(abs, values))
    assume(scale * np.ptp(values) > 1e-6 * (1 + abs(shift) + scale * size))
    assume(np.ptp(values) > 1e-6 * size)
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
