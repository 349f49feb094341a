"""Human-normalized scores of the 57 Atari games, and the Atari-5 estimate of their median.

The table, with its source, is wnrl/stats/atari_human_normalized.csv. Its scores were measured with
up to 30 no-op actions and without sticky actions, as in the DQN paper. Under another protocol
normalized scores still compare runs with each other, but only roughly with a human.

Dimension key: M games, n_m seeds of game m.
"""

import csv
import functools
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl._settings import UsageError, nearest
from wnrl.stats.scores import Array, Scores, checked_scores

# Weights of log10(1 + percent), without an intercept: Aitchison et al. 2023 (2210.02019). A refit
# of their data (github.com/maitchison/Atari-5, dataset.csv) gives these digits.
ATARI_5_WEIGHTS = {
    "BattleZone": 0.38197512,
    "DoubleDunk": 0.06790995,
    "NameThisGame": 0.31080415,
    "Phoenix": 0.12412619,
    "Qbert": 0.08048518,
}


class HumanScores(NamedTuple):
    """Published raw returns on one game."""

    random: float  # uniformly random actions
    human: float  # a professional game tester


def has_human_score(game: str) -> bool:
    """Return whether the table has a game, by friendly name or ROM id, ignoring case and `_`."""
    return _plain(game) in _table()


def human_scores(game: str) -> HumanScores:
    """Return the table's row of a game.

    Args:
        game: `SpaceInvaders` or `space_invaders`; case and `_` do not matter.

    Raises:
        UsageError: the table does not have it.
    """
    try:
        return _table()[_plain(game)]
    except KeyError:
        hint = nearest(game, _names())
        raise UsageError(
            f"{game!r} is not one of the {len(_names())} games with a human score{hint}"
        ) from None


def human_normalized(game: str, raw_return: npt.ArrayLike) -> Array:
    """Return (raw - random) / (human - random): 0 is random play, 1 is a human's score.

    Args:
        game: as in `human_scores`.
        raw_return: raw scores of any shape.

    Returns:
        The scores, in the same shape.

    Raises:
        UsageError: the table does not have the game.

    Source: Mnih et al. 2015, as a fraction instead of a percentage.
    """
    random, human = human_scores(game)
    return np.asarray((np.asarray(raw_return, dtype=np.float64) - random) / (human - random))


def atari_5(scores: Scores) -> Array:
    """Estimate the median over 57 games from five of them: M of (..., n_m) -> (...).

        p = 10^(sum_m c_m log10(1 + max(0, 100 x_m))) - 1        result p / 100

    with x_m the mean human-normalized score of game m and c_m its weight. The authors report a
    relative error of 10.4% on published algorithms; they did not fit algorithms with a median
    below 40% of a human's score.

    Args:
        scores: human-normalized scores of the games of `ATARI_5_WEIGHTS`, in that order.

    Returns:
        The estimate as a fraction of a human's score (1, not 100).

    Raises:
        ValueError: if scores are not those of five games.

    Source: Aitchison et al. 2023 (2210.02019).
    """
    games = checked_scores(scores)
    if len(games) != len(ATARI_5_WEIGHTS):
        raise ValueError(
            f"scores must be those of {', '.join(ATARI_5_WEIGHTS)}, not of {len(games)} games"
        )
    percent = 100 * np.stack([game.mean(axis=-1) for game in games])  # (5, ...)
    logs = np.log10(1 + np.maximum(0, percent))
    exponent = np.tensordot(list(ATARI_5_WEIGHTS.values()), logs, axes=1)  # (5), (5, ...) -> (...)
    return np.asarray((10**exponent - 1) / 100)


def _plain(game: str) -> str:
    return game.lower().replace("_", "")


@functools.cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (resources.files("wnrl.stats") / "atari_human_normalized.csv").read_text()
    return tuple(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@functools.cache
def _table() -> dict[str, HumanScores]:
    return {
        _plain(row["game"]): HumanScores(float(row["random"]), float(row["human"]))
        for row in _rows()
    }


def _names() -> list[str]:
    return [row["game"] for row in _rows()]
