import math

import numpy as np
import pytest

from wnrl.stats.difference import welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.stats.verdict import Verdict, judge, verdict


@pytest.mark.parametrize(
    ("difference", "p", "equivalence_p", "expected"),
    [
        (3.0, 0.05, 0.9, Verdict.BETTER),
        (-3.0, 0.01, 0.9, Verdict.WORSE),
        (0.1, 0.01, 0.01, Verdict.BETTER),  # and smaller than the margin
        (0.1, 0.06, 0.05, Verdict.WITHIN_MARGIN),
        (3.0, 0.06, 0.9, Verdict.UNDECIDED),
        (3.0, math.nan, math.nan, Verdict.UNDECIDED),
    ],
)
def test_a_verdict_follows_from_the_p_values(
    difference: float, p: float, equivalence_p: float, expected: Verdict
) -> None:
    assert verdict(difference, p, equivalence_p) is expected


def test_a_family_is_adjusted_together_and_what_cannot_be_tested_does_not_count() -> None:
    low, alike, high = ([base - 1, base, base + 1] * 4 for base in (80.0, 100.0, 120.0))
    differences = [welch(group(scores), group(alike)) for scores in (high, low, alike)]
    family = [(differences[0], 10.0), (None, 10.0), (differences[1], 10.0), (differences[2], 10.0)]
    judged = judge(family)
    assert [each.verdict for each in judged] == [
        Verdict.BETTER,
        Verdict.UNDECIDED,
        Verdict.WORSE,
        Verdict.WITHIN_MARGIN,
    ]
    assert math.isnan(judged[1].p)
    assert math.isnan(judged[1].equivalence_p)
    own = [float(each.safe_p()) for each in differences]
    np.testing.assert_allclose([each.p for each in judged if each.p == each.p], holm(own))
    assert judged[0].p == pytest.approx(3 * own[0])
    within = [float(each.equivalence_p(10.0)) for each in differences]
    found = [each.equivalence_p for each in judged if each.p == each.p]
    np.testing.assert_allclose(found, holm(within))
    assert found[2] == pytest.approx(3 * within[2])


def test_without_a_margin_nothing_is_within_it() -> None:
    alike = group([99.0, 100, 101] * 4)
    assert judge([(welch(alike, alike), math.nan)])[0].verdict is Verdict.UNDECIDED
