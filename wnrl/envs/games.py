"""Names of the Arcade Learning Environment's games. No emulator is opened here.

A ROM id is the ALE's own `space_invaders`; the friendly name is `SpaceInvaders`.
"""

import functools
import re

from wnrl._settings import UsageError, nearest

# These ROMs hold only games for two or more players. When one is opened, the ALE ends the process
# inside C++, without a Python exception.
MULTIPLAYER_ROMS = frozenset({"combat", "joust", "maze_craze", "warlords"})

_RAM = re.compile(r"(?:ALE/)?(?P<game>\w+?)-ram(?:\w*-v\d+)?", re.IGNORECASE)  # Gym's old ids
# Versions 4 and 5 only: Blackjack is a game of the ALE, Blackjack-v1 is Gymnasium's.
_SPELLING = re.compile(
    r"(?:ALE/)?(?P<game>\w+?)(?:(?:NoFrameskip|Deterministic)-v4|-v[45])?", re.IGNORECASE
)


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


@functools.cache
def _roms() -> dict[str, str]:
    """Return ROM ids by plain name, including multiplayer games."""
    from ale_py import roms  # on first use: it loads the emulator's library and Gymnasium

    return {_plain(rom): rom for rom in sorted(roms.get_all_rom_ids())}


def playable_roms() -> tuple[str, ...]:
    """Return the ROM ids of all games that one agent can play, sorted."""
    return tuple(rom for rom in _roms().values() if rom not in MULTIPLAYER_ROMS)


def friendly_name(rom: str) -> str:
    """Return `SpaceInvaders` for `space_invaders`, as in the ALE's own Gymnasium ids."""
    return rom.title().replace("_", "")


def game_names() -> tuple[str, ...]:
    """Return the friendly names of all playable games."""
    return tuple(friendly_name(rom) for rom in playable_roms())


def rom_id(name: str) -> str | None:
    """Return the ROM id that a name means, or None if it names no game.

    Args:
        name: `Breakout`, `breakout`, `ALE/Breakout-v5`, `BreakoutNoFrameskip-v4` or `Breakout-v4`;
            case and `_` do not matter.

    Raises:
        UsageError: a game for several players, which the ALE cannot play with one agent.
    """
    spelling = _SPELLING.fullmatch(name)
    rom = _roms().get(_plain(spelling["game"])) if spelling else None
    if rom in MULTIPLAYER_ROMS:
        raise UsageError(
            f"{name!r} is a game for several players, which one agent cannot play; choose a game "
            f"other than {', '.join(friendly_name(r) for r in sorted(MULTIPLAYER_ROMS))}"
        )
    return rom


def refuse_memory(name: str) -> None:
    """Raise UsageError for the id of a game whose observations are the console's memory."""
    spelling = _RAM.fullmatch(name)
    rom = _roms().get(_plain(spelling["game"])) if spelling else None
    if rom is not None:
        raise UsageError(
            f"{name!r} observes the console's memory (RAM), and wnrl trains on the screen alone; "
            f"name the game, {friendly_name(rom)}"
        )


def require_rom_id(name: str) -> str:
    """Return the ROM id that a name means.

    Raises:
        UsageError: no such game (with the nearest names), one for several players, or one's memory.
    """
    refuse_memory(name)
    rom = rom_id(name)
    if rom is None:
        hint = nearest(name.removeprefix("ALE/"), game_names())
        raise UsageError(f"{name!r} is not one of the ALE's {len(game_names())} games{hint}")
    return rom
