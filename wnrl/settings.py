"""What a hyperparameter says about itself: its default, unit, meaning and source.

Configurations are frozen, flat dataclasses that stand next to what they configure. Each field is
made by `setting`, from which `--help`, TOML files and config.json are generated.
"""

import dataclasses
from collections.abc import Collection
from typing import Any


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
        maximum: the largest allowed number.
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
