"""Test the explanations of docs/answer.md, study D, on the judged runs of study A.

    python scripts/study/why.py runs/study/a

It prints two tables in Markdown: what the data say of each explanation in each game, and the last
readings of the instruments, averaged over seeds.
"""

import argparse
import csv
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from archive import INSTRUMENTS, instruments

from wnrl.report.number_format import compact, counted, difference, p_value
from wnrl.report.run_result import Result, find_runs, read_result
from wnrl.stats.difference import Difference, welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.stats.verdict import LEVEL

TAGS = ("angle", "v_growth", "gradient_clipped", "dormant_0.025", "srank")  # of the instruments
LEAST_RUNS = 2  # of a variant in a game


class Prediction(NamedTuple):
    """Two variants that differ in one part, and what an explanation predicts for the first."""

    variant: str
    other: str
    explanation: str
    sign: int  # 1: a higher final return; -1: a lower one


PREDICTIONS = (
    Prediction("none-data", "none", "it is the initialization", 1),
    Prediction("weight", "none", "it is the separation", 1),
    Prediction("weight-data", "none-data", "it is the separation", 1),
    Prediction("weight-fixed-v", "weight", "a falling effective learning rate helps", -1),
    Prediction("projection", "batch", "an effective rate that does not fall helps", 1),
    Prediction("hyperball", "none", "an effective rate that does not fall helps", 1),
)


class Test(NamedTuple):
    """A prediction in one game."""

    prediction: Prediction
    game: str
    found: Difference
    rates: tuple[float, float]  # learning rates of the variant and of the other
    lost: int  # runs of both that did not finish, or have no score

    def says(self, p: float) -> str:
        """Return what the data say, with a p-value that is adjusted for all tests."""
        differs = p <= LEVEL and self.found.value != 0
        agrees = bool(self.found.value > 0) == (self.prediction.sign > 0)
        claim = ("consistent" if agrees else "contradicted") if differs else "undecided"
        if self.lost:
            return f"{claim}, without {counted(self.lost, 'lost run')}"
        return claim if len(set(self.rates)) == 1 else f"descriptive ({claim})"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", type=Path, help="folder of study A")
    results = [read_result(folder) for folder in find_runs(parser.parse_args().study)]
    for line in (*explanations(tests(results)), "", *readings(results)):
        print(line)


def tests(results: Iterable[Result]) -> list[Test]:
    """Return the tests for which there are runs of both variants, by prediction and game."""
    runs: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        runs.setdefault((result.config.run.env, result.config.run.norm), []).append(result)
    games = list(dict.fromkeys(env for env, _ in runs))
    found = []
    for prediction in PREDICTIONS:
        for game in games:
            sides = [runs.get((game, name), []) for name in prediction[:2]]
            scored = [[run for run in of_side if run.done and run.episodes] for of_side in sides]
            if min(map(len, scored)) < LEAST_RUNS:
                continue
            variances = [[run.final_variance for run in of_side] for of_side in scored]
            finals = [[run.final for run in of_side] for of_side in scored]
            here = welch(*(group(x, v) for x, v in zip(finals, variances, strict=True)))
            first, second = (of_side[0].config.agent.learning_rate for of_side in scored)
            lost = sum(map(len, sides)) - sum(map(len, scored))
            found.append(Test(prediction, game, here, (first, second), lost))
    return found


def explanations(found: Sequence[Test]) -> Iterator[str]:
    """Yield the lines of the table of explanations; p is adjusted for all of its rows (Holm)."""
    yield "| pair | game | difference | p | learning rates | explanation | predicts | data |"
    yield f"|{'---|' * 8}"
    for test, p in zip(found, holm([float(test.found.safe_p()) for test in found]), strict=True):
        prediction, interval = test.prediction, test.found.interval()
        cells = (
            f"`{prediction.variant}` and `{prediction.other}`",
            _short(test.game),
            difference(interval.value, interval.low, interval.high),
            p_value(float(p)),
            ", ".join(f"{rate:g}" for rate in test.rates),
            prediction.explanation,
            "higher" if prediction.sign > 0 else "lower",
            test.says(float(p)),
        )
        yield f"| {' | '.join(cells)} |"


def readings(results: Iterable[Result]) -> Iterator[str]:
    """Yield the lines of the table of instruments: the last readings, averaged over seeds.

    A reading of several layers is their mean.
    """
    means: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for result in results:
        key = (result.config.run.env, result.config.run.norm)
        means.setdefault(key, []).append(last_readings(result.folder))
    yield f"| game | variant | {' | '.join(f'`{tag}`' for tag in TAGS)} |"
    yield f"|{'---|' * (2 + len(TAGS))}"
    for (game, norm), of_seeds in means.items():
        cells = []
        for tag in TAGS:
            values = [x[tag] for x in of_seeds if tag in x]
            cells.append(compact(statistics.fmean(values)) if values else "")
        yield f"| {_short(game)} | `{norm}` | {' | '.join(cells)} |"


def last_readings(run: Path) -> dict[str, float]:
    """Return the last reading of each of `TAGS`, from the archived table or TensorBoard's files."""
    if (run / INSTRUMENTS).exists():
        with (run / INSTRUMENTS).open(newline="") as file:
            rows = [
                (x["tag"], int(x["agent_step"]), float(x["value"])) for x in csv.DictReader(file)
            ]
    else:
        rows = instruments(run)
    newest = {tag: value for tag, _, value in sorted(rows, key=lambda row: row[1])}
    found: dict[str, list[float]] = {}
    for tag, value in newest.items():
        _, name, *_ = tag.split("/")
        found.setdefault(name, []).append(value)
    return {tag: statistics.fmean(found[tag]) for tag in TAGS if tag in found}


def _short(game: str) -> str:
    return game.removeprefix("MinAtar/").removesuffix("-v1")


if __name__ == "__main__":
    main()
