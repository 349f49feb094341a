"""Times are means of what was timed, and the agent is left as it is."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from wnrl.agents.learner import UpdateObserver
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.train.timing import Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Counting:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def looks(self, rows: int, ahead: int = 0) -> bool:
        return rows == 7 + ahead

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        self.calls.append("before")

    def after_step(self) -> None:
        self.calls.append("after")


class Agent:
    """Acts in 2 ms, updates in 30 ms an update, as often as told."""

    update_overlaps = False

    def __init__(self, clock: Clock, due: Iterator[int]) -> None:
        self.learner = self  # has the observer, as an agent's learner does
        self.observer: UpdateObserver = Counting()
        self._clock = clock
        self._due = due

    def act(self, obs: Observations, first: Flags) -> Actions:
        self._clock.now_s += 0.002
        return np.zeros(len(first), np.int64)

    def observe(self, step: Step) -> None:
        self._clock.now_s += 100.0

    def update(self) -> dict[str, Tensor] | None:
        due = next(self._due)
        self._clock.now_s += 0.001  # of finding out
        for _ in range(due):
            self.observer.before_step(torch.zeros(1), torch.zeros(1))
            self._clock.now_s += 0.030
            self.observer.after_step()
        return {"train/loss": torch.tensor(1.0)} if due else None


def test_it_tells_the_mean_time_of_an_act_and_of_one_step_of_the_optimizer() -> None:
    clock = Clock()
    agent = Agent(clock, iter([0, 3, 1]))
    seen = agent.learner.observer

    def wait() -> None:
        clock.now_s += 0.004

    watch = Stopwatch(agent, wait=wait, now=clock)  # type: ignore[arg-type]  # what it is asked for
    assert watch.pop_times() == {}
    obs, first = np.zeros((2, 4), np.uint8), np.zeros(2, bool)
    for _ in range(3):
        watch.act(obs, first)
        watch.update()
    means = watch.pop_times()
    assert means["time/act_ms"] == pytest.approx(2.0)
    # (3 x 30 + 1 + 4 + 30 + 1 + 4) / 4; where nothing was due there was nothing to wait for
    assert means["time/update_ms"] == pytest.approx(32.5)
    assert (watch.looks(7), watch.looks(8), watch.looks(8, 1)) == (True, False, True)
    assert seen.calls == ["before", "after"] * 4  # type: ignore[attr-defined]
    assert watch.pop_times() == {}
