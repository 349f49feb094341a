"""Print the verdicts of a study as a table in Markdown.

    python scripts/study/tables.py scripts/results/study_a/verdicts.csv

The rows are those of the primary measure, final return. p belongs to the verdict: it is that of "no
difference", and where no difference is larger than the margin, of "at least the margin".
"""

import argparse
import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from why import short

from wnrl.report.number_format import MISSING, compact, difference, p_value
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
    yield "| game | variant, compared with | means | difference | margin | p | verdict | runs |"
    yield f"|{'---|' * 8}"
    for row in rows:
        if row["measure"] != "final_return":
            continue
        means, ends = (
            [float(row[name] or "nan") for name in names]
            for names in (("mean", "baseline_mean"), ("difference", "low", "high"))
        )
        claim = Verdict[row["verdict"].upper()]
        p = row["equivalence_p_adjusted" if claim is Verdict.WITHIN_MARGIN else "p_adjusted"]
        cells = (
            short(row["env"]),
            f"`{row['variant']}`, `{row['baseline']}`",
            ", ".join(map(known, means)),
            difference(*ends),
            known(float(row["margin"] or "nan")),
            p_value(float(p or "nan")),
            VERDICT_WORDS[claim],
            f"{row['runs']} of {row['runs_asked']}, "
            f"{row['baseline_runs']} of {row['baseline_runs_asked']}",
        )
        yield f"| {' | '.join(cells)} |"


def known(value: float) -> str:
    """Return a number, or a dash for NaN."""
    return MISSING if math.isnan(value) else compact(value)


if __name__ == "__main__":
    main()
