import pytest
import torch

from wnrl.returns import n_step_return, td_target

REWARDS = torch.tensor([[1.0, 10.0, 100.0]])


def test_n_step_return_weighs_each_reward_by_the_discounts_before_it() -> None:
    # 1 + 0.5 * 10 + 0.5 * 0.25 * 100; the reward's own discount too would give 0.5 + 1.25 + 12.5 d
    total, discount = n_step_return(REWARDS, torch.tensor([[0.5, 0.25, 0.125]]))
    assert total.tolist() == [18.5]
    assert discount.tolist() == [0.015625]


def test_one_step_return_is_the_reward_and_its_discount() -> None:
    total, discount = n_step_return(REWARDS[:, :1], torch.tensor([[0.5]]))
    assert (total.tolist(), discount.tolist()) == ([1.0], [0.5])


def test_rewards_after_a_discount_of_zero_vanish_but_the_reward_with_it_counts() -> None:
    total, discount = n_step_return(REWARDS, torch.tensor([[0.5, 0.0, 0.5]]))
    assert (total.tolist(), discount.tolist()) == ([6.0], [0.0])


def test_a_step_with_reward_0_and_discount_1_changes_nothing() -> None:
    total, discount = n_step_return(
        torch.tensor([[1.0, 10.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.25, 1.0, 1.0]])
    )
    assert (total.tolist(), discount.tolist()) == ([6.0], [0.125])


def test_rows_of_a_batch_do_not_mix() -> None:
    total, discount = n_step_return(
        torch.tensor([[1.0, 2.0], [4.0, 8.0]]), torch.tensor([[0.5, 0.5], [0.25, 1.0]])
    )
    assert total.tolist() == [2.0, 6.0]
    assert discount.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("rewards", "discounts"),
    [
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(2, 0), torch.zeros(2, 0)),
        (torch.zeros(2, 3), torch.zeros(1, 3)),
        (torch.zeros(2, 3), torch.zeros(2, 2)),
        (torch.zeros(2, 3, 1), torch.zeros(2, 3, 1)),
    ],
)
def test_n_step_return_refuses_shapes_other_than_batch_and_steps(
    rewards: torch.Tensor, discounts: torch.Tensor
) -> None:
    with pytest.raises(ValueError, match=r"must both be \(B, n\)"):
        n_step_return(rewards, discounts)


def test_n_step_return_refuses_integer_rewards() -> None:
    with pytest.raises(TypeError, match=r"rewards must be floating point, not torch\.int64"):
        n_step_return(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3))


def test_td_target_is_reward_plus_discounted_value() -> None:
    target = td_target(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]), torch.tensor([8.0, 9.0]))
    assert target.tolist() == [5.0, 2.0]


def test_td_target_refuses_to_broadcast() -> None:
    with pytest.raises(ValueError, match=r"must all be \(B,\)"):
        td_target(torch.zeros(3), torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"must all be \(B,\)"):
        td_target(torch.zeros(3), torch.zeros(1), torch.zeros(3))
    with pytest.raises(TypeError, match="discount_t must be floating point"):
        td_target(torch.zeros(3), torch.zeros(3, dtype=torch.bool), torch.zeros(3))
