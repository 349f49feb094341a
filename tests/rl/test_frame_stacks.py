"""Stacks of frames on hand numbers: frames from before an episode's first are zeros."""

from contextlib import closing
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from wnrl.config import make_config
from wnrl.rl import frame_stacks
from wnrl.rl.frame_stacks import (
    DeviceFrames,
    HostFrames,
    NewestStacks,
    following_stacks,
    frames_for,
    gather_stacks,
    whole_stacks,
)
from wnrl.rl.row_store import Rows
from wnrl.train.build import build_env, resolve


def ring(frames: list[list[int]], firsts: list[list[int]]) -> Rows:
    """A ring (R, N) of frames with one pixel each."""
    frame = np.array(frames, np.uint8)[..., None]  # (R, N, 1)
    empty = np.zeros(frame.shape[:2], np.float32)
    return Rows(frame, empty, empty, empty, np.array(firsts, np.bool_), empty)


def stacks(rows: Rows, numbers: list[int], envs: list[int], stack: int) -> list[list[int]]:
    out = torch.full((len(numbers), stack, 1), 99, dtype=torch.uint8)
    gather_stacks(rows, np.array(numbers), np.array(envs), stack, out)
    stacked: list[list[int]] = out[..., 0].tolist()
    return stacked


def test_frames_before_the_episodes_first_are_zeros() -> None:
    rows = ring([[1], [2], [3], [4], [5], [6]], [[1], [0], [0], [1], [0], [0]])
    assert stacks(rows, [2, 3, 4, 5], [0] * 4, 3) == [[1, 2, 3], [0, 0, 4], [0, 4, 5], [4, 5, 6]]


def test_a_stack_wraps_around_the_ring_and_stays_in_its_environment() -> None:
    # 4 slots hold rows 4 to 7: slots 0 to 3 are rows 4, 5, 6, 7 of environments 0 and 1
    rows = ring([[40, 41], [50, 51], [60, 61], [70, 71]], [[0, 0], [0, 0], [0, 1], [0, 0]])
    assert stacks(rows, [7, 7, 8], [0, 1, 0], 2) == [[60, 70], [61, 71], [70, 40]]
    assert stacks(rows, [7, 7], [0, 1], 3) == [[50, 60, 70], [0, 61, 71]]


def test_a_single_frame_is_never_blackened() -> None:
    rows = ring([[1], [2]], [[1], [1]])
    assert stacks(rows, [0, 1], [0, 0], 1) == [[1], [2]]


def test_a_stack_is_whole_if_its_oldest_frame_or_its_episodes_first_is_held() -> None:
    # rows 2 to 5 are held, at slots 2, 3, 0, 1; row 3 is a first in environment 1 alone
    rows = ring([[0, 0]] * 4, [[0, 0], [0, 0], [0, 0], [0, 1]])
    held = np.array([2, 3, 4, 5])
    for env, expected in ((0, [False, False, True, True]), (1, [False, True, True, True])):
        envs = np.full(4, env)
        assert whole_stacks(rows, held, envs, 3, oldest_row=2).tolist() == expected
        assert whole_stacks(rows, held, envs, 1, oldest_row=2).all()


def test_a_first_between_makes_a_stack_whole() -> None:
    rows = ring([[0]] * 4, [[0], [0], [0], [1]])  # rows 3 to 6 are held, and row 3 is a first
    whole = whole_stacks(rows, np.array([3, 4]), np.zeros(2, np.int64), 3, oldest_row=3)
    assert whole.tolist() == [True, True]


def test_a_first_that_was_overwritten_makes_no_stack_whole() -> None:
    rows = ring([[0]] * 4, [[0], [1], [0], [0]])  # row 5 is a first, and its slot is row 1's too
    rows_held = np.array([2, 3])
    assert not whole_stacks(rows, rows_held, np.zeros(2, np.int64), 3, oldest_row=2).any()


@pytest.mark.parametrize(("spare", "kind"), [(0, DeviceFrames), (-1, HostFrames)])
def test_a_gpu_gets_a_copy_only_if_it_has_room(
    spare: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ring([[1], [2]], [[1], [1]])
    free_bytes = rows.frame.nbytes + frame_stacks.SPARE_BYTES + spare
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_bytes, 10**12))
    made: list[object] = []
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *x, device, **y: made.append(device) or zeros(*x))
    assert type(frames_for(rows, 1, torch.device("cuda"))) is kind
    assert made == ([torch.device("cuda")] if kind is DeviceFrames else [])


def test_a_gpu_whose_room_is_gone_gets_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run may take the room after it was seen."""

    def taken(*shape: object, **options: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(frame_stacks, "_has_room", lambda device, needed_bytes: True)
    monkeypatch.setattr(torch, "zeros", taken)
    assert type(frames_for(ring([[1]], [[1]]), 1, torch.device("cuda"))) is HostFrames


@pytest.mark.parametrize("is_cuda", [True, False])
def test_only_a_gpu_is_sent_pinned_memory(is_cuda: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned, copied = object(), []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned)
    out = SimpleNamespace(
        is_cuda=is_cuda, copy_=lambda source, non_blocking: copied.append((source, non_blocking))
    )
    array = np.array([1, 2])
    frame_stacks.put(array, cast(torch.Tensor, out))
    ((source, non_blocking),) = copied
    assert non_blocking
    assert (source is pinned) == is_cuda
    assert is_cuda or source.tolist() == [1, 2]


def test_without_a_gpu_the_rings_own_frames_are_read() -> None:
    assert type(frames_for(ring([[1]], [[1]]), 1, torch.device("cpu"))) is HostFrames


def test_stacks_follow_each_other_as_the_emulators_own_do() -> None:
    config = make_config({"env": "Breakout", "num_envs": 3, "max_episode_steps": 9, "threads": 1})
    generator, firsts = np.random.default_rng(0), 0
    with closing(build_env(resolve(config))) as env:
        env.reset()
        stacks = torch.from_numpy(env.obs.copy())
        for _ in range(60):
            env.send(generator.integers(env.num_actions, size=3))
            step = env.recv()
            stacks = following_stacks(stacks, step.obs[:, -1:], torch.from_numpy(step.first))
            np.testing.assert_array_equal(stacks, step.obs)
            firsts += int(step.first.sum())
    assert firsts >= 12
    assert len(np.unique(step.obs)) > 3


def test_a_device_gets_one_frame_after_the_observations_before_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = []

    def noted(stacks: torch.Tensor, frames: np.ndarray, first: torch.Tensor) -> torch.Tensor:
        followed.append((stacks, frames.shape, first))
        return torch.empty_like(stacks)

    monkeypatch.setattr(frame_stacks, "following_stacks", noted)
    newest = NewestStacks(4, torch.device("meta"))
    obs, first = np.zeros((2, 4, 6, 6), np.uint8), np.array([False, True])
    start, begins = newest.advance(obs, first)
    assert (begins.device.type, begins.shape) == ("meta", (2,))
    assert (start.device.type, followed) == ("meta", [])
    newest.peek(obs, first)
    second, _ = newest.advance(obs, first)
    newest.advance(obs, first)
    held = [stacks for stacks, *_ in followed]
    assert list(map(id, held)) == list(map(id, (start, start, second)))
    assert {shape for _, shape, _ in followed} == {(2, 1, 6, 6)}
    newest.forget()
    newest.advance(obs, first)
    single = NewestStacks(1, torch.device("meta"))
    for _ in range(2):
        assert single.advance(obs[:, 0], first)[0].shape == (2, 6, 6)
    assert len(followed) == 3


@pytest.mark.parametrize(("stack", "shape"), [(4, (2, 4, 6, 6)), (1, (2, 3))])
def test_a_cpu_takes_the_observations_as_they_are(stack: int, shape: tuple[int, ...]) -> None:
    newest = NewestStacks(stack, torch.device("cpu"))
    for _ in range(3):
        obs = np.ones(shape, np.float32)
        seen, _ = newest.advance(obs, np.zeros(2, np.bool_))
        obs[0] = 7
        assert seen[0].eq(7).all()  # the same memory
