"""The returns that are 0 and 1 on a game's scale: random play and a good player.

Atari's are in `wnrl.stats.human_scores`. MinAtar has no human scores; its good player is DQN. That
table, with its sources, is wnrl/stats/published/minatar_scores.csv.
"""

import csv
import functools
from importlib import resources
from typing import NamedTuple

from wnrl.stats.human_scores import has_human_score, human_scores


class Levels(NamedTuple):
    """Raw returns on one game."""

    random: float  # uniformly random actions
    good: float
    player: str  # whose return `good` is: human or DQN


def published_levels(env: str) -> Levels | None:
    """Return the levels of an environment by its canonical name; None if it has none."""
    if has_human_score(env):
        return Levels(*human_scores(env), player="human")
    return _minatar().get(env)


@functools.cache
def _minatar() -> dict[str, Levels]:
    text = (resources.files("wnrl.stats.published") / "minatar_scores.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["id"]: Levels(float(row["random"]), float(row["dqn"]), "DQN") for row in rows}
