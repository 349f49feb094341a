"""Print the verdicts of a study as a table in Markdown.

    python scripts/study/tables.py scripts/results/study_a/verdicts.csv

The rows are those of the primary measure, final return.
"""

import argparse
import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from why import short

from wnrl.report.number_format import compact, difference, p_value
from wnrl.report.verdicts.sentences import VERDICT_WORDS
from wnrl.stats.verdict import Verdict


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("verdicts", type=Path, help="the verdicts.csv of a report")
    with parser.parse_args().verdicts.open(newline="") as file:
        for line in table(csv.DictReader(file)):
            print(line)


def table(rows: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| game | variant | mean | baseline's | difference | margin | p | verdict | runs |"
    yield f"|{'---|' * 9}"
    for row in rows:
        if row["measure"] != "final_return":
            continue
        ends = (float(row[name] or "nan") for name in ("difference", "low", "high"))
        cells = (
            short(row["env"]),
            f"`{row['variant']}`",
            *(compact(float(row[name])) for name in ("mean", "baseline_mean")),
            difference(*ends),
            compact(float(row["margin"])) if row["margin"] else "none",
            p_value(float(row["p_adjusted"] or "nan")),
            VERDICT_WORDS[Verdict[row["verdict"].upper()]],
            f"{row['runs']}, {row['baseline_runs']}",
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
