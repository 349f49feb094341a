"""Print what holds of several studies when their comparisons are counted as one family.

    python scripts/study/joint.py scripts/results/study_a scripts/results/study_e

A row for each comparison with `none`: p among the comparisons of its own study and among all of
them, by Holm's method, and in how many pairs of runs, one of the variant and one of `none`, the
variant ends higher. The p are those of the final return.
"""

import argparse
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tables import short

from wnrl.report.number_format import p_value
from wnrl.stats.difference import welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.train.foreign_text import markdown_table

BASELINE = "none"


class Compared(NamedTuple):
    """A variant against the baseline in one game of a study."""

    study: str
    game: str
    variant: str
    own: Sequence[float]  # final returns of its runs
    baseline: Sequence[float]

    @property
    def p(self) -> float:
        """Return the p of "no difference", by Welch's test, not adjusted."""
        return float(welch(group(self.own), group(self.baseline)).safe_p())

    @property
    def higher(self) -> str:
        """Return `98 of 100`: the pairs of runs in which the variant ends higher."""
        pairs = list(itertools.product(self.own, self.baseline))
        return f"{sum(own > other for own, other in pairs)} of {len(pairs)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", type=Path, nargs="+", help="folder of a study's scores.csv")
    for line in table([compared(folder) for folder in parser.parse_args().study]):
        print(line)


def compared(folder: Path) -> list[Compared]:
    """Return the comparisons of a study, from the finished runs of its `scores.csv`."""
    finals: dict[tuple[str, str], list[float]] = {}
    with (folder / "scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["done"] == "yes":
                finals.setdefault((row["env"], row["norm"]), []).append(float(row["final_return"]))
    return [
        Compared(folder.name, game, variant, own, finals[game, BASELINE])
        for (game, variant), own in finals.items()
        if variant != BASELINE
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
        ["study", "game", "variant", "p in its study", f"p among all {len(every)}", "runs higher"],
        (
            [
                each.study,
                short(each.game),
                f"`{each.variant}`",
                p_value(alone),
                p_value(together),
                each.higher,
            ]
            for each, alone, together in zip(every, *adjusted(studies), strict=True)
        ),
    )


if __name__ == "__main__":
    main()
