import math
from importlib import resources

import numpy as np
import pytest

from wnrl._settings import UsageError
from wnrl.envs.games import game_names
from wnrl.stats.bootstrap import stratified_interval
from wnrl.stats.human_scores import (
    ATARI_5_WEIGHTS,
    atari_5,
    has_human_score,
    human_normalized,
    human_scores,
)

TABLE = resources.files("wnrl.stats") / "atari_human_normalized.csv"


def table_games() -> list[str]:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "game,random,human"
    return [line.split(",")[0] for line in lines[1:]]


def test_the_table_has_57_games_by_the_ales_names() -> None:
    games = table_games()
    assert len(games) == len(set(games)) == 57
    assert set(games) <= set(game_names())


def test_the_table_says_where_it_is_from() -> None:
    assert "# Source: dqn_zoo/atari_data.py" in TABLE.read_text()


@pytest.mark.parametrize("game", table_games())
def test_random_play_is_0_and_a_human_is_1(game: str) -> None:
    random, human = human_scores(game)
    assert random < human
    assert human_normalized(game, [random, human]).tolist() == [0, 1]


def test_normalized_by_hand() -> None:
    # (16.1 - 1.7) / (30.5 - 1.7); DoubleDunk's human is 2.2 points above random play
    assert human_normalized("Breakout", 16.1) == pytest.approx(0.5)
    np.testing.assert_allclose(human_normalized("DoubleDunk", [[-20.8], [-14.2]]), [[-1], [2]])
    assert human_scores("VideoPinball") == (16256.9, 17667.9)


@pytest.mark.parametrize("name", ["SpaceInvaders", "space_invaders", "spaceinvaders"])
def test_a_game_goes_by_friendly_name_and_rom_id(name: str) -> None:
    assert has_human_score(name)
    assert human_scores(name) == (148.0, 1668.7)


def test_a_game_without_a_human_score_is_named_with_its_neighbours() -> None:
    assert not has_human_score("CartPole-v1")
    with pytest.raises(UsageError, match=r"'Breakot' is not one of the 57 .*; did you mean Break"):
        human_normalized("Breakot", 1.0)


def test_atari_5_by_hand() -> None:
    # -500% counts as 0; 999% of NameThisGame is 3 decades, 99% of Phoenix 2
    x = [[-5.0], [0.0], [8.99, 10.99], [0.99], [0.0]]
    expected = (10 ** (3 * 0.31080415 + 2 * 0.12412619) - 1) / 100
    assert atari_5(x) == pytest.approx(expected, rel=1e-12)


def test_atari_5_names_its_games() -> None:
    assert set(ATARI_5_WEIGHTS) <= set(table_games())
    with pytest.raises(ValueError, match=r"BattleZone, DoubleDunk, .*, not of 4 games"):
        atari_5([[1.0]] * 4)


def test_atari_5_can_be_resampled() -> None:
    generator = np.random.default_rng(0)
    scores = [generator.normal(1, 0.1, 5) for _ in ATARI_5_WEIGHTS]
    estimate = stratified_interval(scores, atari_5, generator, resamples=200)
    assert estimate.low < estimate.value < estimate.high
    assert not math.isnan(estimate.low)
