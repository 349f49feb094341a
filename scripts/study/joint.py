"""Print what holds of several studies when their comparisons are counted as one family.

    python scripts/study/joint.py scripts/results/study_a scripts/results/study_e

A row for each comparison of their reports: p among the comparisons of its own study and among all
of them, by Holm's method, and in how many pairs of runs, one of each variant, the first ends
higher. p is that of the final return.
"""

import argparse
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tables import read, short

from wnrl.report.number_format import p_value
from wnrl.stats.difference import welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.train.foreign_text import markdown_table


class Compared(NamedTuple):
    """Two variants in one game of a study."""

    study: str
    game: str
    variant: str
    baseline: str
    own: Sequence[float]  # final returns of the variant's runs
    other: Sequence[float]  # and of the baseline's

    @property
    def p(self) -> float:
        """Return the p of "no difference", by Welch's test, not adjusted."""
        return float(welch(group(self.own), group(self.other)).safe_p())

    @property
    def higher(self) -> int:
        """Return the number of pairs of runs in which the variant ends higher."""
        return sum(own > other for own, other in itertools.product(self.own, self.other))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", type=Path, nargs="+", help="folder of a report's CSV files")
    for line in table([compared(folder) for folder in parser.parse_args().study]):
        print(line)


def compared(folder: Path) -> list[Compared]:
    """Return the comparisons of a study, with its finished runs."""
    finals: dict[tuple[str, str], list[float]] = {}
    with (folder / "scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["done"] == "yes":
                finals.setdefault((row["env"], row["norm"]), []).append(float(row["final_return"]))
    return [
        Compared(
            folder.name,
            row["env"],
            row["variant"],
            row["baseline"],
            own=finals[row["env"], row["variant"]],
            other=finals[row["env"], row["baseline"]],
        )
        for row in read(folder / "verdicts.csv")
    ]


def adjusted(studies: Sequence[Sequence[Compared]]) -> tuple[list[float], list[float]]:
    """Return p of each comparison, counting those of its study, and counting all."""
    alone = [p for study in studies for p in holm([each.p for each in study]).tolist()]
    together = holm([each.p for each in itertools.chain(*studies)]).tolist()
    return alone, together


def table(studies: Sequence[Sequence[Compared]]) -> Iterator[str]:
    """Yield the lines of the table."""
    every = list(itertools.chain(*studies))
    yield from markdown_table(
        ["study", "game", "pair", "p in its study", f"p among all {len(every)}", "runs higher"],
        (
            [
                each.study,
                short(each.game),
                f"`{each.variant}` minus `{each.baseline}`",
                p_value(alone),
                p_value(together),
                f"{each.higher} of {len(each.own) * len(each.other)}",
            ]
            for each, alone, together in zip(every, *adjusted(studies), strict=True)
        ),
    )


if __name__ == "__main__":
    main()
