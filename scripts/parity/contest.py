"""Sides that train the same agent: runs in a table, and verdicts on their difference."""

import csv
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from wnrl.config import make_config
from wnrl.doctor.software import git_commit
from wnrl.report.number_format import compact, difference, p_value
from wnrl.report.run_result import read_episodes
from wnrl.stats.difference import Difference, welch
from wnrl.stats.intervals import group
from wnrl.stats.learning_curves import area_under_curve, final_window
from wnrl.stats.verdict import Judged, Verdict, judge
from wnrl.train.foreign_text import markdown_table
from wnrl.train.run import train
from wnrl.train.storage.csv_log import EPISODES

WINDOW = 0.1  # share of the agent steps, at their end, whose episodes are the final return
MARGIN = (
    0.1  # smallest difference that matters, as a share of the peer's final return above its lowest
)
COLUMNS = (
    "agent",
    "environment",
    "sides",
    "means",
    "difference",
    "margin",
    "p",
    "verdict",
    "seeds",
)  # of the table of verdicts

Episodes = tuple[np.ndarray, np.ndarray]  # agent steps (E,) at their ends, and returns (E,)


class Task(NamedTuple):
    """A run of one side: a program, or a normalization."""

    agent: str
    env: str
    side: str
    seed: int
    steps: int  # agent steps
    train: Callable[[], Episodes]

    @property
    def key(self) -> tuple[str, ...]:
        """Return what its row begins with."""
        return (self.agent, self.env, self.side, str(self.seed), str(self.steps))


def row_of(task: Task) -> dict[str, Any]:
    """Train with one thread and return a row of the table."""
    torch.set_num_threads(1)
    ends, returns = task.train()
    scores = {"total_steps": task.steps, "window_steps": WINDOW * task.steps}
    return {
        "agent": task.agent,
        "env": task.env,
        "side": task.side,
        "seed": task.seed,
        "agent_steps": task.steps,
        "episodes": len(returns),
        "final_return": round(final_window(ends, returns, **scores), 3),
        "area": round(area_under_curve(ends, returns, **scores), 3),
        "lowest_return": returns.min(),
        "commit": git_commit() or "",
    }


def train_wnrl(**settings: Any) -> Episodes:
    """Train with wnrl, without a normalization, evaluations and readings; return the episodes."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(
            norm="none",
            run_dir=f"{folder}/run",
            threads=1,
            eval_every_steps=0,
            instruments_every_updates=0,
            calibrate=False,
            **settings,
        )
        for _ in train(config):
            pass
        ends, returns, _, _ = read_episodes(Path(folder) / "run" / EPISODES)
    return ends, returns


def train_missing(tasks: Iterable[Task], path: Path) -> list[dict[str, Any]]:
    """Train what the table lacks, a row after each run; return all its rows."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    done = {tuple(row.values())[:5] for row in rows}
    for task in tasks:
        if task.key in done:
            continue
        row = row_of(task)
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if not rows:
                writer.writeheader()
            writer.writerow(row)
        rows.append({name: str(value) for name, value in row.items()})
    return rows


@dataclass(frozen=True)
class Pair:
    """The final returns of a peer and of another side, for one agent and environment."""

    agent: str
    env: str
    peer: str
    of_peer: Sequence[float]
    side: str
    own: Sequence[float]
    margin: float  # smallest difference that matters

    @cached_property
    def difference(self) -> Difference:
        """The side's mean minus the peer's."""
        return welch(group(self.own), group(self.of_peer))


class Contest(NamedTuple):
    """A pair, and what the runs show about it."""

    pair: Pair
    judged: Judged

    def row(self) -> tuple[str, ...]:
        """Return the cells of its row in a table, with the p-value of what its verdict rejects."""
        pair, interval = self.pair, self.pair.difference.interval()
        claim, p, equivalence_p = self.judged
        return (
            pair.agent,
            pair.env,
            f"{pair.side}, {pair.peer}",
            ", ".join(compact(float(np.mean(of_side))) for of_side in (pair.own, pair.of_peer)),
            difference(interval.value, interval.low, interval.high),
            compact(pair.margin),
            p_value(equivalence_p if claim is Verdict.WITHIN_MARGIN else p),
            claim.name.lower().replace("_", " "),
            f"{len(pair.own)}, {len(pair.of_peer)}",
        )


def verdicts(rows: Sequence[Mapping[str, str]], peer: str) -> list[Contest]:
    """Return a verdict for each agent, environment and side but the peer's.

    A side is compared with `peer`, and the margin is a share of the peer's return. The verdicts
    hold for all of them together.
    """
    found = []
    for agent, env in dict.fromkeys((row["agent"], row["env"]) for row in rows):
        sides: dict[str, list[Mapping[str, str]]] = {}
        for row in rows:
            if (row["agent"], row["env"]) == (agent, env):
                sides.setdefault(row["side"], []).append(row)
        theirs = sides.pop(peer, [])
        if len(theirs) < 2:
            continue
        of_peer = _returns(theirs)
        margin = MARGIN * (
            float(np.mean(of_peer)) - min(float(row["lowest_return"]) for row in theirs)
        )
        found += [
            Pair(agent, env, peer, of_peer, side, _returns(own), margin)
            for side, own in sides.items()
            if len(own) > 1
        ]
    judged = judge([(pair.difference, pair.margin) for pair in found])
    return list(itertools.starmap(Contest, zip(found, judged, strict=True)))


def table(found: Iterable[Contest]) -> Iterator[str]:
    """Yield the lines of a Markdown table with a row for each verdict."""
    yield from markdown_table(COLUMNS, map(Contest.row, found))


def _returns(rows: Iterable[Mapping[str, str]]) -> list[float]:
    return [float(row["final_return"]) for row in rows]
