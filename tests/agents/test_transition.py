"""An end becomes a discount here alone."""

import numpy as np
from agent_runs import step_of

from wnrl.agents.transition import transition_of


def flags(*values: int) -> np.ndarray:
    return np.array(values, np.bool_)


def test_game_over_and_a_lost_life_discount_by_0_a_time_limit_and_nothing_by_gamma() -> None:
    step = step_of(
        6,
        terminated=flags(1, 0, 0, 0, 1, 0),
        life_lost=flags(0, 1, 0, 0, 0, 1),
        truncated=flags(0, 0, 1, 0, 1, 1),
    )
    discount = transition_of(step, 0.5, clip_rewards=True).discount
    assert discount.tolist() == [0.0, 0.0, 0.5, 0.5, 0.0, 0.0]
    assert discount.dtype == np.float32


def test_clipping_leaves_the_steps_own_reward_alone() -> None:
    reward = np.array([7.0, -3.0, 0.5], np.float32)
    step = step_of(3, reward=reward)
    assert transition_of(step, 0.5, clip_rewards=True).reward.tolist() == [1.0, -1.0, 0.5]
    assert transition_of(step, 0.5, clip_rewards=False).reward.tolist() == [7.0, -3.0, 0.5]
    assert step.reward.tolist() == [7.0, -3.0, 0.5]


def test_an_action_on_a_final_observation_is_not_valid() -> None:
    step = step_of(3, first=flags(0, 1, 0), terminated=flags(1, 0, 0))
    assert transition_of(step, 0.5, clip_rewards=True).valid.tolist() == [True, False, True]
