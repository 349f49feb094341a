"""Settings of a run that change its Atari protocol: names, defaults, old folders, errors."""

import json
import re
from typing import Any

import pytest

from wnrl._settings import SettingError
from wnrl.config import config_from_json, make_config
from wnrl.envs.protocols import PROTOCOLS, SETTINGS
from wnrl.report.run_differences import differences
from wnrl.train.build import build_env, resolve
from wnrl.train.evaluation import MAX_EPISODE_STEPS, longest_episode_steps

GIVEN: dict[str, Any] = {
    "mode": 4,
    "difficulty": 1,
    "sticky": 0.1,
    "noop_max": 7,
    "fire_reset": False,
    "full_action_space": True,
    "frame_skip": 2,
    "max_episode_steps": 500,
    "screen_size": 60,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_names_the_run_and_makes_its_protocol_custom(name: str) -> None:
    config = make_config({"env": "Breakout", name: GIVEN[name]})
    assert config.name == f"dqn-weight-{name.replace('_', '-')}={GIVEN[name]}"
    assert config.protocol.name == "custom"
    assert config.protocol.description != resolve(make_config(env="Breakout")).protocol.description
    assert list(differences(config, make_config(env="Breakout"), ())) == [name]
    again = config_from_json(json.loads(json.dumps(config.to_json())))
    assert (again.name, again.protocol) == (config.name, config.protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocols_own_values_are_no_departure(protocol: str) -> None:
    named = PROTOCOLS[protocol]
    config = make_config({"env": "Pong", "protocol": protocol, **named.settings, "mode": 0})
    assert config.protocol == named
    assert make_config(env="Pong", protocol=protocol).run.noop_max == named.noop_max
    suffix = "-protocol=sticky" if protocol == "sticky" else ""
    assert make_config(env="Pong", protocol=protocol).name == f"dqn-weight{suffix}"
    assert config.name == f"dqn-weight{suffix}-mode=0"


def test_the_run_plays_and_learns_from_what_its_settings_say() -> None:
    config = make_config({"env": "Breakout", "norm": "none", **GIVEN})
    env = build_env(resolve(config), num_envs=1)
    assert env.num_actions == 18
    assert env.observation.shape == (4, 60, 60)
    assert env.protocol == config.protocol
    assert config.protocol.max_episode_frames == 1_000
    env.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_folder_from_before_these_settings_is_read_as_it_was_played(protocol: str) -> None:
    config = make_config(env="Breakout", protocol=protocol)
    old = config.to_json()
    for name in SETTINGS:
        del old["run"][name]
    read = config_from_json(old)
    assert read == config
    assert read.protocol == PROTOCOLS[protocol]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"mode": 3}, "^--mode 3 is unknown to Breakout; it has 0, 4, 8"),
        ({"difficulty": 2}, "^--difficulty 2 is unknown to Breakout; it has 0, 1$"),
        ({"mode": -2}, "^--mode -2 is out of range; it must be at least -1$"),
        ({"sticky": 1.5}, "^--sticky 1.5 is out of range; it must be at most 1$"),
        ({"noop_max": -1}, "^--noop-max -1 is out of range; it must be at least 0"),
        ({"frame_skip": 0}, "^--frame-skip 0 is out of range; it must be at least 1 frame$"),
        ({"screen_size": 161}, "^--screen-size 161 is out of range; it must be at most 160"),
        ({"env": "CartPole-v1", "frame_skip": 2}, "^--frame-skip 2 is for Atari games, and Cart"),
        ({"env": "minatar/breakout", "mode": 0}, "^--mode 0 is for Atari games, and MinAtar/Br"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_one_line(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError) as caught:
        make_config({"env": "Breakout", **given})
    assert re.search(says, caught.value.flag_message)
    assert "\n" not in caught.value.flag_message


def test_an_evaluation_lasts_as_long_as_the_protocol_lets_it() -> None:
    assert longest_episode_steps(make_config(env="Pong")) == MAX_EPISODE_STEPS
    assert longest_episode_steps(make_config(env="CartPole-v1")) == MAX_EPISODE_STEPS
    assert longest_episode_steps(make_config(env="Pong", frame_skip=1)) == 108_000
    assert longest_episode_steps(make_config(env="Pong", max_episode_steps=30_000)) == 30_000


def test_the_memory_of_a_game_is_refused_by_name() -> None:
    for name in ("ALE/Breakout-ram-v5", "Breakout-ram-v0", "breakout-ramNoFrameskip-v4"):
        with pytest.raises(ValueError, match=r"memory \(RAM\).*name the game, Breakout$"):
            make_config(env=name)
