"""MinAtar's ten ids, their aliases and the suite."""

import pytest

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.envs.make import canonical_name, is_atari, is_minatar, suite_members
from wnrl.envs.minatar.names import GAMES, minatar_names


@pytest.mark.parametrize("name", minatar_names())
def test_each_of_the_ten_ids_is_its_own_name(name: str) -> None:
    assert canonical_name(name) == name
    assert is_minatar(name)
    assert not is_atari(name)


def test_the_ten_ids_are_those_of_the_package() -> None:
    # Written out: the package's register_envs() makes them of these names.
    games = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
    assert set(minatar_names()) == {f"MinAtar/{game}-v{v}" for game in games for v in (0, 1)}


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("minatar/breakout", "MinAtar/Breakout-v1"),
        ("MINATAR/Breakout-v0", "MinAtar/Breakout-v0"),
        ("MinAtar/space_invaders", "MinAtar/SpaceInvaders-v1"),
        ("minatar/spaceinvaders-V0", "MinAtar/SpaceInvaders-v0"),
    ],
)
def test_case_and_underscores_do_not_matter_and_the_version_is_1(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MinAtar/Brekout-v1", "MinAtar/Breakout-v1"),
        ("MinAtar/Breakout-v2", "MinAtar/Breakout-v1"),
        ("minatar/pong", "MinAtar/"),
        ("minatr", "minatar"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"unknown environment '{name}'; did you mean .*{hint}"):
        canonical_name(name)


def test_the_suite_stands_for_the_five_games_but_not_in_a_run() -> None:
    assert suite_members("minatar") == tuple(f"MinAtar/{game}-v1" for game in GAMES)
    assert suite_members("MinAtar") == suite_members("minatar")
    assert suite_members("Breakout") == ("Breakout",)
    with pytest.raises(
        UsageError, match=r"'minatar' is a suite of 5 games for wnrl\.compare; name"
    ):
        make_config(env="minatar")


def test_pqn_has_purejaxqls_settings_for_minatar() -> None:
    config = make_config(env="minatar/asterix", agent="pqn")
    agent = config.agent
    assert (config.run.steps, agent.num_envs, agent.rollout_steps) == (10_000_000, 128, 32)
    assert (agent.epochs, agent.minibatches, agent.q_lambda) == (2, 32, 0.65)
    assert (agent.learning_rate, agent.learning_rate_decay) == (5e-4, True)
    assert (agent.epsilon_start, agent.epsilon_end, agent.epsilon_steps) == (1.0, 0.05, 0)
    assert (agent.max_grad_norm, agent.gamma, agent.optimizer) == (10.0, 0.99, "radam")
    assert not agent.clip_rewards


def test_dqn_has_young_and_tians_settings_for_minatar() -> None:
    config = make_config(env="minatar/asterix", agent="dqn")
    agent = config.agent
    assert (config.run.steps, agent.num_envs) == (5_000_000, 1)
    assert (agent.optimizer, agent.learning_rate, agent.optimizer_eps) == ("rmsprop", 2.5e-4, 0.01)
    assert dict(agent.optimizer_fields) == {"alpha": 0.95, "centered": True}
    assert (agent.batch_size, agent.buffer_size, agent.warmup_steps) == (32, 100_000, 5_000)
    assert (agent.update_period_steps, agent.target_period_steps) == (1, 1_000)
    assert (agent.epsilon_end, agent.epsilon_steps, agent.loss) == (0.1, 100_000, "huber")
    assert not agent.clip_rewards


@pytest.mark.parametrize("agent", ["dqn", "pqn", "a2c", "ppo"])
def test_settings_for_minatar_are_defaults_and_not_part_of_a_runs_name(agent: str) -> None:
    config = make_config(env="minatar/freeway", agent=agent)
    assert config.name == f"{agent}-weight"
    assert {"hidden", "width", "protocol"} <= config.without_effect
    assert make_config(env="minatar/freeway", agent=agent, gamma=0.9).name.endswith("gamma=0.9")
