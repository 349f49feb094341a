"""What the first lines of a run say of agents that differ."""

from pathlib import Path

import pytest
import torch

from wnrl.config import Config, make_config
from wnrl.train.start_message import describe


def notes(config: Config, done_steps: int = 0) -> list[str]:
    lines = describe(config, Path("runs"), torch.device("cpu"), done_steps)
    return [line.split(maxsplit=1)[1] for line in lines if line.startswith("  note")]


def test_the_protocol_is_shown_as_the_run_plays_it() -> None:
    config = make_config(env="Pong", agent="ppo", recurrent=True)
    text = "\n".join(describe(config, Path("runs"), torch.device("cpu"), 0))
    assert "evaluated at epsilon 0, 1 frame in an observation\n" in text


def test_emulators_that_play_another_mode_are_said_to_take_one_core() -> None:
    assert notes(make_config(env="Pong", sticky=0.1)) == []
    assert "one after the other, on one core" in notes(make_config(env="Pong", mode=1))[0]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"steps": 500}, "500 steps end within the warm-up of 500 random steps"),
        (
            {"steps": 505, "recurrent": True},
            "505 steps leave fewer than the 8 steps of an update after the warm-up of 500",
        ),
        ({"agent": "ppo", "steps": 255}, "255 steps are fewer than one rollout of 256"),
    ],
)
def test_a_run_that_learns_nothing_says_why(settings: dict[str, object], why: str) -> None:
    assert f"nothing will be learnt: {why}" in notes(make_config(settings, env="CartPole-v1"))[0]


def test_a_run_that_outlasts_its_learning_rate_says_so() -> None:
    ppo = {"agent": "ppo", "env": "CartPole-v1"}
    note = "the learning rate falls to 0 at 50,000 agent steps, the end of the schedule: nothing"
    assert notes(make_config(ppo)) == []
    assert note in notes(make_config(ppo, steps=60_000, schedule_steps=50_000), 50_000)[0]
    constant = {"steps": 60_000, "schedule_steps": 50_000, "learning_rate_decay": False}
    assert notes(make_config(ppo, **constant), 50_000) == []
