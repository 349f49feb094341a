"""Settings: how a hyperparameter is declared, parsed and refused.

Configurations are frozen, flat dataclasses next to what they configure. Each field is made by
`setting`, from which `--help`, TOML files and config.json are generated. Errors name settings as
Python does (`learning_rate`); only commands turn that name into a flag.
"""

import dataclasses
import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_type_hints


class UsageError(ValueError):
    """User error: a command reports it as one line and exits with code 2.

    The message says what was given, what is allowed and what to do.
    """


class SettingError(UsageError):
    """A setting or argument whose value cannot be used.

    Args:
        setting: its name in Python: `learning_rate`, or `norm.eps` for a normalization's parameter.
        problem: the rest of the message, for example `-1 is out of range; it must be at least 0`.
    """

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}")
        self.setting = setting
        self.problem = problem

    @property
    def flag_message(self) -> str:
        """The message with the setting's flag in place of its name, for a command line."""
        return f"--{flag_name(self.setting)} {self.problem}"


def nearest(name: str, allowed: Iterable[str], count: int = 3) -> str:
    """A hint that ends an error line: `; did you mean a, b?`, or nothing when none is near.

    Compares in lower case and without `_`, `-` and spaces, so `space_invaders` finds SpaceInvaders.
    """

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace("-", "").replace(" ", "")

    by_plain = {plain(candidate): candidate for candidate in allowed}
    close = difflib.get_close_matches(plain(name), by_plain, n=count, cutoff=0.6)
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
) -> Any:
    """A dataclass field with what a user needs to know about it.

    Args:
        default: its value when nobody sets it.
        meaning: one sentence without a full stop.
        unit: for example `agent steps`, `updates`, `s`, `bytes`; empty for pure numbers.
        source: where the default comes from (a paper's section, another project's file).
        choices: the allowed values of a string, perhaps a live table; empty when any will do.
        minimum: the smallest allowed number.
        maximum: the largest allowed number; `math.inf` allows infinity, which else is refused.
        above: the number that the value must exceed.
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
        },
    )


def flag_name(field: str) -> str:
    """`buffer_size` -> `buffer-size`."""
    return field.replace("_", "-")


def parse_fields(kind: type, given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of the right types by name.

    Args:
        kind: a dataclass of settings.
        given: parsed or textual values; every name must be a field of it.
        prefix: of the flags, for messages.

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
    """A value of the field's type and range. `10_000` and `1e6` are whole numbers.

    Raises:
        SettingError: it is not one; the message names the setting, the value and what is allowed.
    """
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    if kind is str:
        choices = field.metadata["choices"]
        if not isinstance(value, str):
            raise SettingError(name, f"takes text, not {value!r}")
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
    elif math.isinf(number) and high != math.inf:
        allowed = "finite"
        unit = ""
    else:
        return
    raise SettingError(name, f"{number:_} is out of range; it must be {allowed}{unit}")
