"""Agents that are registered after the package was imported."""

import dataclasses
from collections.abc import Iterator

import pytest

from wnrl._settings import UsageError
from wnrl.agents import catalogue
from wnrl.agents.catalogue import AGENTS, register_agent
from wnrl.config import config_from_json, make_config
from wnrl.train.flags import parse_train_flags, train_parser


@pytest.fixture
def mine() -> Iterator[str]:
    record = dataclasses.replace(
        AGENTS["a2c"], name="mine", presets={"quick": {"rollout_steps": 3}}
    )
    register_agent(record)
    yield record.name
    del catalogue._AGENTS[record.name]


def test_an_agent_registered_later_is_known_by_name_with_its_presets(mine: str) -> None:
    config = make_config(env="CartPole-v1", agent=mine, preset="quick")
    assert config.agent.rollout_steps == 3  # type: ignore[attr-defined]  # of A2C
    assert config.name == "mine-weight-preset=quick"
    assert config_from_json(config.to_json()) == config
    given = ["--agent", mine, "--preset", "quick"]
    assert parse_train_flags(given)[1] == {"agent": mine, "preset": "quick"}
    shown = train_parser(mine).format_help()
    assert "{dqn,pqn,a2c,ppo,mine}" in shown
    assert "{none,nature,paper,fast,quick}" in shown


def test_a_name_is_registered_once(mine: str) -> None:
    with pytest.raises(UsageError, match="'mine' is taken or empty"):
        register_agent(AGENTS[mine])
    with pytest.raises(UsageError, match="preset quick: agent dqn has no preset quick"):
        make_config(agent="dqn", preset="quick")
