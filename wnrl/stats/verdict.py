"""The four verdicts about a difference."""

import enum
import math

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
