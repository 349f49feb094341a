"""Test the explanations of docs/study_protocol.md, study D, on the judged runs of study A.

    python scripts/study/why.py runs/study/a

It prints two tables in Markdown: what the data say of each explanation in each game, where they
decide, and the last readings of the instruments, averaged over seeds.
"""

import argparse
import importlib
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from archive import instruments
from instrument import by_layer
from tables import is_p, short

from wnrl.report.number_format import MISSING, compact, counted, difference
from wnrl.report.run_result import Result, find_runs, read_result
from wnrl.stats.difference import Difference, welch
from wnrl.stats.intervals import group
from wnrl.stats.multiple_tests import holm
from wnrl.stats.verdict import LEVEL
from wnrl.train.foreign_text import markdown_table

TAGS = ("angle", "v_growth", "gradient_clipped", "dormant_0.025", "srank")  # of the instruments
LEAST_RUNS = 2  # of a variant in a game
GAMES = 4  # of the protocol, in each of which every prediction is tested
UNDECIDED = "undecided"


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
        if p > LEVEL or self.found.value == 0:
            return UNDECIDED
        agrees = bool(self.found.value > 0) == (self.prediction.sign > 0)
        claim = "consistent" if agrees else "contradicted"
        return claim if len(set(self.rates)) == 1 else f"descriptive ({claim})"


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
    games = sorted({each.game for each in found})
    of_pair: dict[Prediction, dict[str, tuple[Tested, float]]] = {}
    for each, p in zip(found, adjusted, strict=True):
        of_pair.setdefault(each.prediction, {})[each.game] = each, float(p)
    yield from markdown_table(
        ["pair", "explanation", "predicts for the first", "learning rates", *map(short, games)],
        (
            [
                f"`{prediction.variant}` and `{prediction.other}`",
                prediction.explanation,
                "higher" if prediction.sign > 0 else "lower",
                _rates(each for each, _ in tests.values()),
                *(_cell(*tests[game]) if game in tests else MISSING for game in games),
            ]
            for prediction, tests in of_pair.items()
        ),
    )


def _rates(tests: Iterable[Tested]) -> str:
    """Return the learning rates of a pair, which are the same in all games of a study."""
    return "; ".join(dict.fromkeys(", ".join(f"{x:g}" for x in each.rates) for each in tests))


def _cell(tested: Tested, p: float) -> str:
    """Return the difference, what it says unless it is undecided, and how many runs are lost."""
    interval, says = tested.found.interval(), tested.says(p)
    shown = difference(interval.value, interval.low, interval.high)
    words = [shown] if says == UNDECIDED else [f"**{shown}**", says, is_p(p)]
    lost = [f"without {counted(tested.lost, 'lost run')}"] if tested.lost else []
    return ", ".join(words + lost)


def readings(results: Iterable[Result]) -> Iterator[str]:
    """Yield the lines of the table of instruments: the last readings of the runs that are done.

    They are averaged over layers and seeds; a cell has the lowest and the highest game.
    """
    of_seeds: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for result in filter(attrgetter("done"), results):
        key = (result.config.run.norm, result.config.run.env)
        of_seeds.setdefault(key, []).append(last_readings(result.folder))
    of_games: dict[str, list[Mapping[str, float]]] = {}
    for (norm, _), seeds in of_seeds.items():
        of_games.setdefault(norm, []).append(_means(seeds))
    yield from markdown_table(
        ["variant", *(f"`{tag}`" for tag in TAGS)],
        (
            [f"`{norm}`", *(_range([game[tag] for game in games if tag in game]) for tag in TAGS)]
            for norm, games in of_games.items()
        ),
    )


def _means(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each reading over the seeds that have it."""
    found: dict[str, list[float]] = {}
    for tag, value in (item for seed in seeds for item in seed.items()):
        found.setdefault(tag, []).append(value)
    return {tag: statistics.fmean(values) for tag, values in found.items()}


def _range(values: Sequence[float]) -> str:
    """Return `0.118 to 0.168`, one number where both are the same, nothing without any."""
    return " to ".join(dict.fromkeys(compact(end(values)) for end in (min, max) if values))


def last_readings(run: Path) -> dict[str, float]:
    """Return the last reading of each of `TAGS`, averaged over layers."""
    rows = instruments(run)
    found = {tag: by_layer(rows, tag).values() for tag in TAGS}
    return {
        tag: statistics.fmean(values[-1] for values in layers)
        for tag, layers in found.items()
        if layers
    }


if __name__ == "__main__":
    main()
