"""Tiny environments for quick tests. The table of all of them is in `wnrl.envs.make`.

`Corridor` writes its place in the episode into each frame, so that a test can check every
transition of a replay or a loop. `Catch` is learnt in seconds. `Memory` is in
`wnrl.envs.toy_memory`.

Dimension key: N environments.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl.envs.seeding import integer_seed
from wnrl.envs.toy_base import Integers, Outcome, Toy
from wnrl.envs.vector import Flags, Observations, ObservationSpec, VectorEnv


class Corridor(Toy):
    """Walks of scheduled length. Every frame says where it belongs; nothing is random.

    The first row of a frame (10, 10) holds 255, the environment, the episode, the actions used in
    it so far, and 1 + the last action (0 at an episode's first frame), each modulo 256. All other
    pixels are 0, and so are the frames before an episode's first. The reward is 10 t + action,
    where t counts this action too.
    """

    def __init__(self, num_envs: int, seed: int) -> None:
        super().__init__(num_envs, seed, 3, ObservationSpec((4, 10, 10), "uint8", 4))

    @staticmethod
    def length_steps(env: int | Integers, episode: int | Integers) -> Any:
        """Return the actions in an episode: 3 to 7."""
        return 3 + (2 * env + 3 * episode) % 5

    @staticmethod
    def is_truncated(env: int | Integers, episode: int | Integers) -> Any:
        """Return whether the episode ends at a time limit; other episodes terminate."""
        return (env + episode) % 3 == 2

    @staticmethod
    def loses_life(env: int | Integers, episode: int | Integers) -> Any:
        """Return whether the episode's second action costs a life."""
        return (env + episode) % 2 == 1

    @staticmethod
    def place(frame: npt.NDArray[np.uint8]) -> tuple[int, int, int] | None:
        """Return (environment, episode, t) of a frame (10, 10), or None for an empty frame."""
        if frame[0, 0] == 0:
            return None
        return int(frame[0, 1]), int(frame[0, 2]), int(frame[0, 3])

    def _begin(self, which: Flags) -> None:
        pass

    def _advance(self) -> Outcome:
        env = np.arange(self.num_envs)
        over = self._t == self.length_steps(env, self._episode)
        truncated = self.is_truncated(env, self._episode)
        return Outcome(
            reward=(10 * self._t + self._sent).astype(np.float32),
            terminated=over & ~truncated,
            truncated=over & truncated,
            life_lost=(self._t == 2) & self.loses_life(env, self._episode),
        )

    def _frames(self) -> npt.NDArray[np.uint8]:
        frames = np.zeros((self.num_envs, 10, 10), np.uint8)
        frames[:, 0, 0] = 255
        frames[:, 0, 1] = np.arange(self.num_envs) % 256
        frames[:, 0, 2] = self._episode % 256
        frames[:, 0, 3] = self._t % 256
        frames[:, 0, 4] = np.where(self._first, 0, 1 + self._sent)
        return frames


class Catch(Toy):
    """Catch a ball that falls through 10 rows and 5 columns. The ninth step's reward is 1 or -1.

    Actions: left, stay, right. Source: bsuite, environments/catch.py (Osband 2019, section 2).
    """

    ROWS, COLUMNS = 10, 5

    def __init__(self, num_envs: int, seed: int, *, pixels: bool = False) -> None:
        """Build the boards.

        Args:
            num_envs: N.
            seed: the run's seed; every ball's column derives from it.
            pixels: observe stacks (4, 10, 5) of uint8 frames with values 0 and 255, instead of a
                float32 vector (50,) with values 0 and 1.
        """
        shape = (self.ROWS, self.COLUMNS)
        observation = (
            ObservationSpec((4, *shape), "uint8", 4)
            if pixels
            else ObservationSpec((self.ROWS * self.COLUMNS,), "float32", 1)
        )
        super().__init__(num_envs, seed, 3, observation)
        self._pixels = pixels
        self._ball = np.zeros(num_envs, np.int64)  # column
        self._paddle = np.zeros(num_envs, np.int64)  # column

    def _begin(self, which: Flags) -> None:
        for env in np.flatnonzero(which).tolist():
            episode = int(self._episode[env])
            self._ball[env] = integer_seed(self._seed, "environment", env, episode) % self.COLUMNS
            self._paddle[env] = self.COLUMNS // 2

    def _advance(self) -> Outcome:
        moved = np.clip(self._paddle + self._sent - 1, 0, self.COLUMNS - 1)
        self._paddle[:] = np.where(self._t == 0, self._paddle, moved)
        landed = self._t == self.ROWS - 1
        caught = np.where(self._paddle == self._ball, 1.0, -1.0)
        nothing = np.zeros(self.num_envs, np.bool_)
        return Outcome(np.where(landed, caught, 0.0).astype(np.float32), landed, nothing, nothing)

    def _frames(self) -> Observations:
        boards = np.zeros((self.num_envs, self.ROWS, self.COLUMNS), np.float32)
        env = np.arange(self.num_envs)
        boards[env, self._t, self._ball] = 1.0
        boards[env, self.ROWS - 1, self._paddle] = 1.0
        if self._pixels:
            return (255 * boards).astype(np.uint8)
        return boards.reshape(self.num_envs, -1)

    def _moving(self) -> dict[str, npt.NDArray[Any]]:
        return {**super()._moving(), "ball": self._ball, "paddle": self._paddle}

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "pixels": self._pixels}


def catch_pixels(num_envs: int, seed: int) -> VectorEnv:
    """Return `Catch` with images."""
    return Catch(num_envs, seed, pixels=True)
