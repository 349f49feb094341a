"""Positions of dots, mean and interval by hand; the scale is 5 to 163 pixels."""

import re

from hand_comparisons import game, variant

from wnrl.report.comparison import Game
from wnrl.report.seed_dots import Scale, scale_of, seed_dots


def dots(of: Game, place: int) -> str:
    scale = scale_of(of)
    assert scale is not None
    return seed_dots(of.variants[place], scale, "#123456", 'five "seeds"')


def test_all_variants_of_a_game_share_a_scale() -> None:
    pong = game("Pong", variant("none", (0, 4)), variant("weight", (2, 10)))
    assert scale_of(pong) == Scale(0, 10)
    assert dots(pong, 0).count('cx="36.6"') == 5  # at 2: 5 + 0.2 * 158
    assert 'd="M36.6 15v8M5.0 19H68.2"' in dots(pong, 0)
    assert 'd="M99.8 15v8M36.6 19H163.0"' in dots(pong, 1)


def test_one_seed_has_a_dot_and_no_interval() -> None:
    pong = game("Pong", variant("none", (4, 6), seeds=1), variant("weight", None))
    assert scale_of(pong) == Scale(5, 5)
    assert re.findall(r'cx="([^"]*)"|d="([^"]*)"', dots(pong, 0)) == [
        ("84.0", ""),
        ("", "M84.0 15v8"),
    ]
    assert "<circle" not in dots(pong, 1)


def test_a_game_without_scores_has_no_scale() -> None:
    assert scale_of(game("Pong", variant("none", None))) is None


def test_the_description_is_escaped() -> None:
    assert 'aria-label="five &quot;seeds&quot;"' in dots(game("Pong", variant("none", (0, 1))), 0)
