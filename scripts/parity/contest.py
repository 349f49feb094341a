"""Two programs that train the same agent: runs in a table, and verdicts on their difference."""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from wnrl.doctor.software import git_commit
from wnrl.stats.difference import welch
from wnrl.stats.intervals import group
from wnrl.stats.learning_curves import area_under_curve, final_window
from wnrl.stats.multiple_tests import holm
from wnrl.stats.verdict import verdict

WINDOW = 0.1  # share of the agent steps, at their end, whose episodes are the final return
MARGIN = (
    0.1  # smallest difference that matters, as a share of the peer's final return above the lowest
)

Episodes = tuple[np.ndarray, np.ndarray]  # agent steps (E,) at their ends, and returns (E,)


class Task(NamedTuple):
    """A run of one of the two programs."""

    agent: str
    env: str
    side: str  # "wnrl", or the peer
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


def train_missing(tasks: Iterable[Task], table: Path) -> list[dict[str, Any]]:
    """Train what the table lacks, a row after each run; return all its rows."""
    rows: list[dict[str, Any]] = []
    if table.exists():
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
    done = {tuple(row.values())[:5] for row in rows}
    for task in tasks:
        if task.key in done:
            continue
        row = row_of(task)
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        with table.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if not rows:
                writer.writeheader()
            writer.writerow(row)
        rows.append({name: str(value) for name, value in row.items()})
    return rows


def verdicts(rows: Sequence[Mapping[str, str]], peer: str) -> Iterator[str]:
    """Yield a line for each agent and environment, with verdicts that hold for all together.

    `peer` is the side that wnrl is compared with, and the margin a share of.
    """
    found = []
    for agent, env in dict.fromkeys((row["agent"], row["env"]) for row in rows):
        here = [row for row in rows if (row["agent"], row["env"]) == (agent, env)]
        scores = {
            side: [float(row["final_return"]) for row in here if row["side"] == side]
            for side in (peer, "wnrl")
        }
        if min(len(of) for of in scores.values()) < 2:
            continue
        lowest = min(float(row["lowest_return"]) for row in here)
        margin = MARGIN * (float(np.mean(scores[peer])) - lowest)
        found.append(
            (agent, env, scores, welch(group(scores["wnrl"]), group(scores[peer])), margin)
        )
    differ = holm([float(each[3].safe_p()) for each in found])
    within = holm([float(each[3].equivalence_p(each[4])) for each in found])
    for (agent, env, scores, difference, margin), p, p_within in zip(
        found, differ, within, strict=True
    ):
        interval = difference.interval()
        claim = verdict(interval.value, p, p_within).name.lower().replace("_", " ")
        means = {side: float(np.mean(of)) for side, of in scores.items()}
        yield (
            f"{agent} {env}: {peer} {means[peer]:.1f}, wnrl {means['wnrl']:.1f}, "
            f"difference {interval.value:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}], "
            f"margin {margin:.1f}: {claim} ({len(scores[peer])} and {len(scores['wnrl'])} seeds)"
        )
