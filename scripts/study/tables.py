"""Print the differences of a study as a table in Markdown, by variant and game.

    python scripts/study/tables.py scripts/results/study_a/verdicts.csv
    python scripts/study/tables.py scripts/results/study_a/verdicts.csv --measure area

A difference without a verdict is undecided. p belongs to the verdict: it is that of "no
difference", and within the margin, of "at least the margin".
"""

import argparse
import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wnrl.report.number_format import MISSING, compact, counted, difference, p_value
from wnrl.stats.verdict import Verdict
from wnrl.train.foreign_text import markdown_table

WORDS = {
    Verdict.BETTER: "better",
    Verdict.WORSE: "worse",
    Verdict.WITHIN_MARGIN: "within the margin",
}
MEASURES = {"final-return": "final_return", "area": "area_under_curve"}


def main() -> None:
    """Print the table and what it rests on."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("verdicts", type=Path, help="the verdicts.csv of a report")
    parser.add_argument("--measure", choices=MEASURES, default="final-return", help="measure")
    arguments = parser.parse_args()
    rows = read(arguments.verdicts, arguments.measure)
    for line in (*table(rows), "", counts(rows)):
        print(line)


def read(verdicts: Path, measure: str = "final-return") -> list[dict[str, str]]:
    """Return the rows of a measure, one of `MEASURES`."""
    with verdicts.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["measure"] == MEASURES[measure]]


def table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of the table; where all pairs are compared, a row for each pair."""
    games = sorted({row["env"] for row in rows})
    found = {(row["variant"], row["baseline"], row["env"]): row for row in rows}
    pairs = list(dict.fromkeys((row["variant"], row["baseline"]) for row in rows))
    one_baseline = len({baseline for _, baseline in pairs}) == 1
    lines = [
        [
            f"`{variant}`" if one_baseline else f"`{variant}` minus `{baseline}`",
            *(cell(found[variant, baseline, game]) for game in games),
        ]
        for variant, baseline in pairs
    ]
    if one_baseline:
        of_games = [found[*pairs[0], game] for game in games]
        mean = f"mean of `{rows[0]['baseline']}`"
        lines = [
            [mean, *(known(row["baseline_mean"]) for row in of_games)],
            ["margin", *(known(row["margin"]) for row in of_games)],
            *lines,
        ]
    yield from markdown_table(["", *map(short, games)], lines)


def short(game: str) -> str:
    """Return `Breakout` for `MinAtar/Breakout-v1`."""
    return game.removeprefix("MinAtar/").removesuffix("-v1")


def cell(row: Mapping[str, str]) -> str:
    """Return the difference, and the verdict unless it is undecided."""
    shown = difference(*(float(row[name] or "nan") for name in ("difference", "low", "high")))
    claim = Verdict[row["verdict"].upper()]
    if claim not in WORDS:
        return shown
    p = row["equivalence_p_adjusted" if claim is Verdict.WITHIN_MARGIN else "p_adjusted"]
    return f"**{shown}**, {WORDS[claim]}, {is_p(float(p))}"


def is_p(p: float) -> str:
    """Return `p = 0.032` or `p < 0.001`."""
    text = p_value(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def known(number: str) -> str:
    """Return a number of a CSV file, or a dash where there is none."""
    value = float(number or "nan")
    return MISSING if math.isnan(value) else compact(value)


def counts(rows: Sequence[Mapping[str, str]]) -> str:
    """Return how many comparisons and runs a table rests on."""
    sides = {(row["env"], row["variant"]): (row["runs"], row["runs_asked"]) for row in rows}
    for row in rows:
        sides[row["env"], row["baseline"]] = row["baseline_runs"], row["baseline_runs_asked"]
    finished, asked = (sum(map(int, column)) for column in zip(*sides.values(), strict=True))
    return f"{counted(len(rows), 'comparison')}, {finished} of {asked} runs finished"


if __name__ == "__main__":
    main()
