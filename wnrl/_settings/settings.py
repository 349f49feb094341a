"""Settings: how a hyperparameter is declared, parsed and refused.

Configurations are frozen, flat dataclasses next to what they configure. Each field is made by
`setting`, from which `--help`, TOML files and config.json are generated. Errors name settings as
Python does (`learning_rate`); only commands turn that name into a flag.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_type_hints

from wnrl._settings.other_names import meant_by

__all__ = [  # of `wnrl._settings`
    "SettingError",
    "UsageError",
    "cut",
    "flag_name",
    "nearest",
    "parse",
    "parse_fields",
    "plain",
    "printable",
    "setting",
]

_LARGEST = 2**63 - 1  # of whole numbers without a limit of their own
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # surrogates are not UTF-8


class UsageError(ValueError):
    """User error: a command reports it as one line and exits with code 2.

    The message says what was given, what is allowed and what to do.
    """


class SettingError(UsageError):
    """A setting or an argument has a value that cannot be used.

    Args:
        setting: its name in Python: `learning_rate`, or `norm.eps` for a normalization's parameter.
        problem: rest of the message, for example `-1 is out of range; it must be at least 0`.
    """

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}")
        self.setting = setting
        self.problem = problem

    @property
    def flag_message(self) -> str:
        """Return the message with the setting's flag in place of its name, for a command line."""
        return f"--{flag_name(self.setting)} {self.problem}"


def plain(name: str) -> str:
    """Return a name in lower case and without `_`, `-` and spaces, as names are compared."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def nearest(name: str, allowed: Iterable[str], count: int = 3) -> str:
    """Return a hint to end an error line, `; did you mean a, b?`; empty if no name is near.

    Compares in lower case and without `_`, `-` and spaces, so `space_invaders` finds SpaceInvaders.
    Names of other projects find ours: `lr` finds `learning_rate`.
    """
    by_plain = {plain(candidate): candidate for candidate in allowed}
    meant = meant_by(plain(name), by_plain)
    if meant is None:
        close = difflib.get_close_matches(plain(name), by_plain, n=count, cutoff=0.6)
    else:
        close = [meant] if meant else []
    return f"; did you mean {', '.join(by_plain[c] for c in close)}?" if close else ""


def setting(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    source: str = "",
    choices: Collection[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    several: str = "",
) -> Any:
    """Return a dataclass field that describes itself to users.

    Args:
        default: value if it is not set.
        meaning: a noun phrase without a full stop.
        unit: for example `agent steps`, `updates`, `s`, `bytes`; empty for pure numbers.
        source: origin of the default (a paper's section, another project's file).
        choices: allowed values of a string, possibly a table that grows later; empty allows any.
        minimum: smallest allowed number.
        maximum: largest allowed number; only `math.inf` allows infinity.
        above: number that the value must exceed.
        several: what each of several values of a flag is, `KEY=VALUE`; empty for a single value.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "meaning": meaning,
            "unit": unit,
            "source": source,
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
            "above": above,
            "several": several,
        },
    )


def printable(text: str) -> bool:
    """Return whether a text is UTF-8 without control characters, so that it can be shown."""
    return not _UNPRINTABLE.search(text)


def cut(text: str, most: int) -> str:
    """Return a text without its middle if it has more than this many characters."""
    if len(text) <= most:
        return text
    end = most // 2 - 2
    return f"{text[: most - end - 3]}...{text[-end:]}"


def flag_name(field: str) -> str:
    """Return a setting's name as in its flag: `buffer_size` -> `buffer-size`."""
    return field.replace("_", "-")


def parse_fields(kind: type, given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return values of the right types, by name.

    Args:
        kind: a dataclass of settings.
        given: values or their texts; every name must be a field of `kind`.
        prefix: prefix of the settings' names, for messages.

    Raises:
        UsageError: a value of the wrong type or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    types = get_type_hints(kind)
    return {
        name: parse(prefix + name, value, types[name], fields[name])
        for name, value in given.items()
    }


def parse(name: str, value: Any, kind: type, field: dataclasses.Field[Any]) -> Any:
    """Return a value of the field's type and range. `10_000` and `1e6` are whole numbers.

    Raises:
        SettingError: the value has another type or is out of range.
    """
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    if kind is str:
        choices = field.metadata["choices"]
        if not isinstance(value, str):
            raise SettingError(name, f"takes text, not {value!r}")
        if not printable(value):
            raise SettingError(name, f"takes text without control characters, not {value!r}")
        if choices and value not in choices:
            raise SettingError(
                name,
                f"{value!r} is unknown; allowed: {', '.join(choices)}" + nearest(value, choices),
            )
        return value
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise SettingError(name, f"is on or off (true or false), not {value!r}")
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value) if kind is float else _whole(value)
    except (TypeError, ValueError, OverflowError):
        what = "a number" if kind is float else "a whole number"
        raise SettingError(
            name, f"takes {what}{' of' + unit if unit else ''}, not {value!r}"
        ) from None
    _check_range(name, number, field.metadata)
    return number


def _whole(value: Any) -> int:
    if isinstance(value, int):
        return value
    try:
        return int(value) if isinstance(value, str) else int(str(value))
    except ValueError:
        number = float(value)
        if number != int(number):
            raise
        return int(number)


def _check_range(name: str, number: float, limits: Mapping[str, Any]) -> None:
    unit = f" {limits['unit']}" if limits["unit"] else ""
    if math.isnan(number):
        raise SettingError(name, "is not a number")
    low, high, above = limits["minimum"], limits["maximum"], limits["above"]
    if low is not None and number < low:
        allowed = f"at least {low:_}"
    elif high is not None and number > high:
        allowed = f"at most {high:_}"
    elif above is not None and number <= above:
        allowed = f"more than {above:_}"
    elif isinstance(number, int) and number > _LARGEST:
        allowed = f"at most {_LARGEST:_}"
    elif math.isinf(number) and high != math.inf:
        allowed = "finite"
        unit = ""
    else:
        return
    if allowed.endswith(" 1"):
        unit = unit.removesuffix("s")  # at least 1 agent step
    raise SettingError(name, f"{number:_} is out of range; it must be {allowed}{unit}")
