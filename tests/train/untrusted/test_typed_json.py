"""JSON of a stranger: a value of the declared type, or one line."""

import enum
import gc
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from wnrl.train.untrusted.typed_json import check_alike, parse_json, typed


class Colour(enum.StrEnum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float = 0.5


@dataclass(frozen=True)
class Shape:
    name: str
    points: list[Point]
    colour: Colour = Colour.RED
    notes: dict[str, int | None] = field(default_factory=dict)


def test_a_value_becomes_the_type() -> None:
    text = '{"name": "a", "points": [{"x": 1, "y": 2, "z": []}, {"x": 3}], "notes": {"n": null}}'
    assert typed(parse_json(text), Shape) == Shape(
        "a", [Point(1, 2.0), Point(3)], Colour.RED, {"n": None}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "the content is a whole number, not an object"),
        ("{}", "the content has no 'name'"),
        ('{"name": 1, "points": []}', "name is a whole number, not text"),
        ('{"name": "a", "points": {}}', "points is an object, not a list"),
        ('{"name": "a", "points": [3]}', r"points\[0\] is a whole number, not an object"),
        ('{"name": "a", "points": [{"x": true}]}', r"points\[0\].x is true or false, not a whole"),
        ('{"name": "a", "points": [{"x": 1.0}]}', r"points\[0\].x is a number, not a whole number"),
        ('{"name": "a", "points": [], "colour": []}', r"colour is \[\], which is unknown"),
        ('{"name": "a", "points": [], "notes": null}', "notes is null, not an object"),
        ('{"name": "a", "points": [], "notes": {"n": "b"}}', "notes.n is text, not a whole number"),
        ("[" * 100_000, "nested more than 50 levels deep"),
        ('{"a":' * 100_000, "nested more than 50 levels deep"),
        ("9" * 5_000, "the number 99999999999999999999... is too large"),
        (str(2**63), "is too large"),
        ('{"name": "a"', "Expecting"),
    ],
)
def test_anything_else_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        typed(parse_json(text), Shape)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_brackets_within_a_string_have_no_depth() -> None:
    text = "[" * 1_000 + '\\"' + "{" * 1_000
    value: Any = parse_json(f'["{text}", {2**63 - 1}]')
    assert value == [text.replace("\\", ""), 2**63 - 1]


def test_a_state_has_the_types_of_another_of_its_kind() -> None:
    expected = {"updates": 3, "rate": 0.5, "inner": {"name": "a", "any": None}, "rows": [1]}
    check_alike({"updates": 4, "rate": 1, "inner": {"any": 5}, "rows": 7}, expected, "agent")
    for wrong, message in (
        ({"updates": (1,)}, "agent.updates is a tuple, not a int"),
        ({"updates": 1.5}, "agent.updates is a float, not a int"),
        ({"inner": 3}, "agent.inner is a int, not a dict"),
        ({"inner": {"name": None}}, "agent.inner.name is a NoneType, not a str"),
    ):
        with pytest.raises(ValueError, match=message):
            check_alike(wrong, expected, "agent")


def test_a_refused_value_keeps_no_frame_alive() -> None:
    gc.collect()
    gc.disable()
    try:
        assert typed("none", int | str, "x") == "none"
        with pytest.raises(ValueError, match="x is text, not a whole number"):
            typed("none", int | float, "x")
        frames = gc.collect()
    finally:
        gc.enable()
    assert frames == 0
