"""Test the explanations of docs/answer.md, study D, on the judged runs of study A.

    python scripts/study/why.py runs/study/a

It prints two tables in Markdown: what the data say of each explanation in each game, and the last
readings of the instruments, averaged over seeds.
"""

import argparse
import importlib
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

from archive import instruments

from wnrl.report.number_format import compact, counted, difference, p_value
from wnrl.report.run_result import Result, find_runs, read_result
from wnrl.stats.difference import Difference, welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.stats.verdict import LEVEL

TAGS = ("angle", "v_growth", "gradient_clipped", "dormant_0.025", "srank")  # of the instruments
LEAST_RUNS = 2  # of a variant in a game
GAMES = 4  # of the protocol, in each of which every prediction is tested


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


class Tested(NamedTuple):
    """A prediction in one game."""

    prediction: Prediction
    game: str
    found: Difference
    rates: tuple[float, ...]  # learning rates of the variant and of the other, each once
    lost: int  # runs of both that did not finish, or have no score

    def says(self, p: float) -> str:
        """Return what the data say, with a p-value that is adjusted for all tests."""
        differs = p <= LEVEL and self.found.value != 0
        agrees = bool(self.found.value > 0) == (self.prediction.sign > 0)
        claim = ("consistent" if agrees else "contradicted") if differs else "undecided"
        claim = claim if len(set(self.rates)) == 1 else f"descriptive ({claim})"
        return f"{claim}, without {counted(self.lost, 'lost run')}" if self.lost else claim


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("study", type=Path, help="folder of study A")
    folder = parser.parse_args().study
    importlib.import_module("variants")  # adds the normalizations that the runs name
    results = [read_result(run) for run in find_runs(folder)]
    for line in (*explanations(tested(results)), "", *readings(results)):
        print(line)


def tested(results: Iterable[Result]) -> list[Tested]:
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
            groups = [
                group([run.final for run in of_side], [run.final_variance for run in of_side])
                for of_side in scored
            ]
            rates = tuple(
                rate
                for of_side in scored
                for rate in sorted({run.config.agent.learning_rate for run in of_side})
            )
            lost = sum(map(len, sides)) - sum(map(len, scored))
            found.append(Tested(prediction, game, welch(*groups), rates, lost))
    return found


def explanations(found: Sequence[Tested]) -> Iterator[str]:
    """Yield the lines of the table of explanations.

    p is adjusted by Holm's method for all tests of the protocol; one that cannot be done yet, or
    any more, counts as a test that shows nothing.
    """
    planned = max(len(PREDICTIONS) * GAMES, len(found))
    p_values = [float(each.found.safe_p()) for each in found]
    adjusted = holm(p_values + [1.0] * (planned - len(found)))[: len(found)]
    yield "| pair | game | difference | p | learning rates | explanation | predicts | data |"
    yield f"|{'---|' * 8}"
    for each, p in zip(found, adjusted, strict=True):
        prediction, interval = each.prediction, each.found.interval()
        cells = (
            f"`{prediction.variant}` and `{prediction.other}`",
            short(each.game),
            difference(interval.value, interval.low, interval.high),
            p_value(float(p)),
            ", ".join(f"{rate:g}" for rate in each.rates),
            prediction.explanation,
            "higher" if prediction.sign > 0 else "lower",
            each.says(float(p)),
        )
        yield f"| {' | '.join(cells)} |"


def readings(results: Iterable[Result]) -> Iterator[str]:
    """Yield the lines of the table of instruments: the last readings of the runs that are done.

    They are averaged over seeds; a reading of several layers is their mean.
    """
    means: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for result in filter(attrgetter("done"), results):
        key = (result.config.run.env, result.config.run.norm)
        means.setdefault(key, []).append(last_readings(result.folder))
    yield f"| game | variant | {' | '.join(f'`{tag}`' for tag in TAGS)} |"
    yield f"|{'---|' * (2 + len(TAGS))}"
    for (game, norm), of_seeds in means.items():
        cells = []
        for tag in TAGS:
            values = [x[tag] for x in of_seeds if tag in x]
            cells.append(compact(statistics.fmean(values)) if values else "")
        yield f"| {short(game)} | `{norm}` | {' | '.join(cells)} |"


def last_readings(run: Path) -> dict[str, float]:
    """Return the last reading of each of `TAGS`, averaged over layers."""
    rows = sorted(instruments(run), key=itemgetter(1))
    newest = {tag: value for tag, _, value in rows}
    found: dict[str, list[float]] = {}
    for tag, value in newest.items():
        _, name, *_ = tag.split("/")
        found.setdefault(name, []).append(value)
    return {tag: statistics.fmean(found[tag]) for tag in TAGS if tag in found}


def short(game: str) -> str:
    """Return `Breakout` for `MinAtar/Breakout-v1`."""
    return game.removeprefix("MinAtar/").removesuffix("-v1")


if __name__ == "__main__":
    main()
