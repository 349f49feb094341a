"""Numbers and lists for people: significant digits only, thousands separators, a real minus sign.

Not for files that programs read.
"""

import math
from collections.abc import Iterable, Sequence

MISSING = "–"


def decimals(values: Iterable[float | None], *, significant: int = 4) -> int:
    """Return the number of decimals that gives the largest number so many significant digits.

    It is used for a whole column, so that decimal points are aligned.
    """
    sizes = [abs(x) for x in values if x is not None and math.isfinite(x)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return 0
    return max(0, significant - 1 - math.floor(math.log10(largest)))


def number(value: float | None, digits: int) -> str:
    """Return `1,234.5` or `−0.31`; a dash for None and NaN.

    Args:
        value: the number.
        digits: number of decimals.
    """
    if value is None or math.isnan(value):
        return MISSING
    shown = round(value, digits) + 0.0  # avoids `−0`
    return f"{shown:,.{digits}f}".replace("-", "−")


def compact(value: float, *, significant: int = 3) -> str:
    """Return `0.123`, `−20.5`, `366` or `15,627`: so many digits, but the whole integer part.

    For single numbers; the numbers of a column share their `decimals`. NaN is a dash.
    """
    if math.isnan(value):
        return MISSING
    if abs(value) >= 10 ** (significant - 1):
        return number(value, 0)
    return f"{value + 0.0:.{significant}g}".replace("-", "−")  # avoids `−0`


def ends(low: float, high: float, digits: int) -> str:
    """Return `[10.1, 14.5]`; empty if the interval has no ends."""
    if math.isnan(low):
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def signed(value: float, digits: int) -> str:
    """Return `+12.3` or `−0.4`, with this number of decimals; a dash for NaN."""
    text = number(value, digits)
    return text if value < 0 or math.isnan(value) else f"+{text.lstrip('−')}"


def justified_digits(low: float, high: float, value: float) -> int:
    """Return the decimals that an interval justifies: two significant digits of its half.

    Without an interval they are two significant digits of the value.
    """
    half = (high - low) / 2
    known = half if half > 0 else abs(value)  # false for NaN
    return min(6, decimals([known], significant=2))


def difference(value: float, low: float, high: float) -> str:
    """Return `+12.3 [+4.1, +20.5]`; without the interval if it has no ends."""
    digits = justified_digits(low, high, value)
    if math.isnan(low):
        return signed(value, digits)
    return f"{signed(value, digits)} [{signed(low, digits)}, {signed(high, digits)}]"


def p_value(p: float) -> str:
    """Return `0.032`, or `< 0.001`; a dash for NaN."""
    if math.isnan(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def counted(count: int, noun: str) -> str:
    """Return `1 seed` or `3 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])
