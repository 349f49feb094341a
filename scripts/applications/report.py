"""The whole way of a study: tune, train, judge, and write its tables and picture."""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from pictures import curve_rows, draw
from study import Study, judged, run_rows, tuned, tuning_rows, write_csv
from verdicts import Measure, verdict_rows

from wnrl.report.number_format import compact, p_value


def report(
    study: Study,
    given: argparse.Namespace,
    *,
    steps: int,
    title: str,
    held_out: Sequence[Measure],
) -> None:
    """Run a study as its flags say, print the verdicts, and write everything to `--out`."""
    study = replace(study, seeds=given.seeds, tuning_seeds=given.tune_seeds)
    rates = tuned(study, given.work, given.jobs)
    runs = judged(study, given.work, rates, given.jobs)
    verdicts = list(verdict_rows(runs, held_out))
    for row in verdicts:
        print(
            f"{row['measure']}: {row['variant']} against {row['compared_with']}: "
            f"{row['verdict']}, {row['unit']} {compact(row['value'])} "
            f"[{compact(row['low'])}, {compact(row['high'])}], p {p_value(row['p_adjusted'])}"
        )
    if given.out is None:
        return
    given.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "tuning": tuning_rows(study, given.work, rates),
        "runs": run_rows(runs, rates, steps),
        "curves": curve_rows(runs, steps),
        "verdicts": verdicts,
    }
    for name, rows in tables.items():
        write_csv(given.out / f"{study.name}_{name}.csv", rows)
    draw(given.out / f"{study.name}.png", runs, steps, title)
