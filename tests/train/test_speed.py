"""The arithmetic of how long a run takes."""

import pytest

from wnrl.config import make_config
from wnrl.train.speed import Speed, cheaper, duration_s, format_duration

SPEED = Speed(warmup_s=0.5, learning_s=2.0)


@pytest.mark.parametrize(
    ("warmup", "done", "until", "seconds"),
    [(10, 0, 30, 45.0), (10, 4, 30, 43.0), (10, 10, 30, 40.0), (10, 20, 30, 20.0), (10, 0, 6, 3.0)],
)
def test_the_warm_up_and_the_rest_take_their_own_time(
    warmup: int, done: int, until: int, seconds: float
) -> None:
    assert duration_s(SPEED, warmup, done, until) == seconds


def test_durations_are_told_in_the_unit_that_fits() -> None:
    told = [format_duration(s) for s in (3, 89, 91, 5_000, 7_200, 86_399, 90_000, 900_000)]
    assert told == ["3 s", "89 s", "2 min", "83 min", "2.0 h", "24.0 h", "1.0 days", "10.4 days"]


def test_what_is_offered_instead_of_a_long_run_takes_less_than_a_day() -> None:
    offer = cheaper(make_config(), Speed(warmup_s=0.001, learning_s=0.02), 0)
    assert "--preset fast --steps 500_000 (2.8 h)" in offer
    assert "--steps 4_400_000 (within a day)" in offer


def test_a_preset_that_learns_more_often_is_told_with_its_own_time() -> None:
    # PQN's fast one passes over each rollout 4 times, not 2.
    offer = cheaper(make_config(agent="pqn"), Speed(warmup_s=0.01, learning_s=0.01), 0)
    assert "--preset fast --steps 500_000 (2.8 h)" in offer
    offer = cheaper(make_config(agent="pqn", epochs=2), Speed(warmup_s=0.01, learning_s=0.01), 0)
    assert "--preset fast --steps 500_000 (83 min)" in offer


def test_nothing_is_offered_that_would_learn_nothing_or_take_longer() -> None:
    offer = cheaper(make_config(), Speed(warmup_s=1.0, learning_s=2.0), 0)
    assert "--preset" not in offer
    assert "--steps" not in offer
    assert "CUDA" in offer


def test_a_run_that_goes_on_is_offered_only_what_it_may_change() -> None:
    offer = cheaper(make_config(steps=60_000_000), Speed(0.001, 0.02), 30_000_000)
    assert "--preset" not in offer
    assert "--steps 34_300_000 (within a day)" in offer
