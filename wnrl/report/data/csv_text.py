"""Tables for programs, as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV; a column that a row lacks is empty there.

    Raises:
        ValueError: a row has another column.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def known(numbers: Mapping[str, float | None]) -> dict[str, str]:
    """Return the numbers that are known, with six digits."""
    return {
        name: f"{value:.6g}"
        for name, value in numbers.items()
        if value is not None and not math.isnan(value)
    }
