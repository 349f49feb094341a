from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer

from wnrl.rl.returns import generalized_advantages, lambda_returns, n_step_return, td_target

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


# Four environments over four rows, lambda and gamma 0.5. In the columns: game over at row 1; the
# same row cut by a time limit; a life lost there; a last row that is a final observation. Rows that
# are not valid hold numbers that must not count, and so do values behind a discount of 0.
LAMBDA = 0.5
VALID = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0]]).bool()
R_T = torch.tensor([[8.0, 8, 8, 8], [32.0, 32, 32, 32], [7000.0, 7000, 4, 4], [64.0, 64, 64, 7000]])
DISCOUNT_T = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0, 0.5, 0, 0.5], [0.5] * 4, [0.5] * 4])
V_TM1 = torch.tensor(
    [[4.0, 4, 4, 4], [16.0, 16, 16, 16], [1000.0, 1000, 1000, 100], [2000.0, 2000, 40, 40]]
)
V_T = torch.cat([V_TM1[1:], torch.full((1, 4), 128.0)])
# Row 3: 64 + 0.5 * 128. Row 2: nothing; nothing; 4 + 0.5 (0.5 * 40 + 0.5 * 128); 4 + 0.5 * 40.
# Row 1: 32; 32 + 0.5 * 1000; 32; 32 + 0.5 (0.5 * 100 + 0.5 * 24).
# Row 0: 8 + 0.5 (0.5 * 16 + 0.5 * the number above).
RETURNS = torch.tensor(
    [[20, 145, 20, 27.75], [32, 532, 32, 63], [0, 0, 46, 24], [128.0, 128, 128, 0]]
)


def test_lambda_returns_stop_and_bootstrap_at_final_observations() -> None:
    returns = lambda_returns(R_T, DISCOUNT_T, V_T, VALID, LAMBDA)
    assert returns.tolist() == RETURNS.tolist()


def test_advantages_are_what_the_returns_are_above_the_values() -> None:
    advantages = generalized_advantages(R_T, DISCOUNT_T, V_TM1, V_T, VALID, LAMBDA)
    assert advantages[0].tolist() == [16, 141, 16, 23.75]
    assert advantages[1].tolist() == [16, 516, 16, 47]
    assert advantages[2].tolist() == [0, 0, -954, -76]
    assert advantages[3].tolist() == [-1872, -1872, 88, 0]


def test_what_is_not_valid_may_be_nan_and_stays_where_it_is() -> None:
    hidden = torch.where(VALID, 0.0, torch.nan)
    # The value after a final observation is that of another episode.
    advantages = generalized_advantages(
        R_T + hidden, DISCOUNT_T + hidden, V_TM1 + hidden, V_T + hidden, VALID, LAMBDA
    )
    assert torch.equal(advantages, torch.where(VALID, RETURNS - V_TM1, 0.0))


def test_a_single_row_is_a_one_step_target() -> None:
    one = torch.tensor([[3.0, 3.0]])
    returns = lambda_returns(
        one, one / 6, torch.tensor([[8.0, 8.0]]), torch.tensor([[True, False]]), 1.0
    )
    assert returns.tolist() == [[7.0, 0.0]]


class Table(NamedTuple):
    """Rows (T, N) of episodes that end in every way, and the values of all observations."""

    r_t: torch.Tensor
    discount_t: torch.Tensor
    v_tm1: torch.Tensor
    v_t: torch.Tensor
    valid: torch.Tensor
    truncated: torch.Tensor


def slow_return(table: Table, k: int, n: int, lambda_: float) -> float:
    """G_k by its definition."""
    r, d, v = (float(x[k, n]) for x in (table.r_t, table.discount_t, table.v_t))
    if k + 1 < len(table.valid) and table.valid[k + 1, n]:
        return r + d * ((1 - lambda_) * v + lambda_ * slow_return(table, k + 1, n, lambda_))
    return r + d * v


GAMMA = 0.9


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any table that environments can bring: final observations only behind an episode's end."""
    steps, envs = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    shape = (steps, envs)
    ends = draw(st.lists(st.sampled_from("....glt"), min_size=steps * envs, max_size=steps * envs))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    r_t, values = (
        torch.randn((steps + extra, envs), generator=generator, dtype=torch.float64)
        for extra in (0, 1)
    )
    valid = torch.ones(shape, dtype=torch.bool)
    discount_t = torch.full(shape, GAMMA, dtype=torch.float64)
    truncated = torch.zeros(shape, dtype=torch.bool)
    for n in range(envs):
        ended = draw(st.booleans())  # in the rollout before this one
        for k in range(steps):
            valid[k, n] = not ended
            end = ends[k * envs + n] if valid[k, n] else "."
            ended = end in "gt"
            truncated[k, n] = end == "t"
            if end in "gl" or not valid[k, n]:
                discount_t[k, n] = 0
    return Table(r_t, discount_t, values[:-1], values[1:], valid, truncated)


@settings(deadline=None)
@given(table=tables(), lambda_=st.floats(0, 1))
def test_lambda_returns_equal_their_slow_recursive_definition(table: Table, lambda_: float) -> None:
    returns = lambda_returns(table.r_t, table.discount_t, table.v_t, table.valid, lambda_)
    for k, n in product(*map(range, returns.shape)):
        expected = slow_return(table, k, n, lambda_) if table.valid[k, n] else 0.0
        assert returns[k, n].item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(deadline=None)
@given(table=tables())
def test_lambda_0_gives_one_step_targets(table: Table) -> None:
    r_t, discount_t, _, v_t, valid, _ = table
    returns = lambda_returns(r_t, discount_t, v_t, valid, 0.0)
    flat = td_target(r_t.flatten(), discount_t.flatten(), v_t.flatten()).view_as(r_t)
    torch.testing.assert_close(returns, flat * valid, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(table=tables())
def test_lambda_1_gives_discounted_sums_up_to_the_episodes_or_the_rollouts_end(
    table: Table,
) -> None:
    r_t, discount_t, _, v_t, valid, _ = table
    returns = lambda_returns(r_t, discount_t, v_t, valid, 1.0)
    for n in range(valid.shape[1]):
        for k in range(len(valid)):
            if not valid[k, n]:
                continue
            last = k
            while last + 1 < len(valid) and valid[last + 1, n]:
                last += 1
            rows = slice(k, last + 1)
            total, discount = n_step_return(r_t[None, rows, n], discount_t[None, rows, n])
            expected = total[0] + discount[0] * v_t[last, n]
            torch.testing.assert_close(returns[k, n], expected, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(table=tables(), lambda_=st.floats(0, 1))
def test_advantages_are_equation_16s_sum_of_td_errors(table: Table, lambda_: float) -> None:
    r_t, discount_t, v_tm1, v_t, valid, _ = table
    advantages = generalized_advantages(r_t, discount_t, v_tm1, v_t, valid, lambda_)
    delta = r_t + discount_t * v_t - v_tm1
    for k, n in product(*map(range, valid.shape)):
        expected, weight, at = 0.0, 1.0, k
        while at < len(valid) and valid[at, n]:
            expected += weight * float(delta[at, n])
            weight *= lambda_ * float(discount_t[at, n])
            at += 1
        assert advantages[k, n].item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


SB3_ROUNDING = 1e-5  # it computes in float32, numbers near 1, over at most 8 rows


@settings(deadline=None)
@given(table=tables(), lambda_=st.floats(0, 1))
def test_advantages_equal_stable_baselines3s_rollout_buffer(table: Table, lambda_: float) -> None:
    # SB3 has no row for a final observation: a done ends the sum, a lost life is a done, and where
    # time ran out gamma times the value of the final observation is part of the reward.
    r_t, discount_t, v_tm1, v_t, valid, truncated = table
    advantages = generalized_advantages(r_t, discount_t, v_tm1, v_t, valid, lambda_)
    done = truncated | (discount_t == 0)
    rewards = torch.where(truncated, r_t + GAMMA * v_t, r_t)
    space = Box(-1, 1, (1,), np.float32)
    for n in range(valid.shape[1]):
        rows = valid[:, n].nonzero().flatten().tolist()
        if not rows:
            continue
        buffer = RolloutBuffer(len(rows), space, Discrete(2), "cpu", lambda_, GAMMA, n_envs=1)
        begins = np.ones(1)
        for k in rows:
            value, log_prob = v_tm1[k, n].float().view(1), torch.zeros(1)
            reward = rewards[k, n].view(1).numpy()
            buffer.add(np.zeros((1, 1)), np.zeros((1, 1)), reward, begins, value, log_prob)
            begins = done[k, n].view(1).numpy().astype(float)
        after = v_t[rows[-1], n].float().view(1)
        buffer.compute_returns_and_advantage(after, begins)
        ours = advantages[rows, n].numpy()
        np.testing.assert_allclose(buffer.advantages[:, 0], ours, rtol=0, atol=SB3_ROUNDING)
        np.testing.assert_allclose(
            buffer.returns[:, 0], ours + v_tm1[rows, n].numpy(), rtol=0, atol=SB3_ROUNDING
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_returns_keep_their_type_and_precision(dtype: torch.dtype) -> None:
    arguments = [x.to(dtype) for x in (R_T, DISCOUNT_T, V_TM1, V_T)]
    advantages = generalized_advantages(*arguments, VALID, 0.95)
    assert advantages.dtype == dtype
    # 0.95 is another number in float32.
    assert float(advantages[2, 2]) == pytest.approx(
        4 + 0.5 * (0.05 * 40 + 0.95 * 128) - 1000, rel=torch.finfo(dtype).eps * 4
    )


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("r_t", R_T[0], ValueError),
        ("r_t", R_T[:, :1], ValueError),
        ("r_t", R_T.long(), TypeError),
        ("discount_t", DISCOUNT_T[:1], ValueError),
        ("discount_t", DISCOUNT_T.bool(), TypeError),
        ("v_t", V_T[..., None], ValueError),
        ("v_tm1", V_T[:, 0], ValueError),
        ("v_tm1", V_T.long(), TypeError),
        ("valid", VALID[:1], ValueError),
        ("valid", VALID.float(), TypeError),
        ("lambda_", 1.5, ValueError),
        ("lambda_", -0.1, ValueError),
        ("lambda_", float("nan"), ValueError),
    ],
)
def test_advantages_refuse_what_would_broadcast_or_cast(
    name: str, value: Any, error: type[Exception]
) -> None:
    arguments = {
        "r_t": R_T,
        "discount_t": DISCOUNT_T,
        "v_tm1": V_TM1,
        "v_t": V_T,
        "valid": VALID,
        "lambda_": LAMBDA,
    } | {name: value}
    with pytest.raises(error, match=r"must be|must lie"):
        generalized_advantages(**arguments)
    if name != "v_tm1":
        del arguments["v_tm1"]
        with pytest.raises(error, match=r"must be|must lie"):
            lambda_returns(**arguments)


def test_returns_of_no_row_are_refused() -> None:
    empty = torch.zeros(0, 3)
    with pytest.raises(ValueError, match="T >= 1"):
        lambda_returns(empty, empty, empty, empty.bool(), 0.5)
