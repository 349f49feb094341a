"""PQN's update on hand numbers, and its exploration."""

from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import built, configured, step_of, ticks
from torch import Tensor, nn

from wnrl.agents.learner import Learner
from wnrl.agents.pqn import EXTRAS, PQN, PQNConfig
from wnrl.optim.step import OptimizerSpec
from wnrl.rl.rollout import Rollout


class Table(nn.Module):
    """Action values by observation: a row of a table per integer state."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.tensor([[1.0, 3.0], [2.0, 4.0], [8.0, 0.0], [6.0, 2.0]]))

    def forward(self, obs: Tensor) -> Tensor:
        return self.q[obs[:, 0].long()]


def learner_of(minibatches: int = 1, epochs: int = 1, learning_rate: float = 1.0) -> PQN:
    network = Table()
    config = PQNConfig(
        num_envs=2,
        rollout_steps=2,
        epochs=epochs,
        minibatches=minibatches,
        gamma=0.5,
        q_lambda=0.5,
        clip_rewards=False,
    )
    spec = OptimizerSpec(name="adam", learning_rate=learning_rate)
    return PQN(
        Learner(network, spec.build([{"params": [network.q]}])),
        Rollout(2, 2, (1,), "float32", EXTRAS),
        config,
        num_actions=2,
        learning_rate=lambda step: learning_rate,
        epsilon=lambda step: 0.0,
        generator=np.random.default_rng(0),
    )


def flags(*values: int) -> np.ndarray:
    return np.array(values, np.bool_)


def states(*values: int) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


# Environment 0: state 0, action 0, reward 1; state 1, action 1, reward 2, game over.
# Environment 1: state 2, action 1, reward 0, time is up in state 3, the final observation.
#   G of row 1 of environment 0: 2.  Row 0: 1 + (4/2 + 2/2) / 2 = 2.5.  Environment 1: 6 / 2 = 3.
#   td: 2.5 - 1 = 1.5,  2 - 4 = -2,  3 - 0 = 3.
def filled(learner: PQN) -> PQN:
    assert learner.act(states(0, 2), flags(1, 1)).tolist() == [1, 0]  # greedy at epsilon 0
    learner.observe(
        step_of(
            2,
            action=np.array([0, 1]),
            reward=np.array([1, 0], np.float32),
            truncated=flags(0, 1),
            obs=states(1, 3),
        )
    )
    assert learner.update() is None
    assert learner.act(states(1, 3), flags(0, 0)).tolist() == [1, 0]
    learner.observe(
        step_of(
            2,
            action=np.array([1, 0]),
            reward=np.array([2, 0], np.float32),
            terminated=flags(1, 0),
            first=flags(0, 1),
            obs=states(0, 2),
        )
    )
    return learner


class Gradient:
    """Keeps the gradient of a table before each step."""

    def __init__(self, table: nn.Module) -> None:
        self._table = table
        self.seen: list[Tensor] = []

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Keep it."""
        (q,) = self._table.parameters()
        assert q.grad is not None
        self.seen.append(q.grad.clone())

    def after_step(self) -> None:
        """Nothing."""


def test_the_loss_and_its_gradient_are_those_of_hand_numbers() -> None:
    learner = learner_of()
    gradient = learner.learner.observer = Gradient(learner.network)
    metrics = filled(learner).update()
    assert metrics is not None
    assert float(metrics["train/loss"]) == pytest.approx(0.5 * (1.5**2 + 2**2 + 3**2) / 3)
    assert float(metrics["train/td_error_abs"]) == pytest.approx((1.5 + 2 + 3) / 3)
    (seen,) = gradient.seen
    # Of the actions that were sent, not of the greedy ones.
    expected = [[-0.5, 0.0], [0.0, 2 / 3], [0.0, -1.0], [0.0, 0.0]]
    assert torch.allclose(seen, torch.tensor(expected))
    assert float(metrics["train/grad_norm"]) == pytest.approx(float(seen.norm()))


def test_targets_stay_those_of_acting_through_all_epochs() -> None:
    learner = learner_of(epochs=200, learning_rate=0.1)
    filled(learner).update()
    q = learner.network.state_dict()["q"]
    # A target that moved with its value would leave state 0's return of 2.5 behind.
    assert float(q[0, 0]) == pytest.approx(2.5, abs=0.1)
    assert float(q[1, 1]) == pytest.approx(2.0, abs=0.1)
    assert float(q[2, 1]) == pytest.approx(3.0, abs=0.1)
    untouched = [q[0, 1], q[1, 0], q[2, 0], q[3, 0], q[3, 1]]
    assert [float(x) for x in untouched] == [3.0, 2.0, 8.0, 6.0, 2.0]


def test_a_minibatch_of_rows_that_are_not_valid_is_harmless() -> None:
    learner = learner_of(minibatches=4)
    gradient = learner.learner.observer = Gradient(learner.network)
    metrics = filled(learner).update()
    assert metrics is not None
    assert all(bool(x.isfinite()) for x in metrics.values())
    assert sum(not bool(seen.any()) for seen in gradient.seen) == 1


def test_epsilon_at_its_start_middle_and_end() -> None:
    changes: dict[str, Any] = {"num_envs": 4, "rollout_steps": 100, "minibatches": 1}
    schedule = {"epsilon_start": 0.9, "epsilon_end": 0.1, "epsilon_steps": 200}
    env, learner = built(configured("pqn", **changes, **schedule))
    env.reset()
    assert learner.epsilon == 0.9
    seen = {}
    for tick in ticks(env, learner, 0, 300):
        seen[tick.agent_steps] = learner.epsilon
        assert learner.scalars()["rollout/exploration_rate"] == learner.epsilon
    middle = min(seen, key=lambda step: abs(step - 100))
    assert seen[middle] == pytest.approx(0.9 - 0.8 * middle / 200)
    assert {epsilon for step, epsilon in seen.items() if step >= 200} == {0.1}


def test_without_a_length_epsilon_falls_over_a_tenth_of_the_schedule() -> None:
    changes: dict[str, Any] = {"num_envs": 4, "rollout_steps": 100, "minibatches": 1}
    schedule = {"epsilon_start": 1.0, "epsilon_end": 0.0, "epsilon_steps": 0, "steps": 2_000}
    env, learner = built(configured("pqn", **changes, **schedule))
    env.reset()
    for tick in ticks(env, learner, 0, 220):
        assert learner.epsilon == pytest.approx(max(0.0, 1 - tick.agent_steps / 200))


@pytest.mark.parametrize(("epsilon", "share"), [(0.0, 1.0), (0.3, 0.8), (1.0, 1 / 3)])
def test_epsilon_is_the_share_of_random_actions(epsilon: float, share: float) -> None:
    schedule = {"epsilon_start": epsilon, "epsilon_end": epsilon}
    env, learner = built(configured("pqn", num_envs=1_000, minibatches=1, **schedule))
    env.reset()
    with torch.no_grad():
        greedy = learner.network.eval()(torch.from_numpy(env.obs)).argmax(dim=1).numpy()
    agreed = np.mean([learner.act(env.obs, env.first) == greedy for _ in range(5)])
    assert agreed == pytest.approx(share, abs=0.04)  # six standard deviations of 5,000 draws
