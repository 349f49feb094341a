"""Arguments of `AtariVecEnv` that change its protocol, and modes that `set_options` chooses."""

from typing import Any

import numpy as np
import pytest

from wnrl._settings import UsageError
from wnrl.sb3 import AtariVecEnv


def first_frames(env: AtariVecEnv) -> list[bytes]:
    return [obs.tobytes() for obs in env.reset()]


def open_breakout(n_envs: int = 1, **arguments: Any) -> AtariVecEnv:
    return AtariVecEnv("Breakout", n_envs, seed=3, num_threads=1, **arguments)


def test_each_argument_changes_the_protocol_and_says_so() -> None:
    env = open_breakout(
        mode=4,
        difficulty=1,
        fire_reset=False,
        full_action_space=True,
        frame_skip=2,
        max_episode_steps=3,
        screen_size=40,
    )
    assert env.action_space.n == 18
    assert env.observation_space.shape == (4, 40, 40)
    assert env.protocol.description == (
        "custom: no sticky actions, fewer than 30 no-ops, no FIRE, life loss is terminal in "
        "training, all 18 actions, at most 3 agent steps, evaluated at epsilon 0.05, 2 frames in "
        "an agent step, 40x40 pixels, game mode 4, difficulty 1"
    )
    env.reset()
    assert [bool(env.step(np.zeros(1, np.int64))[2][0]) for _ in range(4)] == [
        False,
        False,
        True,
        False,
    ]
    env.close()


def test_without_arguments_the_protocol_is_the_named_one() -> None:
    env = open_breakout(protocol="sticky", mode=0)
    assert env.protocol.name == "sticky"
    env.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": 5}, "^mode 5 is unknown to Breakout; it has 0, 4"),
        ({"mode": -1}, "^mode must be an integer of 0 or more, got -1"),
        ({"difficulty": 7}, "^difficulty 7 is unknown to Breakout; it has 0, 1"),
        ({"screen_size": 161}, "^screen_size must be an integer of 1 to 160, got 161"),
        ({"max_episode_steps": 0}, "^max_episode_steps must be an integer of 1"),
        ({"fire_reset": 1}, "^fire_reset must be True or False, got 1"),
    ],
)
def test_a_value_that_is_impossible_is_one_line(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_breakout(**arguments)


def test_options_choose_the_mode_from_the_next_reset_on() -> None:
    env, other = open_breakout(), open_breakout(mode=12)
    default, in_mode = first_frames(env), first_frames(other)
    env.set_options({"mode": 12})
    env.seed(3)
    assert first_frames(env) == in_mode != default
    env.seed(3)
    assert first_frames(env) == in_mode  # kept
    env.set_options({"mode": 0})
    env.seed(3)
    assert first_frames(env) != in_mode
    for each in (env, other):
        each.close()


def test_options_may_differ_between_environments_and_need_no_new_seed() -> None:
    env, again = open_breakout(2), open_breakout(2)
    for each in (env, again):
        each.reset()
        each.set_options([{"mode": 12}, {"difficulty": 1}])
    frames = first_frames(env)
    assert frames == first_frames(again)  # the seeds of before
    both = open_breakout(2, mode=12)
    in_mode = first_frames(both)
    assert (frames[0] == in_mode[0], frames[1] == in_mode[1]) == (True, False)
    for each in (env, again, both):
        each.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sticky": 0.1}, "^options 'sticky' is unknown; allowed: mode, difficulty"),
        ({"mode": 5}, "^mode 5 is unknown to Breakout"),
        ({"mode": "4"}, "^mode must be an integer of 0 or more, got '4'"),
        ([{}, {}], r"^options must be a dict, or a list of 1 dicts, got \[{}, {}\]"),
        ("mode", "^options must be a dict, or a list of 1 dicts, got 'mode'"),
    ],
)
def test_other_options_are_one_line_and_change_nothing(options: Any, says: str) -> None:
    env = open_breakout()
    before = first_frames(env)
    with pytest.raises(UsageError, match=says):
        env.set_options(options)
    env.seed(3)
    assert first_frames(env) == before
    env.close()
