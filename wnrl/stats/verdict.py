"""The four verdicts about a difference, alone and in a family."""

import enum
import math
from collections.abc import Sequence
from typing import NamedTuple

from wnrl.stats.difference import Difference
from wnrl.stats.multiple_tests import holm

LEVEL = 0.05  # share of studies of the same kind with a wrong claim in a family, at most


class Verdict(enum.Enum):
    """What a study shows about the difference of a variant to another."""

    BETTER = enum.auto()
    WORSE = enum.auto()
    WITHIN_MARGIN = enum.auto()  # no difference larger than the margin
    UNDECIDED = enum.auto()


def verdict(difference: float, p: float, equivalence_p: float) -> Verdict:
    """Return the verdict of adjusted p-values.

    A difference that is shown is named even if it is also shown to be smaller than the margin.

    Args:
        difference: variant minus baseline, in a score of which more is better.
        p: of "no difference", adjusted for the family; NaN if it could not be tested.
        equivalence_p: of "at least the margin", likewise.
    """
    if p <= LEVEL and not math.isnan(difference) and difference != 0:
        return Verdict.BETTER if difference > 0 else Verdict.WORSE
    return Verdict.WITHIN_MARGIN if equivalence_p <= LEVEL else Verdict.UNDECIDED


class Judged(NamedTuple):
    """What a family of tests shows about one of its differences."""

    verdict: Verdict
    p: float  # of "no difference", adjusted for the family; NaN if it could not be tested
    equivalence_p: float  # of "at least the margin", likewise


def judge(family: Sequence[tuple[Difference | None, float]]) -> list[Judged]:
    """Return what a family of differences and their margins shows, one entry for each.

    Args:
        family: variant minus baseline in a score of which more is better (None if it cannot be
            tested), and the smallest difference that matters (NaN without one).
    """
    p = holm([math.nan if each is None else float(each.safe_p()) for each, _ in family])
    equivalence_p = holm(
        [math.nan if each is None else float(each.equivalence_p(margin)) for each, margin in family]
    )
    return [
        Judged(Verdict.UNDECIDED if each is None else verdict(float(each.value), *both), *both)
        for (each, _), *both in zip(family, p.tolist(), equivalence_p.tolist(), strict=True)
    ]
