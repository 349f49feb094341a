"""Rows of a script's result: one printed line each, and a CSV file for scripts/results."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

Row = Mapping[str, object]


def show(row: Row) -> None:
    """Print a row as one line."""
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows, in place of what the file holds; the columns are those of any row."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
