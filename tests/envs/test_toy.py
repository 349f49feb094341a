"""The toys keep the row semantics, on hand numbers, and resume exactly."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from wnrl.envs.make import TOYS
from wnrl.envs.toy import Catch, Corridor
from wnrl.envs.vector import Step, VectorEnv

LEFT, STAY, RIGHT = 0, 1, 2


def play(env: VectorEnv, actions: list[list[int]]) -> list[Step]:
    """One step per row of actions (N,)."""
    steps = []
    for row in actions:
        env.send(np.array(row))
        steps.append(env.recv())
    return steps


def test_corridor_follows_its_schedule() -> None:
    # env 0: episode 0 has 3 steps and a game over; episode 1 has 6 steps and loses a life
    # env 1: episode 0 has 5 steps and loses a life; episode 1 has 3 steps and is cut
    env = Corridor(2, seed=0)
    env.reset()
    steps = play(env, [[a % 3, (a + 1) % 3] for a in range(1, 11)])
    flat = [
        [
            (
                int(s.reward[n]),
                "tc"[int(s.truncated[n])] if s.terminated[n] | s.truncated[n] else "",
            )
            for s in steps
        ]
        for n in range(2)
    ]
    assert flat[0] == [
        *[(11, ""), (22, ""), (30, "t"), (0, "")],
        *[(12, ""), (20, ""), (31, ""), (42, ""), (50, ""), (61, "t")],
    ]
    assert flat[1] == [
        *[(12, ""), (20, ""), (31, ""), (42, ""), (50, "t"), (0, "")],
        *[(12, ""), (20, ""), (31, "c"), (0, "")],
    ]
    lost = [[t for t, s in enumerate(steps, 1) if s.life_lost[n]] for n in range(2)]
    assert lost == [[6], [2]]
    first = [[t for t, s in enumerate(steps, 1) if s.first[n]] for n in range(2)]
    assert first == [[4], [6, 10]]


def test_corridor_frames_say_where_they_belong() -> None:
    env = Corridor(2, seed=0)
    env.reset()
    places = [[Corridor.place(frame) for frame in env.obs[1]]]
    places += [[Corridor.place(f) for f in s.obs[1]] for s in play(env, [[0, 2]] * 8)]
    assert places[0] == [None, None, None, (1, 0, 0)]
    assert places[2] == [None, (1, 0, 0), (1, 0, 1), (1, 0, 2)]
    assert places[5] == [(1, 0, 2), (1, 0, 3), (1, 0, 4), (1, 0, 5)]
    assert places[6] == [None, None, None, (1, 1, 0)]  # no stack crosses an episode's border
    assert places[8] == [None, (1, 1, 0), (1, 1, 1), (1, 1, 2)]
    assert env.obs[1, -1, 0, 4] == 1 + 2
    assert env.obs[1, 1, 0, 4] == 0


def test_every_kind_of_end_and_a_lost_life_occur_within_fifty_steps() -> None:
    env = Corridor(3, seed=0)
    env.reset()
    steps = play(env, [[0, 1, 2]] * 50)
    for flags in zip(*((s.terminated, s.truncated, s.life_lost) for s in steps), strict=True):
        assert np.stack(flags).any(axis=0).all()
    assert not any((s.terminated & s.truncated).any() for s in steps)


@pytest.mark.parametrize("name", TOYS)
def test_after_an_end_comes_a_first_row_that_ignores_its_action(name: str) -> None:
    env = TOYS[name](2, 0)
    env.reset()
    steps = play(env, [[env.num_actions - 1, 0]] * 40)
    for before, after in pairwise(steps):
        assert np.array_equal(after.first, before.terminated | before.truncated)
        assert not after.reward[after.first].any()
        assert not (after.terminated | after.truncated | after.life_lost)[after.first].any()
    other = TOYS[name](2, 0)
    other.reset()
    for step in steps:
        other.send(np.where(step.first, 1, step.action))
        assert np.array_equal(other.recv().obs, step.obs)


def columns(board: np.ndarray) -> tuple[int, int]:
    """Column of the ball in the top row, and of the paddle in the bottom row."""
    grid = board.reshape(10, 5)
    return int(grid[0].argmax()), int(grid[9].argmax())


def test_catch_pays_one_to_the_paddle_under_the_ball_and_takes_one_otherwise() -> None:
    env = Catch(8, seed=1)
    env.reset()
    ball = np.array([columns(board)[0] for board in env.obs])
    assert all(columns(board)[1] == 2 for board in env.obs)
    for t in range(9):
        paddle = np.clip(2 + t * np.sign(ball - 2), np.minimum(ball, 2), np.maximum(ball, 2))
        move = 1 + np.sign(ball - paddle)
        move[0] = LEFT if ball[0] >= 2 else RIGHT  # env 0 flees
        env.send(move)
        step = env.recv()
        assert step.terminated.all() == (t == 8)
        assert step.reward.tolist() == ([0.0] * 8 if t < 8 else [-1.0] + [1.0] * 7)


def test_catch_drops_balls_in_every_column_and_other_seeds_drop_others() -> None:
    balls = []
    for seed in (0, 1):
        env = Catch(64, seed)
        env.reset()
        balls.append([columns(board)[0] for board in env.obs])
    assert set(balls[0]) == {0, 1, 2, 3, 4}
    assert balls[0] != balls[1]


def test_catch_in_pixels_is_the_same_board_stacked() -> None:
    board, pixels = Catch(3, seed=2), Catch(3, seed=2, pixels=True)
    board.reset()
    pixels.reset()
    assert (pixels.obs[:, :3] == 0).all()
    older = [pixels.obs[:, -1]]
    for _ in range(12):
        for env in (board, pixels):
            env.send(np.array([LEFT, STAY, RIGHT]))
        flat, stacked = board.recv(), pixels.recv()
        assert np.array_equal(stacked.obs[:, -1].reshape(3, 50), 255 * flat.obs.astype(np.uint8))
        older = [older[-1], stacked.obs[:, -1]]
        assert np.array_equal(stacked.obs[:, -2], np.where(stacked.first.any(), 0, older[0]))


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("until", range(9, 13))  # before, on and after Catch's final observation
def test_a_toy_continues_bit_for_bit(name: str, until: int) -> None:
    whole, saved = TOYS[name](3, 5), TOYS[name](3, 5)
    actions = np.random.default_rng(0).integers(0, whole.num_actions, (60, 3)).tolist()
    for env in (whole, saved):
        env.reset()
        play(env, actions[:until])
    state = saved.state_dict()
    play(saved, actions[:7])  # the state is a copy
    assert all(isinstance(v, torch.Tensor) for k, v in state.items() if k != "identity")
    resumed = TOYS[name](3, 5)
    resumed.load_state_dict(state)
    assert np.array_equal(resumed.obs, whole.obs)
    assert np.array_equal(resumed.first, whole.first)
    for a, b in zip(play(whole, actions[until:]), play(resumed, actions[until:]), strict=True):
        assert all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))
