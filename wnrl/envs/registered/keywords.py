"""Keywords for the constructor of an environment, as the text of a setting: `continuous=false`.

The text is KEY=VALUE, separated by spaces. A value is JSON, or a word: `map_name=8x8`,
`desc=["SF","FG"]`, `name="two words"`. Every set of keywords has one canonical text, so that equal
runs have equal names.
"""

import json
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wnrl._settings import SettingError

SETTING = "env_kwargs"
NO_KEYWORDS: Mapping[str, Any] = types.MappingProxyType({})
_KEY = re.compile(r"\s*([A-Za-z_]\w*)=", re.ASCII)
_END = re.compile(r"\s*\Z")
_WORD = re.compile(r"\S+")
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(_\d{3})+")  # 10_000, as in other settings
_OPENING = ('"', "[", "{")  # in front of what comes next, a word could become JSON
_PYTHON = {"True": True, "False": False, "None": None}
# Arguments of `gymnasium.make` that are not the environment's, or that a run gives itself.
_RESERVED = ("id", "disable_env_checker", "num_envs", "vectorization_mode", "vector_kwargs")


def keywords_text(given: Any) -> str:
    """Return the canonical text of keywords.

    Args:
        given: a text, several texts, or a mapping of keywords to values.

    Raises:
        SettingError: it is none of these, or not KEY=VALUE.
    """
    if isinstance(given, Mapping):
        return _text(keywords_of(_text(given)))
    several = isinstance(given, Sequence) and all(isinstance(part, str) for part in given)
    if not several:
        raise SettingError(SETTING, f"takes KEY=VALUE, not {given!r}")
    return _text(keywords_of(given if isinstance(given, str) else " ".join(given)))


def keywords_of(text: str) -> dict[str, Any]:
    """Return the keywords of a text by name.

    Raises:
        SettingError: the text is not KEY=VALUE, or a key is there twice or reserved.
    """
    found: dict[str, Any] = {}
    for key, value in _pairs(text):
        if key in found:
            raise SettingError(SETTING, f"{key} is given twice; give it only once")
        if key in _RESERVED:
            raise SettingError(SETTING, f"{key} is given by the run itself: leave it out")
        found[key] = value
    return found


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    position = 0
    while not _END.match(text, position):
        key = _KEY.match(text, position)
        if key is None:
            raise SettingError(
                SETTING,
                f"takes KEY=VALUE, not {text[position:].strip()!r}; write a value that has spaces "
                "as 'KEY=\"two words\"'",
            )
        value, position = _value(text, key.end())
        yield key[1], value


def _value(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at a position, and where it ends."""
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
        if end == len(text) or text[end].isspace():
            return value, end
    except (ValueError, RecursionError):
        pass
    word = _WORD.match(text, start)
    if word is None:
        return "", start
    if _GROUPED.fullmatch(word[0]):
        return int(word[0]), word.end()
    return _PYTHON.get(word[0], word[0]), word.end()


def _text(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_value_text(values[key])}" for key in sorted(values, key=str))


def _value_text(value: Any) -> str:
    """Return the shortest text that `_value` reads as this value."""
    try:
        in_json = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise SettingError(SETTING, f"takes values that JSON has, not {value!r}") from None
    if not isinstance(value, str) or value.startswith(_OPENING):
        return in_json
    return value if _value(value, 0) == (value, len(value)) else in_json
