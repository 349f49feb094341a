"""Published scores to compare with: same game, same protocol, about the same number of frames.

The table, with its sources, is wnrl/stats/atari_reference_scores.csv. No score is better than a
misleading one: the protocol alone moves scores more than any normalization does.
"""

import csv
import functools
from importlib import resources
from typing import NamedTuple

from wnrl.envs.games import friendly_name, rom_id

SAME_BUDGET = 1.25  # budgets are comparable if neither is more than this many times the other


class Reference(NamedTuple):
    """A published score."""

    algorithm: str  # the source's name for it
    score: float  # raw mean return
    frames: int  # emulator frames of training
    runs: int | None  # seeds
    source: str  # paper or repository
    protocol: str  # the source's description


def reference_scores(env: str, *, agent: str, protocol: str, frames: int) -> tuple[Reference, ...]:
    """Return the published scores of a game that a run of this length can be compared with.

    Args:
        env: an environment; only ALE games have published scores here.
        agent: `dqn`, `pqn`, `a2c` or `ppo`; other agents have none.
        protocol: `classic` or `sticky`, as in `wnrl.envs.protocols`.
        frames: emulator frames of training, 4 per agent step. A published score qualifies if its
            number of frames is within a factor of `SAME_BUDGET`.

    Returns:
        The scores, fewest frames first.

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
    """Return all scores, each with its (agent, protocol, game)."""
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
