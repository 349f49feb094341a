"""Print what an instrument read in the runs of a study, by variant, layer and game.

    python scripts/study/instrument.py runs/study/a --tag angle --relative-to none
    python scripts/study/instrument.py runs/study/a --tag v_norm --reading first

Readings are averaged over the seeds whose runs have ended. They have no intervals.
"""

import argparse
import importlib
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from archive import instruments
from tables import short

from wnrl.report.number_format import MISSING, compact
from wnrl.report.run_result import Result, find_runs, read_result
from wnrl.train.foreign_text import markdown_table

READINGS: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
}
Cells = Mapping[tuple[str, str, str], float]  # by variant, layer and game


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", type=Path, help="folder of a study, its archive unpacked")
    parser.add_argument("--tag", default="angle", help="instrument, such as angle or v_norm")
    parser.add_argument(
        "--reading", choices=READINGS, default="mean", help="number taken from each run's readings"
    )
    parser.add_argument(
        "--relative-to", metavar="VARIANT", help="variant whose readings the others are divided by"
    )
    arguments = parser.parse_args()
    importlib.import_module("variants")  # adds the normalizations that the runs name
    ended = [run for run in map(read_result, find_runs(arguments.study)) if run.done]
    cells = averaged(ended, arguments.tag, arguments.reading)
    if not cells:
        parser.error(f"no run that has ended has readings of {arguments.tag!r}")
    variants = sorted({variant for variant, _, _ in cells})
    if arguments.relative_to and arguments.relative_to not in variants:
        parser.error(f"no readings of {arguments.relative_to!r}; there are: {', '.join(variants)}")
    if arguments.relative_to:
        cells = relative(cells, arguments.relative_to)
    for line in table(cells):
        print(line)


def averaged(runs: Iterable[Result], tag: str, reading: str = "mean") -> Cells:
    """Return one number for each variant, layer and game.

    Args:
        runs: those to average.
        tag: the instrument, without `norm/` and the layer.
        reading: which of a run's readings to take, one of `READINGS`.
    """
    of_seeds: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for layer, values in by_layer(instruments(run.folder), tag).items():
            key = run.config.run.norm, layer, run.config.run.env
            of_seeds.setdefault(key, []).append(READINGS[reading](values))
    return {key: statistics.fmean(values) for key, values in of_seeds.items()}


def by_layer(rows: Iterable[tuple[str, int, float]], tag: str) -> dict[str, list[float]]:
    """Return a run's readings of a tag in the order of the steps, by layer."""
    found: dict[str, list[float]] = {}
    for name, _, value in sorted(rows, key=lambda row: row[1]):
        _, this, *layer = name.split("/")
        if this == tag:
            found.setdefault("/".join(layer).removeprefix("torso.layers."), []).append(value)
    return found


def relative(cells: Cells, baseline: str) -> Cells:
    """Return each number divided by the baseline's, without the baseline and what it lacks."""
    return {
        (variant, layer, game): value / cells[baseline, layer, game]
        for (variant, layer, game), value in cells.items()
        if variant != baseline and cells.get((baseline, layer, game))
    }


def table(cells: Cells) -> Iterator[str]:
    """Yield the lines of the table: a row for each variant and layer, a column for each game."""
    games = sorted({game for _, _, game in cells})
    rows = sorted({(variant, layer) for variant, layer, _ in cells})
    yield from markdown_table(
        ["variant", "layer", *map(short, games)],
        (
            [f"`{variant}`", layer, *(_cell(cells.get((variant, layer, game))) for game in games)]
            for variant, layer in rows
        ),
    )


def _cell(value: float | None) -> str:
    """Return a number, or a dash where there is none."""
    return MISSING if value is None else compact(value)


if __name__ == "__main__":
    main()
