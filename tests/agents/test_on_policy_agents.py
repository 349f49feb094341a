"""What A2C, PQN and PPO have in common, each asked as a whole on `toy/Catch`."""

import csv
import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import (
    AFTER,
    BEFORE,
    ON_POLICY,
    Watch,
    built,
    configured,
    content,
    ticks,
    until_learnt,
    walked,
)

from wnrl.agents.catalogue import AGENTS
from wnrl.envs.vector import Step, VectorEnv
from wnrl.nn.norms.catalogue import NORMS
from wnrl.nn.norms.layers.projection import Projected
from wnrl.rl.schedules import linear
from wnrl.train import command

# A rollout of 12 rows, in the middle of which episodes end.
SMALL: dict[str, dict[str, Any]] = {
    "a2c": {"num_envs": 3, "rollout_steps": 4},
    "pqn": {"num_envs": 3, "rollout_steps": 4, "epochs": 3, "minibatches": 2},
    "ppo": {"num_envs": 3, "rollout_steps": 4, "epochs": 3, "minibatches": 2},
}
UPDATES = {"a2c": 1, "pqn": 6, "ppo": 6}  # a rollout, with these
ROUNDING = 1e-5  # float32, a few operations on numbers of order 1
EVERY_NORM = [(agent, norm) for agent in ON_POLICY for norm in NORMS]


def test_these_are_all_agents_that_learn_from_rollouts() -> None:
    assert set(ON_POLICY) | {"dqn"} == set(AGENTS)


@pytest.mark.parametrize("agent", ON_POLICY)
def test_it_learns_when_its_rollout_is_full_as_often_as_it_says(agent: str) -> None:
    config = configured(agent, **SMALL[agent])
    env, learner = built(config)
    watch = learner.learner.observer = Watch(learner)
    env.reset()
    learnt = []
    for k, tick in enumerate(ticks(env, learner, 0, 90), start=1):
        assert (tick.metrics is not None) == (k % 4 == 0)
        assert len(watch.rows) == k // 4 * UPDATES[agent]
        if tick.metrics is not None:
            learnt.append(tick.metrics)
    assert len(learnt) > 5
    assert config.agent.updates(12) == UPDATES[agent]
    assert learner.scalars()["train/n_updates"] == len(watch.rows)
    assert set(watch.rows) == {config.agent.learning_batch}
    for metrics in learnt:
        assert all(name.startswith("train/") for name in metrics)
        assert all(x.shape == () and bool(x.isfinite()) for x in metrics.values())
    assert float(learnt[0]["train/loss"]) != float(learnt[-1]["train/loss"])


@pytest.mark.parametrize("agent", ON_POLICY)
def test_whoever_watches_is_told_before_and_after_each_step_and_changes_nothing(agent: str) -> None:
    env, learner = built(configured(agent, norm="weight", **SMALL[agent]))
    watch = learner.learner.observer = Watch(learner)
    env.reset()
    until_learnt(env, learner, 3)
    assert watch.calls == ["before", "after"] * (3 * UPDATES[agent])
    before, after = watch.weights[::2], watch.weights[1::2]
    assert all(b != a for b, a in zip(before, after, strict=True))
    assert after[:-1] == before[1:]  # nothing moves between two steps

    env, unobserved = built(configured(agent, norm="weight", **SMALL[agent]))
    env.reset()
    until_learnt(env, unobserved, 3)
    assert content(unobserved) == content(learner)


@pytest.mark.parametrize("agent", ON_POLICY)
def test_the_normalization_has_its_turn_after_each_step(agent: str) -> None:
    env, learner = built(configured(agent, norm="projection", learning_rate=0.05, **SMALL[agent]))
    env.reset()
    until_learnt(env, learner, 3)
    projected = [layer for layer in learner.network.modules() if isinstance(layer, Projected)]
    assert len(projected) >= 2
    for layer in projected:
        length = torch.linalg.vector_norm(layer.weight.detach(), dim=1)
        torch.testing.assert_close(length, torch.ones_like(length), rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("agent", ON_POLICY)
def test_the_learning_rate_falls_in_a_line_to_0_at_the_schedules_end(agent: str) -> None:
    changes = {**SMALL[agent], "learning_rate": 0.25, "learning_rate_decay": True}
    env, learner = built(configured(agent, steps=400, **changes))
    watch = learner.learner.observer = Watch(learner)
    env.reset()
    seen: dict[int, float] = {}
    for tick in ticks(env, learner, 0, 480):
        if tick.metrics is not None:
            seen[tick.agent_steps] = watch.rates[-1]
            assert set(watch.rates[-UPDATES[agent] :]) == {seen[tick.agent_steps]}
    start, middle, end = (min(seen, key=lambda n, to=to: abs(n - to)) for to in (12, 200, 400))
    assert seen[start] == pytest.approx(0.25 * (1 - start / 400))
    assert seen[middle] == pytest.approx(0.25 * (1 - middle / 400))
    assert seen[end] == pytest.approx(0.25 * max(0.0, 1 - end / 400))
    assert seen[max(seen)] == 0.0

    env, steady = built(configured(agent, steps=100, **{**changes, "learning_rate_decay": False}))
    watch = steady.learner.observer = Watch(steady)
    env.reset()
    until_learnt(env, steady, 12)
    assert set(watch.rates) == {0.25}
    assert linear(100, 0.25, 0.0, 100) == 0.0  # where it would have ended


def slow_returns(fields: dict[str, Any], last: torch.Tensor, lambda_: float) -> torch.Tensor:
    """Lambda-returns (T, N) by recursion over each environment's own rows; NaN where not valid."""
    reward, discount = fields["reward"].double(), fields["discount"].double()
    value, valid = fields["kept.value"].double(), fields["valid"]
    steps, num_envs = valid.shape

    def after(k: int, n: int) -> float:
        """The return from behind row k."""
        v = float(last[n]) if k + 1 == steps else float(value[k + 1, n])
        if k + 1 == steps or not valid[k + 1, n]:
            return v
        return (1 - lambda_) * v + lambda_ * whole(k + 1, n)

    def whole(k: int, n: int) -> float:
        return float(reward[k, n]) + float(discount[k, n]) * after(k, n)

    rows = [
        [whole(k, n) if valid[k, n] else float("nan") for n in range(num_envs)]
        for k in range(steps)
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["weight", "batch"])
@pytest.mark.parametrize("agent", ON_POLICY)
def test_it_learns_lambda_returns_of_its_values_at_the_time_of_acting(
    agent: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**SMALL[agent], "norm": norm, "learning_rate": 0.02, "gamma": 0.9}
    changes["q_lambda" if agent == "pqn" else "gae_lambda"] = 0.6
    env, learner = built(configured(agent, **changes))
    env.reset()
    module = importlib.import_module(f"wnrl.agents.{agent}")
    taken: list[dict[str, torch.Tensor]] = []

    def keeping(function: Any, of_result: bool) -> Any:
        def keep(*arguments: Any) -> Any:
            result = function(*arguments)
            rollout = result if of_result else arguments[0]
            if not taken:  # once a rollout
                taken.append({name: x.clone() for name, x in rollout.extras.items()})
            return result

        return keep

    name = "shuffled_rows" if agent == "pqn" else "with_advantages"
    monkeypatch.setattr(module, name, keeping(getattr(module, name), agent != "pqn"))

    def value_of(obs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            output = learner.network.eval()(obs)
        return output.amax(dim=1) if agent == "pqn" else output.value

    for _ in range(8):  # rollouts; an episode is 10 rows
        for _ in range(4):
            env.send(learner.act(env.obs, env.first))
            step = env.recv()
            learner.observe(step)
        fields = learner.state_dict()["collector"]["rollout"]["fields"]
        again = value_of(fields["obs"].flatten(0, 1)).reshape(4, 3)
        torch.testing.assert_close(fields["kept.value"], again, rtol=ROUNDING, atol=ROUNDING)
        expected = slow_returns(fields, value_of(torch.from_numpy(step.obs)), 0.6)
        taken.clear()
        assert learner.update() is not None
        (kept,) = taken
        valid = fields["valid"]
        torch.testing.assert_close(
            kept["return"][valid].double(), expected[valid], rtol=ROUNDING, atol=ROUNDING
        )
        if agent != "pqn":
            advantage = expected[valid] - fields["kept.value"][valid]
            torch.testing.assert_close(
                kept["advantage"][valid].double(), advantage, rtol=ROUNDING, atol=ROUNDING
            )


class Poisoned:
    """Environments that report nonsense where an action was not used."""

    def __init__(self, env: VectorEnv) -> None:
        self._env = env
        self.poisoned = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def recv(self) -> Step:
        step = self._env.recv()
        first = step.first
        self.poisoned += int(first.sum())
        return step._replace(
            reward=np.where(first, np.float32(1e6), step.reward),
            life_lost=np.where(first, True, step.life_lost),
            action=np.where(first, 2 - step.action, step.action),
        )


@pytest.mark.parametrize("agent", ON_POLICY)
def test_what_a_row_without_a_transition_reports_is_not_learnt(agent: str) -> None:
    changes = {**SMALL[agent], "clip_rewards": False, "learning_rate": 0.02}
    env, clean = built(configured(agent, **changes))
    env.reset()
    until_learnt(env, clean, 12)
    env, learner = built(configured(agent, **changes))
    poisoned = Poisoned(env)
    poisoned.reset()
    until_learnt(poisoned, learner, 12)
    assert poisoned.poisoned >= 9
    assert content(learner) == content(clean)


@pytest.mark.parametrize("agent", ON_POLICY)
def test_a_seed_repeats_exactly_and_another_does_not(agent: str) -> None:
    first, again, other = (
        content(walked(agent, 200, seed=seed, **SMALL[agent])[0]) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("norm", ["weight", "batch", "none"])
@pytest.mark.parametrize("agent", ON_POLICY)
def test_saved_in_the_middle_of_a_rollout_and_loaded_it_ends_as_one_never_stopped(
    agent: str, norm: str
) -> None:
    changes = {**SMALL[agent], "norm": norm, "steps": 300}
    whole, _ = walked(agent, 300, **changes)
    env, stopped = built(configured(agent, **changes))
    env.reset()
    for tick in ticks(env, stopped, 0, 300):
        if stopped.scalars()["train/n_updates"] and tick.metrics is None and tick.agent_steps > 150:
            break
    state = stopped.state_dict()
    assert 0 < len(state["collector"]["rollout"]["fields"]["valid"]) < 4
    file = io.BytesIO()
    torch.save({"agent": state, "env": env.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    env_again, loaded = built(configured(agent, **changes))
    env_again.load_state_dict(saved["env"])
    loaded.load_state_dict(saved["agent"])
    assert loaded.scalars() == stopped.scalars()
    for _ in ticks(env_again, loaded, tick.agent_steps, 300):
        pass
    assert content(loaded) == content(whole)
    assert loaded.scalars() == whole.scalars()


def _of_every_norm(agent: str, norm: str) -> dict[str, Any]:
    # 64 units are too few for the groups of a convolution's channels.
    groups = {"norm.groups": 8} if norm == "group" else {}
    return {**SMALL[agent], **groups, "norm": norm, "rollout_steps": 12}


@pytest.mark.parametrize(("agent", "norm"), EVERY_NORM)
def test_acting_changes_no_weight_and_no_buffer(agent: str, norm: str) -> None:
    env, learner = built(configured(agent, **_of_every_norm(agent, norm)))
    env.reset()
    before = content(learner)
    learner.network.train()  # as an update leaves it
    for _ in range(3):
        learner.act(env.obs, env.first)
    learner.policy(0.0, np.random.default_rng(0)).act(env.obs, env.first)
    assert content(learner) == before


@pytest.mark.parametrize(("agent", "norm"), EVERY_NORM)
def test_every_normalization_learns_numbers(agent: str, norm: str) -> None:
    env, learner = built(configured(agent, **_of_every_norm(agent, norm)))
    env.reset()
    before = content(learner)
    metrics = until_learnt(env, learner, 2)
    assert content(learner) != before
    for numbers in (*metrics, learner.network.state_dict()):
        assert all(bool(x.isfinite().all()) for x in numbers.values())


# Enough for a toy, in a second; the defaults for vectors are for CartPole.
CATCH: dict[str, dict[str, Any]] = {
    "a2c": {
        "learning_rate": 3e-3,
        "learning_rate_decay": False,
        "gamma": 0.99,
        "gae_lambda": 1.0,
        "hidden": 64,
        "separate": True,
    },
    "pqn": {"epsilon_end": 0.02, "epsilon_steps": 4_000},
    "ppo": {
        "epochs": 4,
        "minibatches": 4,
        "learning_rate": 3e-3,
        "gamma": 0.99,
        "gae_lambda": 0.95,
    },
}
CATCH_STEPS = {"a2c": 8_000, "pqn": 5_000, "ppo": 5_000}
# All of seeds 1 to 20 pass, for each agent and norm:
# pytest tests/agents/test_on_policy_agents.py -k to_catch -m "slow or not slow" --learning-seeds 20


@pytest.mark.usefixtures("small_catch")
@pytest.mark.parametrize("norm", ["weight", pytest.param("none", marks=pytest.mark.slow)])
@pytest.mark.parametrize("agent", ON_POLICY)
def test_it_learns_to_catch(agent: str, norm: str, learning_seed: int) -> None:
    steps = CATCH_STEPS[agent]
    _, returns = walked(agent, steps, norm=norm, steps=steps, seed=learning_seed, **CATCH[agent])
    assert np.mean(returns[:50]) < BEFORE
    assert np.mean(returns[-200:]) > AFTER


@pytest.mark.slow
@pytest.mark.parametrize("agent", ON_POLICY)
def test_its_defaults_solve_cartpole(tmp_path: Path, agent: str) -> None:
    run_dir = tmp_path / "run"
    arguments = ["--env=CartPole-v1", f"--agent={agent}", "--norm=weight", "--seed=1"]
    assert command.main([*arguments, "--eval-every-steps=0", f"--run-dir={run_dir}"]) == 0
    with (run_dir / "episodes.csv").open() as file:
        returns = [float(row["raw_return"]) for row in csv.DictReader(file)]
    assert np.mean(returns[-20:]) >= 195
