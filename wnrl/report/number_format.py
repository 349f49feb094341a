"""Numbers as a reader of a page wants them: as many digits as say something, a real minus sign.

Not for files that are read again by programs.
"""

import math
from collections.abc import Iterable, Sequence

MISSING = "–"


def decimals(values: Iterable[float | None], *, significant: int = 4) -> int:
    """Digits after the point that give the largest of these numbers so many significant ones.

    One count for a whole column, so that its points stand below each other.
    """
    sizes = [abs(x) for x in values if x is not None and math.isfinite(x)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return 0
    return max(0, significant - 1 - math.floor(math.log10(largest)))


def number(value: float | None, digits: int) -> str:
    """`1,234.5`, `−0.31`; a dash where there is none.

    Args:
        value: the number; None and NaN are none.
        digits: after the point.
    """
    if value is None or math.isnan(value):
        return MISSING
    shown = round(value, digits) + 0.0  # not `−0`
    return f"{shown:,.{digits}f}".replace("-", "−")


def compact(value: float, *, significant: int = 3) -> str:
    """`0.123`, `−20.5`, `366`, `15,627`: so many digits, or all before the point.

    For a number by itself; those of a column have `decimals` in common.
    """
    if abs(value) >= 10 ** (significant - 1):
        return number(value, 0)
    return f"{value + 0.0:.{significant}g}".replace("-", "−")  # not `−0`


def ends(low: float, high: float, digits: int) -> str:
    """`[10.1, 14.5]`; nothing where there is no interval."""
    if math.isnan(low):
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def counted(count: int, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])
