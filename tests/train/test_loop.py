"""The loop counts what the emulator used, and hands every transition on once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from wnrl.agents.base import Policy
from wnrl.envs.toy import Corridor
from wnrl.envs.vector import Actions, EpisodeStatistics, Flags, Observations, Step
from wnrl.train.loop import run


class Scribe:
    """An agent that writes down the order of its calls, and each row that it is shown."""

    def __init__(self, num_envs: int, update_overlaps: bool = True) -> None:
        self.update_overlaps = update_overlaps
        self.network = nn.Identity()
        self.calls: list[str] = []
        self.rows: list[tuple[Observations, Flags, Step]] = []
        self._actions = np.arange(num_envs) % 3
        self._seen: tuple[Observations, Flags] | None = None

    def act(self, obs: Observations, first: Flags) -> Actions:
        self.calls.append("act")
        self._seen = (obs.copy(), first.copy())
        return self._actions

    def update(self) -> dict[str, Tensor] | None:
        self.calls.append("update")
        return None

    def observe(self, step: Step) -> None:
        self.calls.append("observe")
        assert self._seen is not None
        self.rows.append((*self._seen, step))

    def policy(self, epsilon: float, generator: np.random.Generator) -> Policy:
        return self

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def _walk(num_envs: int, until_steps: int) -> tuple[Scribe, list[int], int]:
    env, agent = Corridor(num_envs, seed=0), Scribe(num_envs)
    env.reset()
    statistics = EpisodeStatistics(num_envs)
    ticks = list(run(env, agent, statistics, 0, until_steps))
    return agent, [tick.agent_steps for tick in ticks], sum(len(t.episodes) for t in ticks)


def test_it_acts_then_updates_then_observes() -> None:
    agent, _, _ = _walk(2, 6)
    assert agent.calls[:6] == ["act", "update", "observe"] * 2


def test_an_update_that_may_not_overlap_comes_after_what_was_observed() -> None:
    env, agent = Corridor(2, seed=0), Scribe(2, update_overlaps=False)
    env.reset()
    list(run(env, agent, EpisodeStatistics(2), 0, 4))
    assert agent.calls == ["act", "observe", "update"] * 2


def test_autoreset_rows_are_no_agent_steps() -> None:
    # Environment 0's episodes take 3, 6, 4, ... actions; between two of them lies one reset row.
    agent, steps, episodes = _walk(1, 9)
    assert steps == [1, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    assert episodes == 2
    assert [bool(step.first[0]) for _, _, step in agent.rows] == [False] * 3 + [True] + [False] * 6


def test_every_transition_is_shown_once_and_none_crosses_an_episode() -> None:
    agent, _, _ = _walk(3, 200)
    seen = set()
    for obs, _, step in agent.rows:
        for env in range(3):
            if step.first[env]:
                continue
            before = Corridor.place(obs[env, -1])
            after = Corridor.place(step.obs[env, -1])
            assert before is not None
            assert after is not None
            assert after == (before[0], before[1], before[2] + 1)
            assert before not in seen
            seen.add(before)
    assert len(seen) >= 200
