"""Published scores to hold one's own against: same game, same protocol, same number of frames.

The table, with its sources, is wnrl/stats/atari_reference_scores.csv. No score at all is better
than one that misleads: the protocol alone moves scores by more than any normalization does.
"""

import csv
import functools
from importlib import resources
from typing import NamedTuple

from wnrl.envs.games import friendly_name, rom_id

SAME_BUDGET = 1.25  # at most this many times as many frames count as the same budget, or as few


class Reference(NamedTuple):
    """A published score."""

    algorithm: str  # as its source calls it
    score: float  # raw mean return
    frames: int  # emulator frames of training
    runs: int | None  # seeds
    source: str  # where it stands
    protocol: str  # in the source's words


def reference_scores(env: str, *, agent: str, protocol: str, frames: int) -> tuple[Reference, ...]:
    """The published scores of a game that a run of this length may be held against.

    Args:
        env: an environment; other than games of the ALE have none.
        agent: `dqn`, `pqn`, `a2c` or `ppo`; of the others there are none.
        protocol: `classic` or `sticky`, as in `wnrl.envs.protocols`.
        frames: emulator frames of training, 4 to an agent step. Scores count that were published
            for at most 1.25 times as many, and at least as many over 1.25.

    Returns:
        The scores, those of the fewest frames first.

    Raises:
        UsageError: env is a game for several players.
    """
    rom = rom_id(env)
    game = None if rom is None else friendly_name(rom)
    return tuple(
        reference
        for key, reference in _table()
        if key == (agent, protocol, game)
        and max(frames, reference.frames) <= SAME_BUDGET * min(frames, reference.frames)
    )


@functools.cache
def _table() -> tuple[tuple[tuple[str, str, str], Reference], ...]:
    """Each score, by agent, protocol and game."""
    text = (resources.files("wnrl.stats") / "atari_reference_scores.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        (
            (row["agent"], row["protocol"], row["game"]),
            Reference(
                algorithm=row["algorithm"],
                score=float(row["score"]),
                frames=int(row["frames"]),
                runs=int(row["runs"]) if row["runs"] else None,
                source=row["source"],
                protocol=row["conditions"],
            ),
        )
        for row in rows
    )
