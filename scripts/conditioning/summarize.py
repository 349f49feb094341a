"""Make the tables of docs/conditioning.md from the parts that run.py has written.

    python scripts/conditioning/summarize.py --parts FOLDER/parts --out scripts/results/conditioning

Writes readings.csv (every run), differences.csv (each normalization against none) and pairs.csv
((g, v) against w in the same network). Positive quantities are compared by their logarithms: a
factor of 2 means twice as large. The intervals are Student's t over seeds, 95%, not adjusted for
their number. Prints the page's tables.
"""

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from wnrl.stats.difference import welch
from wnrl.stats.intervals import Interval, group, t_interval
from wnrl.train.foreign_text import markdown_table

BASELINE = "none"
SHOWN = (
    ("hessian_largest", "w"),
    ("hessian_condition", "w"),
    ("gauss_newton_largest", "w"),
    ("gauss_newton_condition", "w"),
    ("gauss_newton_condition", "gv"),
    ("gauss_newton_top5_ratio", "w"),
    ("adaptive_sharpness", "w"),
    ("noise_scale", "all"),
    ("covariance_rank_w", "all"),
    ("covariance_rank_v", "all"),
)
PAIRS = (
    "hessian_largest",
    "hessian_condition",
    "gauss_newton_largest",
    "gauss_newton_condition",
    "gauss_newton_top5_ratio",
)
HEADER = ("task", "norm", "seed", "point", "step", "quantity", "where", "value")
KEPT = ("w", "gv", "all", "run")

Key = tuple[str, int, str, str, str]  # task, point, quantity, where, norm
Row = dict[str, str]


def read(parts: Path) -> list[Row]:
    """Return the rows of all parts that are not about single layers."""
    rows: list[Row] = []
    for file in sorted(parts.glob("*.csv")):
        found = csv.DictReader(file.read_text().splitlines())
        rows += [{name: row[name] for name in HEADER} for row in found if row["where"] in KEPT]
    return rows


def by_key(rows: list[Row]) -> dict[Key, dict[int, float]]:
    """Return the values by seed of every quantity."""
    values: dict[Key, dict[int, float]] = defaultdict(dict)
    for row in rows:
        key = (row["task"], int(row["point"]), row["quantity"], row["where"], row["norm"])
        values[key][int(row["seed"])] = float(row["value"])
    return values


def logarithms(values: dict[int, float]) -> dict[int, float]:
    """Return log10 of the values, of those that are finite and positive."""
    positive = {s: v for s, v in values.items() if math.isfinite(v) and v > 0}
    return {seed: math.log10(value) for seed, value in positive.items()}


def factor(interval: Interval) -> tuple[str, ...]:
    """Return an interval of logarithms as factors; equal values have no interval."""
    ends = (interval.value, interval.low, interval.high)
    return tuple("" if math.isnan(x) else f"{10**x:.3g}" for x in ends)


def differences(values: dict[Key, dict[int, float]]) -> list[tuple[object, ...]]:
    """Return each normalization's factor to none, with its interval."""
    table: list[tuple[object, ...]] = []
    for (task, point, quantity, where, norm), found in sorted(values.items()):
        if norm == BASELINE or (quantity, where) not in SHOWN:
            continue
        x = list(logarithms(found).values())
        y = list(logarithms(values[task, point, quantity, where, BASELINE]).values())
        if min(len(x), len(y)) < 2:
            continue
        mean = 10 ** (sum(x) / len(x))
        interval = welch(group(x), group(y)).interval()
        counts = (f"{len(x)} of {len(found)}", f"{mean:.4g}")
        table.append((task, point, quantity, where, norm, *counts, *factor(interval)))
    return table


def pairs(values: dict[Key, dict[int, float]]) -> list[tuple[object, ...]]:
    """Return the factor of every quantity in (g, v) to that in w, paired by seed."""
    table: list[tuple[object, ...]] = []
    for (task, point, quantity, where, norm), found in sorted(values.items()):
        other = (quantity, "w") if quantity in PAIRS and where == "gv" else None
        if quantity == "covariance_rank_v" and where == "all":
            other = ("covariance_rank_w", "all")
        if other is None:
            continue
        x, y = logarithms(found), logarithms(values[task, point, *other, norm])
        both = [x[seed] - y[seed] for seed in x if seed in y]
        if len(both) >= 2:
            interval = factor(t_interval(both))
            table.append((task, point, quantity, norm, len(both), *interval))
    return table


def page(
    values: dict[Key, dict[int, float]],
    compared: list[tuple[object, ...]],
    paired: list[tuple[object, ...]],
) -> Iterator[str]:
    """Yield a table for each task and point: none's geometric mean, and factors to it."""
    factors = {row[:5]: "{} [{}, {}]".format(*row[7:]) for row in compared}
    for task, point in sorted({key[:2] for key in values}):
        norms = sorted({norm for *place, _, norm in factors if (task, point) == tuple(place[:2])})
        yield f"\n{task}, point {point}\n"
        rows = []
        for quantity, where in SHOWN:
            plain = logarithms(values[task, point, quantity, where, BASELINE])
            mean = f"{10 ** (sum(plain.values()) / len(plain)):.3g}" if plain else "-"
            cells = [factors.get((task, point, quantity, where, norm), "-") for norm in norms]
            rows.append([f"{quantity}, {where}", mean, *cells])
        yield from markdown_table(["", BASELINE, *norms], rows)
    yield "\n(g, v) against w in the same network\n"
    yield from markdown_table(
        ["task", "point", "quantity", "norm", "factor"],
        ([*map(str, row[:4]), "{} [{}, {}]".format(*row[5:])] for row in paired),
    )


def write(file: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write a table."""
    with file.open("w", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    """Write the three tables and print the page's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = read(arguments.parts)
    values = by_key(rows)
    write(arguments.out / "readings.csv", HEADER, [tuple(row.values()) for row in rows])
    compared = differences(values)
    header = ("task", "point", "quantity", "where", "norm", "seeds", "geometric_mean")
    write(arguments.out / "differences.csv", (*header, "factor_to_none", "low", "high"), compared)
    paired = pairs(values)
    header = ("task", "point", "quantity", "norm", "seeds", "factor_gv_to_w", "low", "high")
    write(arguments.out / "pairs.csv", header, paired)
    print(*page(values, compared, paired), sep="\n")


if __name__ == "__main__":
    main()
