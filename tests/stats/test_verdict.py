import math

import pytest

from wnrl.stats.verdict import Verdict, verdict


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
