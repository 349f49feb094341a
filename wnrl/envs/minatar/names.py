"""Names of MinAtar's games and of the suite. The package MinAtar is not needed here."""

import re
from typing import NamedTuple

SUITE = "minatar"  # all games, with their minimal actions
PREFIX = "MinAtar/"
GAMES = {  # the name in an id: the package's module
    "Asterix": "asterix",
    "Breakout": "breakout",
    "Freeway": "freeway",
    "Seaquest": "seaquest",
    "SpaceInvaders": "space_invaders",
}
KEYWORDS = ("sticky_action_prob", "difficulty_ramping")  # as the package calls them
_SPELLING = re.compile(r"minatar/(?P<game>\w+?)(?:-v(?P<version>[01]))?", re.IGNORECASE)
_BY_PLAIN_NAME = {name.lower(): name for name in GAMES}


class MinAtarGame(NamedTuple):
    """One of the ten ids that the package registers with Gymnasium."""

    game: str  # a key of `GAMES`
    version: int  # 0: all six actions; 1: the actions that have an effect in this game

    @property
    def name(self) -> str:
        """The id: `MinAtar/Breakout-v1`."""
        return f"{PREFIX}{self.game}-v{self.version}"


def minatar_game(name: str) -> MinAtarGame | None:
    """Return the game that a name means, or None if it names none.

    Args:
        name: `MinAtar/SpaceInvaders-v1`, `minatar/space_invaders`; case and `_` do not matter, and
            without a version it is 1.
    """
    spelling = _SPELLING.fullmatch(name)
    game = _BY_PLAIN_NAME.get(spelling["game"].lower().replace("_", "")) if spelling else None
    if spelling is None or game is None:
        return None
    return MinAtarGame(game, int(spelling["version"] or 1))


def minatar_names() -> tuple[str, ...]:
    """Return all ids, version 1 first."""
    return tuple(MinAtarGame(game, version).name for version in (1, 0) for game in GAMES)
