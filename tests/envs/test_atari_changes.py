"""Atari games whose protocol departs from a named one: what changes, and that they resume."""

from typing import Any

import numpy as np
import pytest

from wnrl._settings import SettingError
from wnrl.envs.atari import Atari
from wnrl.envs.protocols import PROTOCOLS, SETTINGS, changes_of, protocol_named
from wnrl.envs.recording import colour_frames
from wnrl.envs.vector import Step

CHANGES: list[dict[str, Any]] = [
    {"mode": 8},
    {"difficulty": 1, "noop_max": 10},
    {"repeat_action_probability": 0.5},
    {"mode": 8, "repeat_action_probability": 0.3, "frameskip_frames": 2},
    {"noop_max": 3},
    {"fire_reset": False},
    {"full_action_space": True},
    {"frameskip_frames": 1},
    {"max_episode_frames": 101},
    {"screen_pixels": 36},
]


def open_breakout(changes: dict[str, Any]) -> Atari:
    return Atari("Breakout", 1, 5, changes=changes, num_threads=1, replay_limit_steps=40)


def play(env: Atari, steps: int, seed: int) -> list[Step]:
    random = np.random.default_rng(seed)
    played = []
    for _ in range(steps):
        env.send(random.integers(env.num_actions, size=1))
        played.append(env.recv())
    return played


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: "-".join(changes))
def test_a_changed_game_continues_bit_for_bit(changes: dict[str, Any]) -> None:
    whole, resumed = open_breakout(changes), open_breakout(changes)
    whole.reset()
    play(whole, 70, seed=0)
    resumed.load_state_dict(whole.state_dict())
    for one, other in zip(play(whole, 50, seed=1), play(resumed, 50, seed=1), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert whole.protocol.name == "custom"
    for env in (whole, resumed):
        env.close()


def test_a_state_of_another_protocol_is_refused() -> None:
    whole, other = open_breakout({"mode": 8}), open_breakout({"mode": 12})
    whole.reset()
    with pytest.raises(ValueError, match=r"game mode 8.*game mode 12"):
        other.load_state_dict(whole.state_dict())


def test_a_mode_that_the_game_does_not_have_is_refused() -> None:
    with pytest.raises(SettingError, match="mode 5 is unknown to Breakout; it has 0, 4"):
        open_breakout({"mode": 5})


def test_an_episode_in_another_mode_is_drawn_as_it_was_played() -> None:
    env = open_breakout({"mode": 12, "noop_max": 0})
    env.reset()
    play(env, 20, seed=0)
    frames = list(colour_frames("Breakout", env.protocol, env.action_log(0)))
    assert len(frames) == 21
    named = protocol_named("classic", changes={"noop_max": 0})
    default = list(colour_frames("Breakout", named, env.action_log(0)))
    assert not np.array_equal(frames[0], default[0])
    env.close()


def test_changes_say_what_they_are_and_equal_ones_are_none() -> None:
    classic = PROTOCOLS["classic"]
    assert protocol_named("classic", changes={"noop_max": 30, "frameskip_frames": 4}) == classic
    changed = protocol_named(
        "classic", changes={"frameskip_frames": 1, "screen_pixels": 50, "mode": 4, "difficulty": 1}
    )
    assert changed.description == (
        "custom: no sticky actions, fewer than 30 no-ops, FIRE at a reset only, life loss is "
        "terminal in training, minimal actions, at most 108,000 agent steps, evaluated at epsilon "
        "0.05, 1 frame in an agent step, 50x50 pixels, game mode 4, difficulty 1"
    )


def test_the_longest_episode_is_in_frames_unless_steps_are_given() -> None:
    settings = dict.fromkeys(SETTINGS, 0) | {"frame_skip": 2}
    assert "max_episode_frames" not in changes_of(settings)
    assert changes_of(settings | {"max_episode_steps": 9})["max_episode_frames"] == 18
