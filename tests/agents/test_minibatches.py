"""Every row of a rollout is learnt from once in a pass, with what belongs to it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wnrl.agents.on_policy import Minibatch, shuffled_rows, shuffled_sequences
from wnrl.nn.networks.heads import PolicyValue
from wnrl.rl.rollout import RolloutBatch

T, N = 3, 4
STATE = (torch.arange(N).reshape(1, N, 1) + 50.0, torch.arange(N).reshape(1, N, 1) + 70.0)


def numbered() -> RolloutBatch:
    """Row k of environment n has 10 k + n in every field that can hold it."""
    number = 10 * torch.arange(T)[:, None] + torch.arange(N)  # (T, N)
    return RolloutBatch(
        obs=number[..., None].float(),
        first=number % 3 == 0,
        action=number,
        reward=number.float(),
        discount=number.float(),
        valid=number % 2 == 0,
        extras={"advantage": number.float()},
    )


def check_whole(rows: RolloutBatch) -> None:
    """Every field is of the same row."""
    number = rows.action
    assert torch.equal(rows.obs[:, 0], number.float())
    assert torch.equal(rows.first, number % 3 == 0)
    assert torch.equal(rows.reward, number.float())
    assert torch.equal(rows.discount, number.float())
    assert torch.equal(rows.valid, number % 2 == 0)
    assert torch.equal(rows.extras["advantage"], number.float())


class Double(nn.Module):
    """Twice the observation."""

    def forward(self, obs: Tensor) -> Tensor:
        return 2 * obs


def test_a_pass_over_rows_has_every_row_once() -> None:
    dealt = list(shuffled_rows(numbered(), None, 3, np.random.default_rng(0)).minibatches())
    assert [len(part.rows.action) for part in dealt] == [4, 4, 4]
    for part in dealt:
        check_whole(part.rows)
    order = torch.cat([part.rows.action for part in dealt]).tolist()
    assert sorted(order) == numbered().action.flatten().tolist()
    assert order != sorted(order)


def test_a_minibatch_of_rows_shows_a_network_its_own_observations() -> None:
    made = shuffled_rows(numbered(), None, 3, np.random.default_rng(0))
    for part in list(made.minibatches()):
        assert torch.equal(part.output(Double()), 2 * part.rows.obs)


class Echo(nn.Module):
    """Unrolls to what it was shown: observation + state, and whether it was a first."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named

    def unroll(self, obs: Tensor, first: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        assert obs.shape[:2] == first.shape
        assert obs.shape[0] == T
        h, c = state
        seen = torch.stack((obs[..., 0] + 100 * h[0, :, 0], obs[..., 0] + 100 * c[0, :, 0]), -1)
        return (PolicyValue(seen, first.float()) if self.named else seen), state


def dealt_sequences(seed: int) -> list[Minibatch]:
    dealt = shuffled_sequences(numbered(), STATE, 2, np.random.default_rng(seed))
    return list(dealt.minibatches())


def test_a_pass_over_sequences_keeps_environments_whole_and_in_time_order() -> None:
    dealt = dealt_sequences(0)
    envs: list[int] = []
    for part in dealt:
        check_whole(part.rows)
        number = part.rows.action.reshape(T, 2)
        assert torch.equal(number // 10, torch.arange(T)[:, None].expand(T, 2))
        assert torch.equal(number % 10, (number[0] % 10).expand(T, 2))
        envs += (number[0] % 10).tolist()
    assert sorted(envs) == list(range(N))
    assert any(
        [int(part.rows.action[0]) % 10 for part in dealt_sequences(seed)]
        != [int(part.rows.action[0]) % 10 for part in dealt]
        for seed in range(1, 5)
    )


@pytest.mark.parametrize("named", [False, True])
def test_a_sequence_is_unrolled_from_its_own_environments_state(named: bool) -> None:
    for part in dealt_sequences(0):
        output = part.output(Echo(named))
        seen = output.logits if named else output
        env = part.rows.action % 10
        assert torch.equal(seen[:, 0], part.rows.obs[:, 0] + 100 * (env + 50))
        assert torch.equal(seen[:, 1], part.rows.obs[:, 0] + 100 * (env + 70))
        if named:
            assert torch.equal(output.value.bool(), part.rows.first)


@pytest.mark.parametrize("deal", [shuffled_rows, shuffled_sequences])
def test_a_pass_knows_how_many_rows_each_minibatch_has(deal: Any) -> None:
    made = deal(numbered(), STATE, 2, np.random.default_rng(0))
    assert made.sizes() == [len(part.rows.action) for part in made.minibatches()] == [6, 6]


@pytest.mark.parametrize("deal", [shuffled_rows, shuffled_sequences])
def test_a_generator_deals_the_same_again_and_otherwise_in_the_next_pass(deal: Any) -> None:
    def order(generator: np.random.Generator) -> list[int]:
        parts = deal(numbered(), STATE, 2, generator).minibatches()
        return torch.cat([part.rows.action for part in parts]).tolist()

    generator = np.random.default_rng(3)
    first, second = order(generator), order(generator)
    assert first == order(np.random.default_rng(3))
    assert first != second
