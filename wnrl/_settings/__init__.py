"""What every other part builds on: settings, their errors, and imports at first use.

Records and configurations are made of these two, so that they need no torch. Nothing here imports
another part of the package.
"""

from wnrl._settings.settings import (
    SettingError,
    UsageError,
    cut,
    flag_name,
    nearest,
    parse,
    parse_fields,
    printable,
    setting,
)

__all__ = [
    "SettingError",
    "UsageError",
    "cut",
    "flag_name",
    "nearest",
    "parse",
    "parse_fields",
    "printable",
    "setting",
]
