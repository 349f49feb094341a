"""Format of numbers and lists."""

import math

import pytest

from wnrl.report.number_format import MISSING, compact, counted, decimals, ends, listed, number


def test_a_column_has_the_digits_that_its_largest_number_needs() -> None:
    assert decimals([0.5, -123.4, None, math.nan]) == 1
    assert decimals([9_999.0]) == decimals([123_456.0]) == 0
    assert decimals([0.0412], significant=3) == 4
    assert decimals([0.0]) == decimals([]) == 0


def test_numbers_have_a_real_minus_separators_and_a_dash_where_there_is_none() -> None:
    assert number(-20.5, 2) == "−20.50"
    assert number(1_234_567.0, 0) == "1,234,567"
    assert number(-0.004, 2) == "0.00"
    assert number(None, 1) == number(math.nan, 1) == MISSING


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.01234, "0.0123"),
        (-20.5, "−20.5"),
        (366.928, "367"),
        (15627.1, "15,627"),
        (-0.0, "0"),
        (math.nan, MISSING),
    ],
)
def test_a_number_by_itself_has_three_digits_or_all_before_the_point(
    value: float, expected: str
) -> None:
    assert compact(value) == expected
    assert compact(12345.6, significant=4) == "12,346"


def test_an_interval_has_two_ends_or_is_not_shown() -> None:
    assert ends(-1.0, 2.5, 1) == "[−1.0, 2.5]"
    assert ends(math.nan, math.nan, 1) == ""


def test_things_are_counted_and_listed_as_in_a_sentence() -> None:
    assert [counted(k, "seed") for k in (0, 1, 1_000)] == ["0 seeds", "1 seed", "1,000 seeds"]
    assert [listed("abc"[:k]) for k in range(4)] == ["", "a", "a and b", "a, b and c"]
