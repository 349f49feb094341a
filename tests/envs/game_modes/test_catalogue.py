"""The modes that games have, and what is said about those that they do not have."""

import subprocess
import sys

import pytest

from wnrl._settings import SettingError
from wnrl.envs.game_modes.catalogue import check_modes, game_facts, other_modes


@pytest.mark.slow  # only the first emulator of a process greets
def test_looking_at_a_game_prints_nothing() -> None:
    code = "from wnrl.envs.game_modes.catalogue import game_facts; game_facts('pong')"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_games_modes_are_the_ales() -> None:
    facts = game_facts("breakout")
    assert facts.modes == tuple(range(0, 48, 4))
    assert facts.difficulties == (0, 1)
    assert (len(facts.own_actions), len(facts.all_actions)) == (4, 18)
    assert facts.screen == (210, 160)


@pytest.mark.parametrize(
    ("game", "mode", "difficulty", "says"),
    [
        ("Pong", 2, -1, "^mode 2 is unknown to Pong; it has 0, 1$"),
        ("pong", -1, 4, "^difficulty 4 is unknown to Pong; it has 0 to 3$"),
        ("ALE/Breakout-v5", 5, 0, "^mode 5 is unknown to Breakout; it has 0, 4, 8, 12"),
    ],
)
def test_an_unknown_mode_is_answered_with_all_that_there_are(
    game: str, mode: int, difficulty: int, says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        check_modes(game, mode, difficulty)


def test_a_games_default_is_no_other_mode() -> None:
    assert other_modes("pong", 0, 0) == {"mode": -1, "difficulty": -1}
    assert other_modes("pong", 1, 0) == {"mode": 1, "difficulty": -1}
    assert other_modes("pong", -1, 3) == {"mode": -1, "difficulty": 3}
    assert other_modes("backgammon", 0, 3) == {"mode": -1, "difficulty": 3}  # the ALE plays 0
