"""Describe what an environment returned or raised, in a few words for an error message."""

from typing import Any

import numpy as np

from wnrl._settings import cut


def described(error: BaseException) -> str:
    """Describe an error of somebody else's code as `Type: message`."""
    return f"{type(error).__name__}: {text_of(error)}".rstrip(": ")


def text_of(error: BaseException) -> str:
    """Return the message of an error."""
    try:
        return str(error)
    except Exception:  # its own __str__ raises
        return "its message cannot be shown"


def kind_of(value: Any) -> str:
    """Describe a value in a few words."""
    if value is None or isinstance(value, bool | int | float | complex | str | np.generic):
        return cut(repr(value), 60)
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} values"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    return f"a value of type {type(value).__name__}"
