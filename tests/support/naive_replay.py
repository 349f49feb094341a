"""A replay in lists, one row at a time: the definition that both replays must equal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FRAME = (2, 3)
GAMMA = 0.5  # powers of two and small integers make float32 sums exact, so tests ask for equality
EVENTS = ("go", "go", "go", "life", "terminated", "truncated")
NaiveRow = tuple[npt.NDArray[Any], int, float, float, bool, bool]
NaiveTransition = tuple[npt.NDArray[Any], int, float, float, npt.NDArray[Any]]


class Episodes:
    """N environments that only count: frame, action and reward differ from row to row."""

    def __init__(
        self, num_envs: int, frame_shape: tuple[int, ...], dtype: str, first: bool = True
    ) -> None:
        self.num_envs, self.frame_shape, self.dtype = num_envs, frame_shape, dtype
        self.row = 0
        self.first = np.full(num_envs, first)
        self.final = np.zeros(num_envs, np.bool_)

    def next_row(self, events: Sequence[str]) -> tuple[npt.NDArray[Any], ...]:
        number = self.row * self.num_envs + np.arange(self.num_envs) + 1
        frame = np.empty((self.num_envs, *self.frame_shape), self.dtype)
        frame.T[...] = number % 251  # frames are not zero, as missing ones are
        reward = (number % 17 + 1).astype(np.float32)
        event = np.array(events)
        discount = np.where(np.isin(event, ["life", "terminated"]), 0, GAMMA).astype(np.float32)
        row = (frame, number % 7, reward, discount, self.first, ~self.final)
        ends = ~self.final & np.isin(event, ["terminated", "truncated"])
        self.first, self.final = self.final, ends
        self.row += 1
        return row


class NaiveReplay:
    """The definition in lists: every row ever added is examined one by one."""

    def __init__(self, rows: int, num_envs: int, stack: int, n_step: int) -> None:
        self.rows, self.stack, self.n_step = rows, stack, n_step
        self.history: list[list[NaiveRow]] = [[] for _ in range(num_envs)]

    def add(self, row: tuple[npt.NDArray[Any], ...]) -> None:
        for env, history in enumerate(self.history):
            frame, action, reward, discount, first, valid = (field[env] for field in row)
            history.append(
                (frame, int(action), float(reward), float(discount), bool(first), bool(valid))
            )

    def observation(self, row: int, env: int) -> npt.NDArray[Any] | None:
        history = self.history[env]
        oldest = max(0, len(history) - self.rows)
        frames: list[npt.NDArray[Any]] = []
        while len(frames) < self.stack:
            if row < oldest:
                return None
            frames.insert(0, history[row][0])
            if history[row][4]:
                break
            row -= 1
        while len(frames) < self.stack:
            frames.insert(0, np.zeros_like(frames[0]))
        return np.stack(frames) if self.stack > 1 else frames[0]

    def transition(self, row: int, env: int) -> NaiveTransition | None:
        history = self.history[env]
        s_tm1 = self.observation(row, env)
        if not history[row][5] or row + self.n_step > len(history) - 1 or s_tm1 is None:
            return None
        total, discount, at = 0.0, 1.0, row
        while at < row + self.n_step and (at == row or history[at][5]):
            total += discount * history[at][2]
            discount *= history[at][3]
            at += 1
        s_t = self.observation(at, env)
        assert s_t is not None
        return s_tm1, history[row][1], total, discount, s_t

    def eligible(self) -> dict[tuple[int, int], NaiveTransition]:
        transitions = {}
        for env, history in enumerate(self.history):
            for row in range(max(0, len(history) - self.rows), len(history)):
                transition = self.transition(row, env)
                if transition is not None:
                    transitions[row, env] = transition
        return transitions
