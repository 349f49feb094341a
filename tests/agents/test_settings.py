"""What follows from the hyperparameters of A2C, PQN and PPO."""

from typing import Any

import pytest
from agent_runs import ON_POLICY

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.config import make_config, replace
from wnrl.nn.norms.catalogue import NORMS


def settings_of(agent: str, **changes: Any) -> Any:
    return make_config({"env": "Breakout", "agent": agent, **changes}).agent


@pytest.mark.parametrize(
    ("agent", "changes", "message"),
    [
        (
            "ppo",
            {"minibatches": 5},
            "minibatches 5 does not divide the 1_024 rows of a rollout (num_envs x "
            "rollout_steps); 4 does",
        ),
        (
            "pqn",
            {"num_envs": 6, "rollout_steps": 5, "minibatches": 8},
            "minibatches 8 does not divide the 30 rows of a rollout (num_envs x "
            "rollout_steps); 6 does",
        ),
        (
            "ppo",
            {"num_envs": 2, "rollout_steps": 3, "minibatches": 50},
            "minibatches 50 does not divide the 6 rows of a rollout (num_envs x "
            "rollout_steps); 6 does",
        ),
        (
            "ppo",
            {"recurrent": True, "num_envs": 9, "rollout_steps": 64, "minibatches": 4},
            "minibatches 4 does not divide the 9 environments of a rollout (num_envs); 3 does",
        ),
    ],
)
def test_minibatches_that_do_not_divide_a_rollout_are_refused_with_what_does(
    agent: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        settings_of(agent, **changes)
    assert str(error.value) == message


def test_a_recurrent_ppo_has_one_torso() -> None:
    with pytest.raises(UsageError, match="leave out separate"):
        settings_of("ppo", recurrent=True, separate=True)


@pytest.mark.parametrize(
    ("agent", "per_rollout", "rows"), [("a2c", 1, 80), ("ppo", 16, 1_024), ("pqn", 64, 4_096)]
)
def test_updates_are_counted_in_whole_rollouts(agent: str, per_rollout: int, rows: int) -> None:
    settings = settings_of(agent)
    assert [settings.updates(n) for n in (0, rows - 1, rows, 2 * rows - 1, 10 * rows)] == [
        0,
        0,
        per_rollout,
        per_rollout,
        10 * per_rollout,
    ]


@pytest.mark.parametrize(("agent", "rows"), [("a2c", 80), ("ppo", 256), ("pqn", 128)])
def test_the_learning_batch_is_a_minibatch(agent: str, rows: int) -> None:
    assert settings_of(agent).learning_batch == rows


@pytest.mark.parametrize("kind", ["Breakout", "CartPole-v1"])
@pytest.mark.parametrize("agent", ON_POLICY)
def test_a_calibration_learns_from_minibatches_of_the_runs_size_as_often_per_step(
    agent: str, kind: str
) -> None:
    config = make_config(env=kind, agent=agent)
    run, trial = config.agent, replace(config, **config.agent.calibration()).agent
    assert trial.learning_batch == run.learning_batch
    steps = 20 * run.num_envs * run.rollout_steps
    assert trial.updates(steps) == run.updates(steps)
    assert trial.num_envs * trial.rollout_steps <= run.num_envs * run.rollout_steps


def test_a_calibration_of_whole_sequences_keeps_their_number() -> None:
    run = settings_of("ppo", recurrent=True)
    changes = run.calibration()
    assert set(changes) <= {"rollout_steps"}
    assert changes.get("rollout_steps", run.rollout_steps) <= run.rollout_steps


def test_pqn_calibrates_as_it_acts_at_last() -> None:
    assert settings_of("pqn").calibration()["epsilon_start"] == settings_of("pqn").epsilon_end


def test_pqns_preset_for_few_cores() -> None:
    fast = settings_of("pqn", preset="fast")
    assert (fast.num_envs, fast.rollout_steps, fast.epochs) == (16, 32, 4)
    assert fast.learning_batch == 64
    published = settings_of("pqn")
    assert (published.num_envs, published.rollout_steps, published.epochs) == (128, 32, 2)
    assert (published.learning_rate, published.q_lambda, published.max_grad_norm) == (
        2.5e-4,
        0.65,
        10.0,
    )
    assert settings_of("pqn", preset="fast", minibatches=16).learning_batch == 32


@pytest.mark.parametrize("agent", ["a2c", "ppo"])
def test_an_agent_without_a_preset_says_so(agent: str) -> None:
    with pytest.raises(UsageError, match=f"agent {agent} has no preset fast"):
        settings_of(agent, preset="fast")


@pytest.mark.parametrize(
    ("agent", "changes", "goes"),
    [
        ("a2c", {}, False),
        ("a2c", {"learning_rate_decay": True}, True),
        ("ppo", {}, True),
        ("ppo", {"learning_rate_decay": False}, True),
        ("ppo", {"learning_rate_decay": False, "clip_range_decay": False}, False),
        ("pqn", {}, True),
        ("pqn", {"epsilon_steps": 1_000}, False),
        ("pqn", {"epsilon_steps": 1_000, "learning_rate_decay": True}, True),
    ],
)
def test_a_run_is_named_by_its_schedule_where_something_goes_by_it(
    agent: str, changes: dict[str, Any], goes: bool
) -> None:
    assert settings_of(agent, **changes).depends_on_schedule is goes
    config = make_config({"agent": agent, "norm": "none", "schedule_steps": 777, **changes})
    assert ("schedule-steps=777" in config.name) is goes


@pytest.mark.parametrize("agent", AGENTS)
def test_defaults_for_vectors_are_settings_of_the_agent_and_learn_in_short_runs(agent: str) -> None:
    control = set(AGENTS[agent].control) - {"steps"}  # A2C's runs are longer
    assert control <= set(settings_of(agent).__dataclass_fields__)
    config = make_config(env="CartPole-v1", agent=agent)
    assert config.run.steps == (100_000 if agent == "a2c" else 50_000)
    assert config.agent.updates(config.run.steps) > 100
    assert config.agent.learning_batch >= max(norm.smallest_batch for norm in NORMS.values())
