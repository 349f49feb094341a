import itertools

import pytest

from wnrl.report.figures.text import tick_format, width_in, wrap


def test_lines_are_as_full_as_they_can_be_and_no_wider() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    lines = wrap(text, 1.0, 8.0)
    assert " ".join(lines) == text
    assert len(lines) > 1
    for line, after in itertools.pairwise(lines):
        assert width_in(line, 8.0) <= 1.0 < width_in(f"{line} {after.split()[0]}", 8.0)


def test_a_word_that_is_wider_than_a_line_is_cut() -> None:
    lines = wrap("a " + "m" * 60, 1.0, 8.0)
    assert lines[0] == "a"
    assert "".join(lines[1:]) == "m" * 60
    assert all(width_in(line, 8.0) <= 1.0 for line in lines)


def test_no_text_is_no_lines() -> None:
    assert wrap("", 1.0, 8.0) == []


@pytest.mark.parametrize(
    ("largest", "value", "expected"),
    [
        (10_000_000, 2_500_000, "2.5M"),
        (10_000_000, 500_000, "0.5M"),  # in the unit of the axis
        (10_000_000, 0, "0"),
        (40_000, 5_000, "5k"),
        (9_000, 1_500, "1,500"),
        (1, 0.25, "0.25"),
        (20, -7.5, "−7.5"),
        (2e9, 5e8, "0.5G"),
    ],
)
def test_ticks_are_in_the_unit_of_their_axis(largest: float, value: float, expected: str) -> None:
    assert tick_format(largest)(value, None) == expected
