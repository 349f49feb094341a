"""A stochastic policy acts with its own probabilities."""

import numpy as np
import pytest
import torch
from agent_runs import CPU, ON_POLICY, built, configured, content, ticks
from torch import Tensor, nn

from wnrl.agents.policies import SampledPolicy, sample
from wnrl.agents.recurrence import NoMemory
from wnrl.nn.networks.heads import PolicyValue

DRAWS = 20_000
# Six standard deviations of a frequency: one false alarm in some hundred million tests.
SIGMAS = 6.0


def close_to(frequency: np.ndarray, probability: np.ndarray, draws: int) -> bool:
    deviation = np.sqrt(probability * (1 - probability) / draws)
    return bool((np.abs(frequency - probability) <= SIGMAS * deviation).all())


def frequencies(actions: np.ndarray, num_actions: int) -> np.ndarray:
    return np.bincount(actions, minlength=num_actions) / len(actions)


def test_actions_are_drawn_from_the_softmax_of_each_row() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0], [3.0, 3.0, 1.0, 100.0], [5.0, 5.0, 5.0, 5.0]])
    actions = sample(logits.repeat(DRAWS, 1), np.random.default_rng(0)).reshape(DRAWS, 3).numpy()
    for row in range(3):
        probability = logits[row].double().softmax(0).numpy()
        assert close_to(frequencies(actions[:, row], 4), probability, DRAWS)


def test_rows_are_drawn_apart_from_each_other() -> None:
    two = sample(torch.zeros(2 * DRAWS, 2), np.random.default_rng(0)).reshape(DRAWS, 2)
    same = float((two[:, 0] == two[:, 1]).double().mean())
    assert close_to(np.array([same]), np.array([0.5]), DRAWS)


def test_a_generator_draws_the_same_again_and_then_something_else() -> None:
    logits = torch.zeros(50, 3)
    generator = np.random.default_rng(1)
    first, second = sample(logits, generator), sample(logits, generator)
    assert torch.equal(first, sample(logits, np.random.default_rng(1)))
    assert not torch.equal(first, second)
    assert first.dtype == torch.int64


class Told(nn.Module):
    """Action 2 with near certainty; the value is the observation's first number."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, 0.0, 30.0]))

    def forward(self, obs: Tensor) -> PolicyValue:
        return PolicyValue(self.logits.expand(len(obs), 3), obs[:, 0])


def policy_of(epsilon: float) -> SampledPolicy:
    return SampledPolicy(Told(), NoMemory, epsilon, np.random.default_rng(0), CPU)


@pytest.mark.parametrize(
    ("epsilon", "probability"),
    [(0.0, [0.0, 0.0, 1.0]), (0.3, [0.1, 0.1, 0.8]), (1.0, [1 / 3, 1 / 3, 1 / 3])],
)
def test_epsilon_is_the_share_of_uniform_actions(epsilon: float, probability: list[float]) -> None:
    obs = np.zeros((DRAWS, 1), np.float32)
    actions = policy_of(epsilon).act(obs, np.zeros(DRAWS, np.bool_))
    assert close_to(frequencies(actions, 3), np.array(probability), DRAWS)


def test_values_are_of_what_was_acted_on_last() -> None:
    policy = policy_of(0.5)
    no = np.zeros(2, np.bool_)
    policy.act(np.array([[1.0], [2.0]], np.float32), no)
    obs = np.array([[3.0], [4.0]], np.float32)
    actions = policy.act(obs, no)
    assert policy.values(obs, actions).tolist() == [3.0, 4.0]
    with pytest.raises(AssertionError, match="newest observations"):
        policy.values(np.zeros((3, 1), np.float32), np.zeros(3, np.int64))


def test_its_memory_is_for_as_many_environments_as_come() -> None:
    asked: list[int] = []

    def remember(network: nn.Module, num_envs: int) -> NoMemory:
        asked.append(num_envs)
        return NoMemory(network, num_envs)

    policy = SampledPolicy(Told(), remember, 0.0, np.random.default_rng(0), CPU)
    for _ in range(2):
        policy.act(np.zeros((5, 1), np.float32), np.zeros(5, np.bool_))
    assert asked == [5]


@pytest.mark.parametrize("agent", ON_POLICY)
def test_an_agents_policy_is_frozen_and_takes_any_number_of_environments(agent: str) -> None:
    env, learner = built(configured(agent, learning_rate=0.05, norm="batch"))
    env.reset()
    obs = np.concatenate([env.obs] * 3)[: 2 * env.num_envs + 1]
    no = np.zeros(len(obs), np.bool_)
    frozen, twin = (learner.policy(0.0, np.random.default_rng(5)) for _ in range(2))
    before = content(learner)
    expected = [twin.act(obs, no) for _ in range(20)]
    predicted = twin.values(obs, expected[-1])
    for _ in ticks(env, learner, 0, 3 * env.num_envs * 32):
        pass
    assert content(learner) != before
    for actions in expected:
        assert np.array_equal(frozen.act(obs, no), actions)
    assert np.array_equal(frozen.values(obs, expected[-1]), predicted)
    now = learner.policy(0.0, np.random.default_rng(5))
    assert not np.array_equal(now.values(obs, now.act(obs, no)), predicted)
