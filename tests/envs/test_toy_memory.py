"""The question of toy/Memory cannot be answered without a memory, and can be with one."""

import itertools

import numpy as np
import pytest

from wnrl.envs.toy_memory import Memory
from wnrl.envs.vector import EpisodeStatistics

BLANK, QUERY = (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)
CUES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def seen(env: Memory) -> list[tuple[float, ...]]:
    return [tuple(obs) for obs in env.obs.tolist()]


def test_an_episode_is_a_cue_a_delay_a_query_and_a_blank_end() -> None:
    env = Memory(1, seed=3)
    env.reset()
    lengths = set()
    for episode in range(30):
        rows, rewards = seen(env), []
        (cue,) = (CUES.index(row) for row in rows)
        answer = cue if episode % 2 else 1 - cue
        while True:
            env.send(np.array([answer]))
            step = env.recv()
            rows += seen(env)
            rewards.append(float(step.reward[0]))
            if step.terminated[0]:
                break
        assert rows == [CUES[cue], *[BLANK] * (len(rows) - 3), QUERY, BLANK]
        assert rewards == [*[0.0] * (len(rewards) - 1), 1.0 if answer == cue else -1.0]
        assert not step.truncated[0]
        lengths.add(len(rewards))
        env.send(np.array([0]))
        assert env.recv().first[0]
    assert lengths == {5, 6, 7}


@pytest.mark.parametrize("table", list(itertools.product((0, 1), repeat=4)))
def test_every_policy_without_a_memory_earns_exactly_nothing_over_the_two_cues(
    table: tuple[int, ...],
) -> None:
    policy = dict(zip((*CUES, BLANK, QUERY), table, strict=True))
    env = Memory(16, seed=0)
    env.reset()
    cue = [CUES.index(row) for row in seen(env)]
    assert set(cue) == {0, 1}
    returns: list[set[float]] = [set(), set()]  # by cue
    statistics = EpisodeStatistics(16)
    first = np.ones(16, np.bool_)
    while first.any():
        env.send(np.array([policy[row] for row in seen(env)]))
        for episode in statistics.update(env.recv()):
            if first[episode.env]:
                returns[cue[episode.env]].add(episode.raw_return)
                first[episode.env] = False
    # Its answer to a query is the same whatever the cue was: right for one of them, wrong for the
    # other. A stochastic policy is a mixture of these sixteen.
    assert all(len(values) == 1 for values in returns)
    assert sum(returns[0]) + sum(returns[1]) == 0.0


def test_the_cues_are_equally_frequent_and_depend_on_seed_environment_and_episode_alone() -> None:
    def cues(num_envs: int, seed: int) -> list[list[int]]:
        env = Memory(num_envs, seed)
        env.reset()
        shown: list[list[int]] = [[] for _ in range(num_envs)]
        generator = np.random.default_rng(num_envs)  # other actions, the same cues
        for _ in range(900):
            for n in np.flatnonzero(env.first).tolist():
                shown[n].append(int(env.obs[n, 1]))
            env.send(generator.integers(2, size=num_envs))
            env.recv()
        return shown

    two, four = cues(2, 7), cues(4, 7)
    assert two == four[:2]
    assert two[0] != two[1]
    assert two != cues(2, 8)
    everything = np.concatenate([np.array(shown) for shown in four])
    # a fair coin's mean has a standard deviation of 0.5 / sqrt(n); the seed is fixed
    assert abs(everything.mean() - 0.5) < 3 * 0.5 / len(everything) ** 0.5


def test_a_policy_that_remembers_the_cue_earns_one() -> None:
    env = Memory(4, seed=1)
    env.reset()
    statistics = EpisodeStatistics(4)
    remembered = np.zeros(4, np.int64)
    returns = []
    for _ in range(60):
        remembered = np.where(env.first, env.obs[:, 1].astype(np.int64), remembered)
        env.send(remembered)
        returns += [episode.raw_return for episode in statistics.update(env.recv())]
    assert len(returns) > 20
    assert set(returns) == {1.0}
