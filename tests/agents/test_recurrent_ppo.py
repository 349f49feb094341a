"""PPO with an LSTM: it remembers within an episode, forgets between them, and repeats exactly."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import AFTER, BLIND
from torch import Tensor

from wnrl.agents.ppo import PPO
from wnrl.config import Config, make_config
from wnrl.envs.vector import EpisodeStatistics, VectorEnv
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import run

# Enough for the short memory, in a second.
QUICK = {"rollout_steps": 16, "epochs": 10, "learning_rate": 2e-3, "steps": 2_000}


def made(norm: str = "weight", **settings: Any) -> tuple[Config, VectorEnv, PPO]:
    config = make_config(
        {"env": "toy/Memory", "agent": "ppo", "norm": norm, "steps": 3_000, "recurrent": True}
        | {"hidden": 32, "lstm_units": 32}
        | settings
    )
    parts = resolve(config)
    env = build_env(parts)
    agent = build_agent(parts, env, build_network(parts, env)[0], torch.device("cpu"))
    assert isinstance(agent, PPO)
    env.reset()
    return config, env, agent


def returns_of(env: VectorEnv, agent: PPO, until_steps: int) -> list[float]:
    ticks = run(env, agent, EpisodeStatistics(env.num_envs), 0, until_steps)
    return [episode.raw_return for tick in ticks for episode in tick.episodes]


# Seeds 1 to 8 pass: pytest tests/agents -k a_memory -m "slow or not slow" --learning-seeds 8
@pytest.mark.usefixtures("short_memory")
@pytest.mark.parametrize("norm", ["weight", pytest.param("none", marks=pytest.mark.slow)])
def test_it_solves_what_needs_a_memory(norm: str, learning_seed: int) -> None:
    settings = QUICK if norm == "weight" else {}  # needs the normalization
    config, env, agent = made(norm, seed=learning_seed, **settings)
    assert np.mean(returns_of(env, agent, config.run.steps)[-100:]) > AFTER


@pytest.mark.usefixtures("short_memory")
def test_without_a_memory_it_does_not(learning_seed: int) -> None:
    config, env, agent = made(recurrent=False, seed=learning_seed, **QUICK)
    assert abs(np.mean(returns_of(env, agent, config.run.steps)[-200:])) < BLIND


def test_acting_forgets_where_an_episode_begins_and_nowhere_else() -> None:
    _, env, agent = made()
    returns_of(env, agent, 50)
    obs = env.obs
    state = agent._memory.state
    assert state is not None
    first = np.zeros(env.num_envs, np.bool_)
    first[0] = True
    agent.act(obs, first)
    forgotten = agent._memory.state
    alone = agent.network.unroll(  # type: ignore[operator]
        torch.from_numpy(obs)[None, :1],
        torch.ones(1, 1, dtype=torch.bool),
        agent.network.initial_state(1),  # type: ignore[operator]
    )[1]
    agent._memory.load_state_dict({"h": state[0], "c": state[1]})
    agent.act(obs, ~first & False)
    remembered = agent._memory.state
    assert forgotten is not None
    assert remembered is not None
    for part in range(2):
        torch.testing.assert_close(forgotten[part][:, 0], alone[part][:, 0])
        assert not torch.equal(remembered[part][:, 0], alone[part][:, 0])
        assert torch.equal(forgotten[part][:, 1:], remembered[part][:, 1:])


def test_learning_sees_the_states_that_acting_had() -> None:
    _, env, agent = made(entropy_coef=0.0, rollout_steps=8, epochs=2)
    gaps: list[Tensor] = []
    for tick in run(env, agent, EpisodeStatistics(env.num_envs), 0, 500):
        if tick.metrics is not None:
            gaps.append(tick.metrics["train/first_ratio_gap"])
    # The first minibatch of a rollout has the policy that acted, whatever rollouts cut apart.
    assert len(gaps) > 5
    assert max(gaps) < 1e-5


def test_saved_in_a_rollout_loaded_and_continued_equals_never_stopped() -> None:
    short = {"rollout_steps": 8}  # 64 rows of 8 environments
    _, env, never_stopped = made(**short)
    returns_of(env, never_stopped, 300)
    _, first_env, first = made(**short)
    statistics = EpisodeStatistics(first_env.num_envs)
    *_, tick = run(first_env, first, statistics, 0, 150)
    file = io.BytesIO()
    torch.save({"agent": first.state_dict(), "env": first_env.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    assert 0 < len(saved["agent"]["collector"]["rollout"]["fields"]["valid"]) < 8
    _, second_env, second = made(**short)
    second.load_state_dict(saved["agent"])
    second_env.load_state_dict(saved["env"])
    for _ in run(second_env, second, statistics, tick.agent_steps, 300):
        pass
    for ours, theirs in zip(
        second.network.state_dict().values(),
        never_stopped.network.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_a_frozen_policy_has_a_memory_of_its_own_for_as_many_environments_as_come() -> None:
    _, env, agent = made()
    returns_of(env, agent, 300)
    before = agent._memory.state
    policy = agent.policy(0.0, np.random.default_rng(0))
    policy.act(env.obs[:3], np.ones(3, np.bool_))
    assert agent._memory.state is before
