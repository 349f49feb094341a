"""DQN's bookkeeping on hand numbers, and that it learns."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import AFTER, BEFORE
from torch import Tensor, nn

from wnrl.agents.dqn import DQN, DQNConfig
from wnrl.agents.learner import Learner
from wnrl.agents.policies import epsilon_greedy
from wnrl.config import make_config
from wnrl.envs.vector import EpisodeStatistics, Step
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.transition_values import (
    Values,
    joint_batch,
    mixed_batches,
    own_batches,
    separate_batches,
)
from wnrl.optim.step import OptimizerSpec
from wnrl.rl.replay import Batch, Replay
from wnrl.rl.schedules import linear
from wnrl.train import command
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import run

CPU = torch.device("cpu")


class Table(nn.Module):
    """Action values by observation: a row of a table per integer state."""

    def __init__(self, values: list[list[float]]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, obs: Tensor) -> Tensor:
        return self.values[obs[:, 0].long()]


def agent(**changes: Any) -> DQN:
    config = dataclasses.replace(
        DQNConfig(
            num_envs=2,
            warmup_steps=6,
            update_period_steps=4,
            target_period_steps=10,
            batch_size=2,
            epsilon_end=0.1,
        ),
        **changes,
    )
    network = Table([[0.0, 0.0, 0.0]] * 4)
    optimizer = OptimizerSpec(learning_rate=0.5).build([{"params": list(network.parameters())}])
    replay = Replay(100, 2, (1,), "float32", 1, config.n_step, np.random.default_rng(0))
    return DQN(
        Learner(network, optimizer),
        replay,
        config,
        num_actions=3,
        values=separate_batches,
        epsilon=lambda step: linear(step, 1.0, 0.1, 20),
        generator=np.random.default_rng(0),
    )


def step_of(**changes: Any) -> Step:
    no = np.zeros(2, np.bool_)
    return Step(
        action=np.zeros(2, np.int64),
        reward=np.zeros(2, np.float32),
        terminated=no,
        truncated=no,
        life_lost=no,
        first=no,
        obs=np.zeros((2, 1), np.float32),
    )._replace(**changes)


def go(learner: DQN, first: bool = False, **changes: Any) -> dict[str, Tensor] | None:
    learner.act(np.zeros((2, 1), np.float32), np.full(2, first))
    metrics = learner.update()
    learner.observe(step_of(**changes))
    return metrics


@pytest.mark.parametrize(
    ("ending", "discount"),
    [
        ({}, 0.99),
        ({"terminated": True}, 0.0),
        ({"life_lost": True}, 0.0),
        ({"truncated": True}, 0.99),
    ],
)
def test_only_an_end_of_play_discounts_by_zero(ending: dict[str, bool], discount: float) -> None:
    learner = agent()
    go(learner, first=True, **{name: np.array([flag, False]) for name, flag in ending.items()})
    (rows,) = learner.replay.rows(0, 1)
    assert rows.discount[0].tolist() == pytest.approx([discount, 0.99])
    assert rows.valid[0].tolist() == [True, True]


def test_an_action_on_a_final_observation_is_no_transition_and_no_step() -> None:
    learner = agent()
    go(learner, first=True, terminated=np.array([True, False]))
    learner.act(np.zeros((2, 1), np.float32), np.array([False, False]))
    learner.observe(step_of(first=np.array([True, False]), reward=np.array([0, 1], np.float32)))
    (rows,) = learner.replay.rows(1, 2)
    assert rows.valid[0].tolist() == [False, True]
    assert learner.state_dict()["agent_steps"] == 3


@pytest.mark.parametrize(("clip", "stored"), [(True, [1.0, -1.0]), (False, [7.0, -3.0])])
def test_rewards_are_clipped_in_the_learner_alone(clip: bool, stored: list[float]) -> None:
    learner = agent(clip_rewards=clip)
    reward = np.array([7.0, -3.0], np.float32)
    go(learner, first=True, reward=reward)
    assert learner.replay.rows(0, 1)[0].reward[0].tolist() == stored
    assert reward.tolist() == [7.0, -3.0]


def test_one_update_is_due_per_period_after_the_warm_up() -> None:
    learner = agent()  # 2 environments: 2 agent steps a time; warm-up 6, period 4
    updates = []
    for k in range(9):
        go(learner, first=k == 0)
        updates.append(learner.state_dict()["updates"])
    # update() sees 0 2 4 6 8 10 12 14 16 agent steps
    assert updates == [0, 0, 0, 0, 0, 1, 1, 2, 2]


def test_several_updates_that_are_due_at_once_are_all_done() -> None:
    learner = agent(update_period_steps=1)
    for k in range(5):
        go(learner, first=k == 0)
    assert learner.state_dict()["updates"] == 2  # update() saw 8 steps, 6 of them warm-up


def test_the_target_is_copied_when_a_period_is_over_and_not_between() -> None:
    learner = agent()
    copied = []
    for k in range(11):
        go(learner, first=k == 0, reward=np.ones(2, np.float32))
        state = learner.state_dict()
        copied.append(torch.equal(state["network"]["values"], state["target"]["values"]))
    # The first update is at 10 agent steps (k = 5), where the copy falls due as well; the next
    # updates are at 14 (k = 7) and 18, and the next copy at 20 (k = 10).
    assert copied == [True] * 7 + [False] * 3 + [True]


def test_epsilon_at_its_start_middle_and_end() -> None:
    learner = agent()
    seen = {}
    for k in range(12):
        seen[2 * k] = learner.epsilon
        go(learner, first=k == 0)
    assert seen[4] == 1.0  # still in the warm-up
    assert seen[10] == pytest.approx(0.55)
    assert seen[20] == pytest.approx(0.1)
    assert seen[22] == pytest.approx(0.1)


def test_epsilon_is_the_share_of_random_actions() -> None:
    network = Table([[0.0, 1.0, 0.0]])
    obs = torch.zeros(4_000, 1)
    for epsilon, share in ((0.0, 1.0), (0.3, 0.8), (1.0, 1 / 3)):
        actions = epsilon_greedy(network, obs, epsilon, 3, np.random.default_rng(1))
        assert np.mean(actions == 1) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("values", [separate_batches, own_batches, mixed_batches, joint_batch])
@pytest.mark.parametrize(("double", "value"), [(False, 20), (True, 10)])
def test_double_q_learning_lets_the_online_network_choose(
    values: Values, double: bool, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = agent(double=double, loss="mse")
    learner._values = values
    with torch.no_grad():
        learner.network.values[:2, :2] = torch.tensor([[1.0, 2.0], [5.0, 3.0]])  # type: ignore[index]
        learner._target.network.values[1, :2] = torch.tensor([10.0, 20.0])  # type: ignore[index]
    s = torch.tensor([[0.0]])
    batch = Batch(s, torch.tensor([1]), torch.tensor([0.5]), torch.tensor([0.9]), s + 1)
    monkeypatch.setattr(learner.replay, "sample", lambda size, out: batch)
    metrics = learner._learn(1)
    assert metrics["train/td_error_abs"].item() == pytest.approx(0.5 + 0.9 * value - 2)
    assert metrics["train/loss"].item() == pytest.approx(0.5 * (0.5 + 0.9 * value - 2) ** 2)


def test_a_frozen_policy_does_not_follow_the_learner() -> None:
    learner = agent()
    policy = learner.policy(0.0, np.random.default_rng(0))
    with torch.no_grad():
        learner.network.values[:, 2] = 1.0  # type: ignore[operator,index,union-attr]
    obs = np.zeros((2, 1), np.float32)
    assert policy.act(obs, np.zeros(2, np.bool_)).tolist() == [0, 0]
    assert learner.policy(0.0, np.random.default_rng(0)).act(
        obs, np.zeros(2, np.bool_)
    ).tolist() == [2, 2]


def _walk(norm: str, seed: int, steps: int, **changes: Any) -> tuple[DQN, list[float]]:
    changes = {"update_period_steps": 4, **changes}
    config = make_config(env="toy/Catch", norm=norm, seed=seed, steps=steps, **changes)
    env = build_env(resolve(config))
    learner = build_agent(resolve(config), env, build_network(resolve(config), env)[0], CPU)
    env.reset()
    returns: list[float] = []
    for tick in run(env, learner, EpisodeStatistics(env.num_envs), 0, steps):
        returns += [episode.raw_return for episode in tick.episodes]
    return learner, returns


# Enough for a toy, in a second. At the end no action is random.
CATCH = {
    "warmup_steps": 200,
    "epsilon_steps": 600,
    "epsilon_end": 0.0,
    "target_period_steps": 100,
}
# One of each kind in the quick tests; `test_every_normalization_learns_numbers` has them all.
QUICK_NORMS = ("none", "weight", "batch", "layer", "group", "spectral", "nap")
PARAMETERS = [
    pytest.param(norm, {}, marks=() if norm in QUICK_NORMS else pytest.mark.slow) for norm in NORMS
]
PARAMETERS += [
    pytest.param(
        "batch", {"norm.statistics": each}, marks=() if each == "joint" else pytest.mark.slow
    )
    for each in ("joint", "target", "mixed")
]


@pytest.mark.usefixtures("small_catch")
@pytest.mark.parametrize(("norm", "parameters"), PARAMETERS)
def test_it_learns_to_catch(norm: str, parameters: dict[str, Any], learning_seed: int) -> None:
    _, returns = _walk(norm, learning_seed, 1_200, **CATCH, **parameters)
    assert np.mean(returns[:50]) < BEFORE
    assert np.mean(returns[-50:]) > AFTER


def test_a_seed_repeats_exactly_and_another_does_not() -> None:
    def weights(seed: int) -> bytes:
        learner, _ = _walk("weight", seed, 700)
        assert learner.state_dict()["updates"] > 40
        return b"".join(x.numpy().tobytes() for x in learner.network.state_dict().values())

    first, again, other = map(weights, (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("norm", ["weight", "l0"])
def test_saved_loaded_and_continued_equals_never_stopped(norm: str) -> None:
    never_stopped, _ = _walk(norm, 3, 900)
    config = make_config(env="toy/Catch", norm=norm, seed=3, steps=900, update_period_steps=4)
    env = build_env(resolve(config))
    first = build_agent(resolve(config), env, build_network(resolve(config), env)[0], CPU)
    env.reset()
    *_, tick = run(env, first, EpisodeStatistics(env.num_envs), 0, 700)
    parts = resolve(config)
    env_again = build_env(parts)
    second = build_agent(
        resolve(config), env_again, build_network(resolve(config), env_again)[0], CPU
    )
    second.load_state_dict(first.state_dict())
    env_again.load_state_dict(env.state_dict())
    restore_rows(first.replay, second.replay)
    for _ in run(env_again, second, EpisodeStatistics(env.num_envs), tick.agent_steps, 900):
        pass
    for ours, theirs in zip(
        second.network.state_dict().values(),
        never_stopped.network.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def restore_rows(source: Replay, destination: Replay) -> None:
    import io

    file = io.BytesIO()
    with source.hold_rows(source.oldest_row, source.total_rows) as held:
        held.write(file)
    file.seek(0)
    destination.read_rows(file, source.oldest_row, source.total_rows)


def test_every_small_choice_can_be_made() -> None:
    choices: list[dict[str, Any]] = [
        {"optimizer": "adamax", "beta1": 0.5},
        {"optimizer": "rmsprop"},
        {"dueling": True, "double": False, "n_step": 1},
        {"loss": "mse", "max_grad_norm": 0.0},
        {"weight_storage": "gv"},
        {"v_norm": "paper"},
    ]
    check: Callable[[DQN], bool] = lambda learner: all(  # noqa: E731
        bool(x.isfinite().all()) for x in learner.network.state_dict().values()
    )
    for choice in choices:
        learner, _ = _walk("weight", 1, 700, **choice)
        assert learner.state_dict()["updates"] > 0
        assert check(learner)


@pytest.mark.slow
def test_it_solves_cartpole_in_15_000_steps(tmp_path: Path, learning_seed: int) -> None:
    run_dir = tmp_path / "run"
    arguments = [
        "--env=CartPole-v1",
        "--steps=15_000",
        f"--seed={learning_seed}",
        "--eval-every-steps=0",
    ]
    assert command.main([*arguments, f"--run-dir={run_dir}"]) == 0
    with (run_dir / "episodes.csv").open() as file:
        returns = [float(row["raw_return"]) for row in csv.DictReader(file)]
    assert np.mean(returns[-20:]) >= 195
