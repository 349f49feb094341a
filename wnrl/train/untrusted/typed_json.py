"""Read JSON that a stranger may have written as a value of a declared type.

The type is an annotation: `int`, `list[str]`, `dict[str, float | None]`, a dataclass or a
NamedTuple. Objects may have keys that the type does not know, which newer versions add.
"""

import dataclasses
import enum
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from wnrl.train.untrusted.files import MEBIBYTE, read_text

_DEEPEST = 50
_LARGEST = 2**63 - 1
_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    types.NoneType: "null",
    list: "a list",
    dict: "an object",
}
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


T = TypeVar("T")


def read_json(path: Path, kind: type[T], limit_bytes: int = MEBIBYTE) -> T:
    """Read a JSON file.

    Args:
        path: the file.
        kind: type of its content.
        limit_bytes: size of the largest file to read.

    Raises:
        OSError: the file cannot be read (`wnrl.train.untrusted.files`).
        ValueError: it is not JSON, or has another type; the message is one line.
    """
    content: T = typed(parse_json(read_text(path, limit_bytes)), kind)
    return content


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; ValueError if it is too deep or holds a huge integer."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > _LARGEST:
        raise ValueError(f"the number {digits[:20]}... is too large")
    return int(digits)


def typed(value: Any, kind: Any, where: str = "") -> Any:
    """Return a value from JSON as a type; ValueError says where it has another.

    Args:
        value: plain Python values.
        kind: the type.
        where: the value's place in the file, for messages.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _one_of(value, parts, where)
    if origin in (list, tuple):
        items = _expect(value, list, where)
        return origin(typed(x, parts[0], f"{where}[{k}]") for k, x in enumerate(items))
    if origin is dict:
        mapping = _expect(value, dict, where)
        return {name: typed(x, parts[1], _inside(where, name)) for name, x in mapping.items()}
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_field_defaults"):
        return _record(_expect(value, dict, where), kind, where)
    if issubclass(kind, enum.Enum):
        if value not in [member.value for member in kind]:
            raise ValueError(f"{_place(where)} is {value!r}, which is unknown")
        return kind(value)
    if kind is float and type(value) is int:
        return float(value)
    return _expect(value, kind, where)


def _record(given: dict[str, Any], kind: Any, where: str) -> Any:
    """Return a dataclass or NamedTuple; what is not given takes its default."""
    hints = typing.get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        fields = dataclasses.fields(kind)
        required = {
            x.name
            for x in fields
            if x.default is dataclasses.MISSING and x.default_factory is dataclasses.MISSING
        }
    else:
        required = hints.keys() - kind._field_defaults.keys()
    if missing := sorted(required - given.keys()):
        raise ValueError(f"{_place(where)} has no {missing[0]!r}")
    return kind(
        **{
            name: typed(given[name], hint, _inside(where, name))
            for name, hint in hints.items()
            if name in given
        }
    )


def _one_of(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    # Not the errors themselves: with their frames they would be a cycle, which keeps alive all that
    # the callers hold, such as a copy of the network, until the garbage collector comes.
    problems = []
    for kind in kinds:
        try:
            return typed(value, kind, where)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError(problems[0])  # the first type is what the value is for; None comes last


def _expect(value: Any, kind: type, where: str) -> Any:
    if type(value) is not kind:
        came = _NAMES.get(type(value), type(value).__name__)
        raise ValueError(f"{_place(where)} is {came}, not {_NAMES[kind]}")
    return value


def _place(where: str) -> str:
    return where or "the content"


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def check_alike(value: Any, expected: Any, where: str) -> None:
    """Raise ValueError if a part of a state has another type than in a state of the same kind.

    Args:
        value: the state.
        expected: another state. Only what both have is compared; whole numbers may be fractions,
            and what is None or a list may be anything.
        where: name of the state, for the message.
    """
    if isinstance(expected, dict) and isinstance(value, dict):
        for name in expected.keys() & value.keys():
            check_alike(value[name], expected[name], _inside(where, str(name)))
        return
    anything = expected is None or isinstance(expected, list | tuple)
    number = isinstance(expected, float) and type(value) is int
    if not (anything or number) and type(value) is not type(expected):
        raise ValueError(f"{where} is a {type(value).__name__}, not a {type(expected).__name__}")
