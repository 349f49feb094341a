"""The modes and difficulties that each game of the ALE has (Machado et al. 2018, section 6).

A mode is a version of a game, chosen with the console's SELECT switch; a difficulty is a position
of its other switches. A game's first mode and difficulty 0 are its default, even where difficulty 0
is not one of those that can be chosen (Backgammon).
"""

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from wnrl._settings import SettingError
from wnrl.envs.games import friendly_name, require_rom_id
from wnrl.envs.protocols import GAMES_OWN

if TYPE_CHECKING:
    from ale_py import Action, ALEInterface


class GameFacts(NamedTuple):
    """What the ALE knows about a game."""

    modes: tuple[int, ...]
    difficulties: tuple[int, ...]
    own_actions: "tuple[Action, ...]"
    all_actions: "tuple[Action, ...]"
    screen: tuple[int, int]  # height and width, in pixels


def new_emulator() -> "ALEInterface":
    """Return an emulator without a game, which prints nothing."""
    from ale_py import ALEInterface, LoggerMode  # on first use: it loads the emulator's library

    ALEInterface.setLoggerMode(LoggerMode.Error)  # before the first one, which greets
    return ALEInterface()


def load_game(emulator: "ALEInterface", rom: str) -> None:
    """Load a game into an emulator, which takes 0.1 s of CPU time."""
    from ale_py import roms

    path = roms.get_rom_path(rom)
    assert path is not None, "a ROM id of wnrl.envs.games has a file"
    emulator.loadROM(path)


@functools.cache
def game_facts(rom: str) -> GameFacts:
    """Return what the ALE knows about a game, by its ROM id; an emulator is opened for it once."""
    emulator = new_emulator()
    load_game(emulator, rom)
    height, width = emulator.getScreenDims()
    return GameFacts(
        tuple(emulator.getAvailableModes()),
        tuple(emulator.getAvailableDifficulties()),
        tuple(emulator.getMinimalActionSet()),
        tuple(emulator.getLegalActionSet()),
        (height, width),
    )


def check_modes(game: str, mode: int, difficulty: int) -> None:
    """Refuse a mode or a difficulty that a game does not have.

    Args:
        game: a name that `wnrl.envs.games.require_rom_id` knows.
        mode: a number, or `GAMES_OWN`.
        difficulty: likewise.

    Raises:
        SettingError: the first one.
    """
    if mode == difficulty == GAMES_OWN:
        return
    rom = require_rom_id(game)
    facts = game_facts(rom)
    for name, value, allowed in (
        ("mode", mode, facts.modes),
        ("difficulty", difficulty, facts.difficulties),
    ):
        if value not in (GAMES_OWN, *allowed):
            raise SettingError(
                name, f"{value} is unknown to {friendly_name(rom)}; it has {_ranges(allowed)}"
            )


def other_modes(rom: str, mode: int, difficulty: int) -> dict[str, int]:
    """Return mode and difficulty as fields of a protocol; a game's default becomes `GAMES_OWN`."""
    chosen = {"mode": mode, "difficulty": difficulty}
    if mode == difficulty == GAMES_OWN:
        return chosen
    facts = game_facts(rom)
    default = {"mode": facts.modes[0], "difficulty": 0}
    return {name: GAMES_OWN if x == default[name] else x for name, x in chosen.items()}


def _ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers as text, `0, 4 to 7`."""
    texts = []
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        several = f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run))
        texts.append(several)
    return ", ".join(texts)
