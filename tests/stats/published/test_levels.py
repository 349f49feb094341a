"""Whose returns are 0 and 1 on a game's scale."""

import pytest

from wnrl.envs.minatar.names import minatar_names
from wnrl.stats.human_scores import human_scores
from wnrl.stats.published.levels import published_levels


def test_ataris_levels_are_random_play_and_a_human() -> None:
    levels = published_levels("Breakout")
    assert levels is not None
    assert levels == (*human_scores("Breakout"), "human")


@pytest.mark.parametrize("name", minatar_names())
def test_each_of_minatars_games_has_levels_of_its_own(name: str) -> None:
    levels = published_levels(name)
    assert levels is not None
    assert levels.player == "DQN"
    assert 0 <= levels.random < levels.good / 5


def test_both_versions_share_the_published_score_but_not_random_play() -> None:
    first, minimal = (
        published_levels("MinAtar/Breakout-v0"),
        published_levels("MinAtar/Breakout-v1"),
    )
    assert first is not None
    assert minimal is not None
    assert first.good == minimal.good == 10
    # The package's README prints 0.5 for random play of Breakout with all six actions.
    assert first.random == pytest.approx(0.5, abs=0.05)
    assert minimal.random < first.random  # fewer no-ops: the paddle moves away from its start


def test_other_environments_have_none() -> None:
    assert published_levels("CartPole-v1") is None
    assert published_levels("MinAtar/Breakout-v2") is None
