"""Rows arrive in a rollout as they came, and advantages stand beside them."""

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from agent_runs import CPU
from torch import Tensor, nn

from wnrl.agents.on_policy import Collector, value_after, with_advantages
from wnrl.agents.recurrence import Memory, NoMemory
from wnrl.envs.toy import Corridor
from wnrl.rl.rollout import Rollout, RolloutBatch

N, T, GAMMA = 3, 4, 0.5


class Row(NamedTuple):
    """What one row of the corridor must be."""

    episode: int
    t: int
    first: bool
    valid: bool
    reward: float
    discount: float


def schedule(env: int, actions: list[int]) -> Iterator[Row]:
    """The rows of one environment, written out from its episodes' lengths and ends."""
    episode = t = 0
    for action in actions:
        length = Corridor.length_steps(env, episode)
        if t == length:  # the final observation: the action is not used
            yield Row(episode, t, False, False, 0.0, 0.0)
            episode, t = episode + 1, 0
            continue
        ends = t + 1 == length and not Corridor.is_truncated(env, episode)
        ends |= t + 1 == 2 and Corridor.loses_life(env, episode)
        yield Row(episode, t, t == 0, True, 10.0 * (t + 1) + action, 0.0 if ends else GAMMA)
        t += 1


class Counting:
    """A memory whose state is the number of steps that it remembers."""

    def __init__(self) -> None:
        self.state = (torch.zeros(1, N, 1), torch.zeros(1, N, 1))

    def step(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        self.state = (self.state[0] + 1, self.state[1] + 1)

    def peek(self, network: nn.Module, obs: Tensor, first: Tensor) -> Any:
        raise AssertionError

    def state_dict(self) -> dict[str, Any]:
        return {"h": self.state[0], "c": self.state[1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = (state["h"], state["c"])


NETWORK = nn.Identity()


def collector_of(memory: Memory) -> Collector:
    rollout = Rollout(T, N, (4, 10, 10), "uint8", ("value",))
    return Collector(rollout, memory, CPU, GAMMA, clip_rewards=False)


class Walk:
    """Steps corridors with the actions 0, 1, 2, ... modulo 3 shifted by environment."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.collector = collector_of(memory)
        self.env = Corridor(N, seed=0)
        self.env.reset()
        self.row = 0

    def step(self) -> None:
        inputs = self.collector.inputs(self.env.obs, self.env.first)
        self.memory.step(NETWORK, *inputs)
        value = torch.arange(N) + 100.0 * self.row
        self.collector.acted(self.env.obs, self.env.first, value=value)
        self.env.send((np.arange(N) + self.row) % 3)
        self.collector.observed(self.env.recv())
        self.row += 1

    def rollouts(self, count: int) -> list[RolloutBatch]:
        taken: list[RolloutBatch] = []
        while len(taken) < count:
            self.step()
            if self.collector.full:
                taken.append(copied(self.collector.batch()))
                self.collector.restart()
        return taken

    def state_dict(self) -> dict[str, Any]:
        return {
            "env": self.env.state_dict(),
            "collector": self.collector.state_dict(),
            "row": self.row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.env.load_state_dict(state["env"])
        self.collector.load_state_dict(state["collector"])
        self.row = state["row"]


def copied(batch: RolloutBatch) -> RolloutBatch:
    kept = {name: x.clone() for name, x in batch.extras.items()}
    return RolloutBatch._make([*(x.clone() for x in batch[:-1]), kept])


def test_rows_arrive_as_they_came_none_lost_or_doubled_between_rollouts() -> None:
    walk = Walk(NoMemory(NETWORK, N))
    batches = walk.rollouts(8)  # 32 rows: several episodes of each environment
    rows = RolloutBatch._make(
        [*(torch.cat(x) for x in zip(*(b[:-1] for b in batches), strict=True)), {}]
    )
    value = torch.cat([batch.extras["value"] for batch in batches])
    valid_rows = ends = 0
    for env in range(N):
        actions = [(env + k) % 3 for k in range(8 * T)]
        for k, expected in enumerate(schedule(env, actions)):
            newest = rows.obs[k, env, -1].numpy()
            assert Corridor.place(newest) == (env, expected.episode, expected.t)
            assert bool(rows.first[k, env]) is expected.first
            assert int(rows.action[k, env]) == actions[k]
            assert float(rows.reward[k, env]) == expected.reward
            assert float(rows.discount[k, env]) == expected.discount
            assert bool(rows.valid[k, env]) is expected.valid
            assert float(value[k, env]) == env + 100 * k
            valid_rows += expected.valid
            ends += not expected.valid
    assert walk.collector.agent_steps == valid_rows
    assert ends >= 3 * N


def test_what_follows_the_last_row_is_the_next_rollouts_first() -> None:
    walk = Walk(NoMemory(NETWORK, N))
    seen_first = False
    for _ in range(8):
        while not walk.collector.full:
            walk.step()
        obs, first = (x.clone() for x in walk.collector.following())
        walk.collector.restart()
        walk.step()
        rows = walk.collector.state_dict()["rollout"]["fields"]
        assert torch.equal(rows["obs"][0], obs)
        assert torch.equal(rows["first"][0], first)
        seen_first |= bool(first.any())
    assert seen_first


def test_saved_in_the_middle_of_a_rollout_it_goes_on() -> None:
    whole, stopped, loaded = (Walk(Counting()) for _ in range(3))
    assert whole.collector.initial_state is not None
    expected = whole.rollouts(4)
    stopped.rollouts(2)
    stopped.step()
    stopped.step()
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    file.seek(0)
    stopped.rollouts(1)  # goes on, and what was saved does not
    loaded.load_state_dict(torch.load(file, weights_only=True))
    while not loaded.collector.full:
        loaded.step()
    began = loaded.collector.initial_state
    assert began is not None
    assert began[0].flatten().tolist() == began[1].flatten().tolist() == [2.0 * T] * N
    for found, wanted in zip(loaded.collector.batch()[:-1], expected[2][:-1], strict=True):
        assert torch.equal(found, wanted)
    loaded.collector.restart()
    began = loaded.collector.initial_state
    assert began is not None
    assert began[0].flatten().tolist() == [3.0 * T] * N
    assert torch.equal(loaded.rollouts(1)[0].obs, expected[3].obs)
    assert loaded.collector.agent_steps == whole.collector.agent_steps


def test_values_after_rows_are_the_next_rows_and_then_the_last() -> None:
    after = value_after(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([5.0, 6.0]))
    assert after.tolist() == [[3.0, 4.0], [5.0, 6.0]]


# Three environments, columns of: rewards, discounts, values, validity; gamma 1/2.
# 0: truncated by row 0; row 1 is the final observation, worth 4; row 2 begins an episode.
# 1: a life is lost in row 2, the time is up after row 3, whose final observation is worth 3.
# 2: the time is up after row 2; row 3 is the final observation, worth 8, and 100 is another's.
HAND: dict[str, list[list[float]]] = {
    "reward": [[1, 0, 0], [0, 0, 0], [3, 0, 1], [5, 2, 0]],
    "discount": [[0.5, 0.5, 0.5], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    "value": [[2, 1, 2], [4, 1, 2], [6, 1, 2], [8, 1, 8]],
    "valid": [[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 0]],
}
LAST = [10.0, 3.0, 100.0]
# With lambda 1/2, G_3 = 5 + 10/2 and G_2 = 3 + (8/2 + 10/2)/2 in environment 0; G_0 = 1 + 4/2.
RETURNS = [[3, 0.3125, 0.9375], [None, 0.25, 1.75], [7.5, 0, 5], [10, 3.5, None]]


def test_advantages_bootstrap_where_time_was_up_and_stop_where_an_episode_did() -> None:
    value, valid = torch.tensor(HAND["value"]).float(), torch.tensor(HAND["valid"]).bool()
    rollout = RolloutBatch(
        obs=torch.zeros(4, 3, 1),
        first=torch.zeros(4, 3, dtype=torch.bool),
        action=torch.zeros(4, 3, dtype=torch.int64),
        reward=torch.tensor(HAND["reward"]).float(),
        discount=torch.tensor(HAND["discount"]).float(),
        valid=valid,
        extras={"value": value, "log_prob": value + 1},
    )
    kept = with_advantages(rollout, torch.tensor(LAST), 0.5).extras
    assert torch.equal(kept["value"], value)
    assert torch.equal(kept["log_prob"], value + 1)
    for k, env in np.ndindex(4, 3):
        expected = RETURNS[k][env]
        advantage = float(kept["advantage"][k, env])
        if expected is None:
            assert not valid[k, env]
            assert advantage == 0.0
        else:
            assert valid[k, env]
            assert float(kept["return"][k, env]) == pytest.approx(expected)
            assert advantage == pytest.approx(expected - float(value[k, env]))
