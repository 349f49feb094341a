"""Settings in which runs of one comparison may and may not differ."""

from typing import Any

import pytest

from wnrl.config import Config, make_config
from wnrl.report.run_differences import describe_differences, differences


def config(**given: Any) -> Config:
    return make_config({"env": "Breakout", "norm": "none", "threads": 1, **given})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({}, {"norm": "weight", "env": "Seaquest", "seed": 4}),
        ({"preset": "paper"}, {"preset": "paper", "norm": "weight"}),  # another learning rate
        (
            {"preset": "paper", "learning_rate": 1e-4},  # not the default of none, but of weight
            {"preset": "paper", "learning_rate": 1e-4, "norm": "weight"},
        ),
        ({}, {"norm": "weight", "v_norm": "paper"}),  # a setting that `none` does not have
        ({}, {"norm": "nap"}),  # its own schedule and defaults
        ({"eval_every_steps": 5, "wall_time": False}, {}),
        ({"norm": "group", "norm.groups": 8}, {"norm": "layer"}),
        ({"batch_size": 64}, {"batch_size": 64, "env": "CartPole-v1"}),
        ({"env": "CartPole-v1", "steps": 100}, {"env": "Breakout", "steps": 200}),
        ({"agent": "ppo", "steps": 100}, {"agent": "ppo", "env": "Seaquest", "steps": 200}),
        ({"env": "FrozenLake-v1", "env_kwargs": "map_name=8x8"}, {"env": "CartPole-v1"}),
    ],
)
def test_comparable_runs_have_no_differences(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert differences(config(**a), config(**b), ()) == {}


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({"learning_rate": 1e-3}, {"norm": "weight"}, {"learning_rate": (1e-3, 1e-4)}),
        ({"protocol": "sticky"}, {}, {"protocol": ("sticky", "classic")}),
        ({"threads": 2}, {}, {"threads": (2, 1)}),
        ({"agent": "ppo"}, {}, {"agent": ("ppo", "dqn")}),
        ({"norm": "group", "norm.groups": 8}, {"norm": "group"}, {"norm.groups": (8, 32)}),
        ({"steps": 5, "schedule_steps": 5}, {"schedule_steps": 5, "steps": 9}, {"steps": (5, 9)}),
        ({"agent": "ppo", "schedule_steps": 5}, {"agent": "ppo"}, {"schedule_steps": (5, 10**7)}),
        ({"preset": "fast"}, {}, {"preset": ("fast", "none")}),
        (
            {"env": "FrozenLake-v1", "env_kwargs": "map_name=8x8"},
            {"env": "FrozenLake-v1"},
            {"env_kwargs": ("map_name=8x8", "")},
        ),
    ],
)
def test_other_differences_are_found(
    a: dict[str, Any], b: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert differences(config(**a), config(**b), ()) == expected
    assert differences(config(**b), config(**a), ()).keys() == expected.keys()


def test_a_swept_setting_is_no_difference() -> None:
    a, b = config(learning_rate=1e-3), config(learning_rate=1e-2)
    assert differences(a, b, ["learning_rate"]) == {}
    assert describe_differences(differences(a, b, ())) == "--learning-rate 0.001 vs 0.01"
