"""Predictions meet the returns that followed them, on hand tables and on a toy."""

import numpy as np
import pytest

from wnrl.agents.base import Policy, Predictions, ValuePolicy
from wnrl.envs.toy import Corridor
from wnrl.envs.vector import Actions, Flags, Observations, Step
from wnrl.instruments import value_error as value_gap
from wnrl.instruments.value_error import Gap, ValueGap, realised_returns
from wnrl.train import evaluation
from wnrl.train.evaluation import evaluate_policy


def table(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float64)


def test_returns_are_those_of_a_hand_table() -> None:
    # A life is lost at the second step, the game at the fourth.
    returns, known = realised_returns(table(1, 2, 4, 8), table(0.5, 0, 0.5, 0), cut=False)
    assert returns.tolist() == [2.0, 2.0, 8.0, 8.0]
    assert known.all()


def test_a_return_that_a_cut_leaves_incomplete_is_left_out() -> None:
    # The product of discounts up to the cut is 0.5 ** k: at most 0.01 from k = 7 on.
    returns, known = realised_returns(np.ones(8), np.full(8, 0.5), cut=True)
    assert known.tolist() == [True, True] + [False] * 6
    assert returns[0] == 2 - 0.5**7
    # A lost life ends the returns before it, whatever is cut behind it.
    _, known = realised_returns(np.ones(3), table(0.5, 0, 0.5), cut=True)
    assert known.tolist() == [True, True, False]
    _, known = realised_returns(np.ones(2), np.ones(2), cut=True)
    assert not known.any()  # without a discount a cut is never far enough


def test_rewards_and_discounts_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are \(2,\), discounts \(3,\)"):
        realised_returns(np.ones(2), np.ones(3), cut=False)


class Told:
    """Predicts what it was told, for one environment."""

    def __init__(self, *values: float) -> None:
        self._values = iter(values)

    def act(self, obs: Observations, first: Flags) -> Actions:
        return np.zeros(len(obs), np.int64)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        return np.full(len(obs), next(self._values), np.float32)


def step_of(reward: float, **flags: bool) -> Step:
    no = np.zeros(1, np.bool_)
    given = {name: np.array([flag]) for name, flag in flags.items()}
    step = Step(np.zeros(1, np.int64), np.array([reward], np.float32), no, no, no, no, no)
    return step._replace(**given)


OBS, ACTIONS = np.zeros((1, 1), np.float32), np.zeros(1, np.int64)


def test_the_gap_is_prediction_minus_clipped_discounted_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(value_gap, "PREDICT_EVERY_STEPS", 1)
    watch = ValueGap(Told(3.0, 1.0, 0.25, 9.0, 2.0), 1, 0.5, clip_rewards=True)
    for reward, flags in [(7.0, {}), (0.0, {"life_lost": True}), (-5.0, {"terminated": True})]:
        watch.acted(OBS, ACTIONS)
        watch.stepped(step_of(reward, **flags))
    watch.ended(0, cut=False)
    watch.acted(OBS, ACTIONS)
    watch.stepped(step_of(0.0, first=True))  # an action on a final observation: no state
    watch.acted(OBS, ACTIONS)
    watch.stepped(step_of(1.0))  # of an episode that did not end: does not count
    gap = watch.result()
    assert gap.predicted.tolist() == [3.0, 1.0, 0.25]
    assert gap.realised.tolist() == [1.0, 0.0, -1.0]
    # Gaps of 2, 1 and 1.25.
    assert gap.scalars() == pytest.approx(
        {
            "norm/value_gap": 4.25 / 3,
            "norm/value_gap_rms": (6.5625 / 3) ** 0.5,
            "norm/value_predicted": 4.25 / 3,
            "norm/value_realised": 0.0,
        }
    )


def test_every_fourth_step_is_predicted_and_every_reward_counts() -> None:
    watch = ValueGap(Told(1.0, 2.0), 1, 1.0, clip_rewards=False)
    for k in range(6):
        watch.acted(OBS, ACTIONS)
        watch.stepped(step_of(10.0**k, terminated=k == 5))
    watch.ended(0, cut=False)
    assert watch.result().realised.tolist() == [111_111.0, 110_000.0]


def test_a_return_beyond_float32_is_infinite_and_no_warning() -> None:
    watch = ValueGap(Told(1.0, 1.0, 1.0, 1.0), 1, 1.0, clip_rewards=False)
    for k in range(2):
        watch.acted(OBS, ACTIONS)
        watch.stepped(step_of(3e38, terminated=k == 1))
    watch.ended(0, cut=False)
    assert watch.result().realised.tolist() == [np.inf]


def test_no_state_gives_no_scalars() -> None:
    nothing = np.zeros(0, np.float32)
    assert Gap(nothing, nothing).scalars() == {}
    assert ValueGap(Told(), 2, 0.9, clip_rewards=True).result().scalars() == {}


GAMMA = 0.7  # 7 steps, the longest episode, are too few for a return that a cut does not matter to


class Oracle:
    """Always the first action; knows what the Corridor will bring."""

    def act(self, obs: Observations, first: Flags) -> Actions:
        return np.zeros(len(obs), np.int64)

    def values(self, obs: Observations, actions: Actions) -> Predictions:
        return np.array([self._value(frame) for frame in obs[:, -1]], np.float32)

    def _value(self, frame: np.ndarray) -> float:
        place = Corridor.place(frame)
        assert place is not None
        env, episode, t = place
        last = Corridor.length_steps(env, episode)
        if Corridor.loses_life(env, episode) and t < 2:
            last = 2
        return float(sum(10 * k * GAMMA ** (k - t - 1) for k in range(t + 1, last + 1)))


def test_who_knows_the_future_has_no_gap_in_any_state_whose_return_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(value_gap, "PREDICT_EVERY_STEPS", 1)
    env, policy = Corridor(3, seed=0), Oracle()
    watch = ValueGap(policy, 3, GAMMA, clip_rewards=False)
    played = evaluate_policy(env, policy, 8, values=watch)
    gap = watch.result()
    np.testing.assert_allclose(gap.predicted, gap.realised, rtol=1e-6)
    whole = sum(e.length_steps for e in played if not e.truncated)
    cut = [e for e in played if e.truncated]
    assert len(cut) > 0
    # Of an episode that was cut only the two states before a lost life are known.
    lost = sum(2 for k, e in _with_number(played) if e in cut and Corridor.loses_life(e.env, k))
    assert len(gap.predicted) == whole + lost


def _with_number(played: list) -> list:
    seen: dict[int, int] = {}
    numbered = []
    for episode in played:
        numbered.append((seen.get(episode.env, 0), episode))
        seen[episode.env] = seen.get(episode.env, 0) + 1
    return numbered


def test_an_episode_cut_at_the_cap_counts_where_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(value_gap, "PREDICT_EVERY_STEPS", 1)
    monkeypatch.setattr(evaluation, "MAX_EPISODE_STEPS", 5)
    policy = Oracle()
    watch = ValueGap(policy, 1, GAMMA, clip_rewards=False)
    evaluate_policy(Corridor(1, seed=0), policy, 9, values=watch)
    # Environment 0's first episode has 3 steps; its second loses a life at step 2 and is cut at 5.
    assert len(watch.result().predicted) == 3 + 2


def test_a_policy_without_predictions_is_told_from_one_with() -> None:
    class Still:
        def act(self, obs: Observations, first: Flags) -> Actions:
            return np.zeros(len(obs), np.int64)

    still: Policy = Still()
    assert not isinstance(still, ValuePolicy)
    assert isinstance(Told(), ValuePolicy)
