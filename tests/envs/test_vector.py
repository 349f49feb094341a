"""Episode statistics on hand numbers, and what all environments have in common."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from wnrl.envs.make import make_env
from wnrl.envs.vector import Episode, EpisodeStatistics, ObservationSpec, Step, VectorEnv

NAMES = ["toy/Corridor", "toy/Catch", "toy/CatchPixels", "CartPole-v1", "Pong"]


def row(reward: list[float], *, end: str = "..", first: str = "..") -> Step:
    """One step of two environments; `end` holds t, c (cut) or b (both) where an episode ends."""
    flags = np.zeros(2, np.bool_)
    return Step(
        action=np.zeros(2, np.int64),
        reward=np.array(reward, np.float32),
        terminated=np.array([e in "tb" for e in end]),
        truncated=np.array([e in "cb" for e in end]),
        life_lost=flags,
        first=np.array([f == "f" for f in first]),
        obs=np.zeros((2, 1), np.float32),
    )


def test_an_episode_is_reported_with_its_raw_return_and_the_actions_that_were_used() -> None:
    statistics = EpisodeStatistics(2)
    assert statistics.update(row([5, 1])) == []
    assert statistics.update(row([7, 1], end="t.")) == [Episode(0, 12.0, 2, False)]
    assert statistics.update(row([0, 1], first="f.")) == []
    assert statistics.update(row([3, 1], end="ct")) == [
        Episode(0, 3.0, 1, True),
        Episode(1, 4.0, 4, False),
    ]


def test_the_row_of_a_first_observation_counts_neither_reward_nor_action() -> None:
    statistics = EpisodeStatistics(2)
    statistics.update(row([1, 0], end="t."))
    statistics.update(row([100, 0], first="f."))
    assert statistics.update(row([1, 0], end="t.")) == [Episode(0, 1.0, 1, False)]


def test_an_episode_that_is_over_and_cut_at_once_is_not_truncated() -> None:
    assert EpisodeStatistics(2).update(row([1, 0], end="b.")) == [Episode(0, 1.0, 1, False)]


def test_a_score_that_begins_again_at_a_million_is_counted_in_its_episode_alone() -> None:
    statistics, other = (EpisodeStatistics(2, six_digits=True) for _ in range(2))
    statistics.update(row([-999_900, 10]))
    other.load_state_dict(statistics.state_dict())
    assert other.update(row([-999_000, -800_000], end="tt")) == [
        Episode(0, -1_998_900.0, 2, False, 2),
        Episode(1, -799_990.0, 2, False, 0),
    ]
    other.update(row([-999_900, 0], first="f."))
    ended = other.update(row([5, -999_900], end="tc"))
    assert [episode.wraps for episode in ended] == [0, 1]
    statistics.load_state_dict({"returns": [0.0, 0.0], "lengths": [3, 3]})  # an early checkpoint
    assert statistics.cut(0).wraps == 0
    plain = EpisodeStatistics(2)
    assert plain.update(row([-999_900, 1], end="tt"))[0].wraps == 0  # not a game of Atari


def test_statistics_continue_after_a_round_trip() -> None:
    statistics, other = EpisodeStatistics(2), EpisodeStatistics(2)
    statistics.update(row([1, 2]))
    other.load_state_dict(statistics.state_dict())
    assert other.update(row([1, 2], end="tt")) == [
        Episode(0, 2.0, 2, False),
        Episode(1, 4.0, 2, False),
    ]


def test_the_frame_of_a_stack_is_without_the_stacks_axis() -> None:
    assert ObservationSpec((4, 84, 84), "uint8", 4).frame_shape == (84, 84)
    assert ObservationSpec((4,), "float32", 1).frame_shape == (4,)


@pytest.fixture(scope="module", params=NAMES)
def opened(request: pytest.FixtureRequest) -> Iterator[VectorEnv]:
    env = make_env(request.param, 2, seed=3, num_threads=1)
    yield env
    env.close()
    env.close()
    with pytest.raises(RuntimeError, match="closed"):
        env.send(np.zeros(2, np.int64))


def test_calls_out_of_turn_raise_in_place_of_hanging(opened: VectorEnv) -> None:
    fresh = make_env("toy/Catch", 2, seed=0)
    for call in (fresh.recv, fresh.state_dict, lambda: fresh.send(np.zeros(2, np.int64))):
        with pytest.raises(RuntimeError, match="comes first"):
            call()
    with pytest.raises(RuntimeError, match=r"obs out of turn: reset\(\)"):
        _ = fresh.obs
    opened.reset()
    with pytest.raises(RuntimeError, match=r"recv\(\) out of turn: send\(\) comes first"):
        opened.recv()
    opened.send(np.zeros(2, np.int64))
    for call in (opened.reset, opened.state_dict, lambda: opened.send(np.zeros(2, np.int64))):
        with pytest.raises(RuntimeError, match=r"recv\(\) comes first"):
            call()
    opened.recv()
    with pytest.raises(RuntimeError, match=r"send\(\) comes first"):
        opened.recv()


def test_bad_actions_are_refused_with_their_value_and_leave_the_environment_as_it_was(
    opened: VectorEnv,
) -> None:
    opened.reset()
    for actions, message in (
        (np.array([0, opened.num_actions]), f"got {opened.num_actions} for environment 1"),
        (np.array([-1, 0]), "got -1 for environment 0"),
        (np.array([0.0, 0.0]), "integer array, got float64"),
        (np.array([0, 0, 0]), r"shape \(2,\), got \(3,\)"),
        ([0, 0], "integer array, got list"),
    ):
        with pytest.raises(ValueError, match=message):
            opened.send(actions)  # type: ignore[arg-type] # the mistake under test
    opened.send(np.zeros(2, np.int64))
    opened.recv()


def test_steps_have_the_promised_shapes_and_types_and_stay_as_they_were(
    opened: VectorEnv,
) -> None:
    opened.reset()
    assert opened.first.all()
    opened.send(np.ones(2, np.int64))
    step = opened.recv()
    kept = [field.copy() for field in step]
    assert step.obs.shape == (2, *opened.observation.shape)
    assert step.obs.dtype == opened.observation.dtype
    assert np.array_equal(step.obs, opened.obs)
    assert step.action.dtype == np.int64
    assert step.reward.dtype == np.float32
    for flag in (step.terminated, step.truncated, step.life_lost, step.first):
        assert flag.dtype == np.bool_
        assert flag.shape == (2,)
    for _ in range(3):
        opened.send(np.ones(2, np.int64))
        opened.recv()
    state = opened.state_dict()
    opened.reset()
    opened.load_state_dict(state)
    assert all(np.array_equal(now, then) for now, then in zip(step, kept, strict=True))


def test_a_step_belongs_to_its_caller(opened: VectorEnv) -> None:
    opened.reset()
    opened.send(np.ones(2, np.int64))
    step = opened.recv()
    before = opened.obs.copy(), opened.first.copy()
    for field in step:
        field[...] = field == 0
    opened.first[...] = True
    assert np.array_equal(opened.obs, before[0])
    assert np.array_equal(opened.first, before[1])


def test_reset_starts_the_same_first_episodes_again(opened: VectorEnv) -> None:
    opened.reset()
    start = opened.obs.copy()
    for _ in range(5):
        opened.send(np.ones(2, np.int64))
        opened.recv()
    opened.reset()
    assert np.array_equal(opened.obs, start)


def test_a_state_survives_loading_with_weights_only(opened: VectorEnv, tmp_path: object) -> None:
    opened.reset()
    opened.send(np.ones(2, np.int64))
    opened.recv()
    torch.save(opened.state_dict(), f"{tmp_path}/state.pt")
    opened.load_state_dict(torch.load(f"{tmp_path}/state.pt", weights_only=True))


def test_a_state_of_another_seed_is_refused(opened: VectorEnv) -> None:
    opened.reset()
    state = opened.state_dict()
    state["identity"] = {**state["identity"], "seed": 4}
    with pytest.raises(ValueError, match="the state is of"):
        opened.load_state_dict(state)


@pytest.mark.parametrize("num_envs", [0, -1, 1.0, True])
def test_a_number_of_environments_that_is_no_positive_integer_is_refused(num_envs: int) -> None:
    for name in ("toy/Catch", "CartPole-v1", "Pong"):
        with pytest.raises(ValueError, match="num_envs must be a positive integer"):
            make_env(name, num_envs, seed=0)
