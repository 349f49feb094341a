"""The arithmetic of how long a run takes."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from wnrl.config import make_config
from wnrl.doctor.cpus import default_threads
from wnrl.envs.toy import Corridor
from wnrl.train import speed
from wnrl.train.loop import Tick
from wnrl.train.run import resume, train
from wnrl.train.speed import Speed, cheaper, choose_threads, duration_s, format_duration, lent
from wnrl.train.storage.run_folder import read_config

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


class Resets(Corridor):
    """Counts its resets."""

    count = 0

    def reset(self) -> None:
        self.count += 1
        super().reset()


@pytest.mark.parametrize(("name", "own"), [("Breakout", True), ("toy/Corridor", False)])
def test_a_measurement_uses_the_runs_own_emulators_and_copies_of_other_environments(
    name: str, own: bool
) -> None:
    env = Resets(1, 0)
    with lent(make_config(env=name), env) as trial:
        assert (trial is env) == own
        assert trial.first.all()  # reset
    assert env.count == own


@pytest.mark.parametrize("warm_up_tick_s", [0.002, 0.02])  # 256 ticks; the budget is 1 s for them
def test_a_slow_warm_up_is_not_taken_for_learning(
    warm_up_tick_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, now_s = make_config(), [0.0]
    warmup_steps = config.agent.calibration()["warmup_steps"]

    def ticks(*arguments: Any) -> Iterator[Tick]:
        for steps in itertools.count(8, 8):
            learning = steps > warmup_steps
            now_s[0] += 0.5 if learning else warm_up_tick_s
            yield Tick(steps, [], {} if learning else None)

    monkeypatch.setattr(speed, "build_network", lambda *arguments: (None, None))
    monkeypatch.setattr(speed, "build_agent", lambda *arguments: MagicMock())
    monkeypatch.setattr(speed, "run", ticks)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now_s[0])
    measured = speed.measure_speed(config, torch.device("cpu"), Corridor(8, 0), budget_s=2.0)
    assert measured == pytest.approx(Speed(warm_up_tick_s / 8, 0.5 / 8))


def measure_as(monkeypatch: pytest.MonkeyPatch, learning_s: dict[int, float]) -> None:
    """Make an agent step take so many seconds, by torch's number of threads."""

    def measured(*arguments: Any) -> Speed:
        return Speed(0.01, learning_s[torch.get_num_threads()])

    monkeypatch.setattr(speed, "measure_speed", measured)


@pytest.mark.parametrize(
    ("learning_s", "most", "chosen", "tried"),
    [
        ({1: 2.0}, 1, 1, [1]),
        ({1: 2.0, 2: 1.8}, 2, 2, [1, 2]),
        ({1: 2.0, 2: 1.95}, 2, 1, [1, 2]),  # not worth a core
        ({1: 2.0, 2: 6.0}, 8, 1, [1, 2]),  # other runs keep the cores busy
        ({1: 2.0, 2: 1.2, 4: 1.19, 8: 0.1}, 8, 2, [1, 2, 4]),
        ({1: 2.0, 2: 1.2, 4: 0.8, 6: 0.7}, 6, 6, [1, 2, 4, 6]),
    ],
)
def test_more_threads_are_taken_while_they_are_worth_it(
    learning_s: dict[int, float],
    most: int,
    chosen: int,
    tried: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure_as(monkeypatch, learning_s)
    number, speeds = choose_threads(make_config(), torch.device("cpu"), Corridor(1, 0), most)
    assert (number, list(speeds)) == (chosen, tried)
    assert torch.get_num_threads() == chosen


def test_the_chosen_threads_are_told_recorded_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wnrl.train.run.default_threads", lambda: 3)
    measure_as(monkeypatch, {1: 0.02, 2: 0.01, 3: 0.03})
    config = make_config(env="toy/Catch", threads=0, steps=8, run_dir=str(tmp_path))
    said: list[str] = []
    torch.set_num_threads(1)
    list(train(config, say=said.append))
    assert torch.get_num_threads() == 2
    assert read_config(tmp_path).run.threads == 2
    assert (
        "  threads   2 on the CPU: 50 with 1, 100 with 2, 33 with 3 agent steps per second while "
        "learning; --threads 2 repeats the run bit for bit"
    ) in said
    assert not any("CPU thread" in line for line in said)
    torch.set_num_threads(1)
    list(resume(tmp_path, {"steps": 16}, say=said.append))
    assert torch.get_num_threads() == 2
    assert any("cpu, 2 CPU threads" in line for line in said)


@pytest.mark.parametrize(("threads", "used"), [(0, default_threads()), (1, 1)])
def test_without_a_measurement_a_run_has_a_thread_for_each_core(
    threads: int, used: int, tmp_path: Path
) -> None:
    config = make_config(
        env="toy/Catch", threads=threads, steps=8, run_dir=str(tmp_path), calibrate=False
    )
    list(train(config))
    assert torch.get_num_threads() == read_config(tmp_path).run.threads == used
