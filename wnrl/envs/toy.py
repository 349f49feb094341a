"""Two tiny environments for quick tests, all N copies at once in NumPy.

`Corridor` encodes where each frame belongs, so that a test can check every transition of a replay
or a loop. `Catch` is learnt in seconds. Episode k of environment n depends on (seed, n, k) alone.

Dimension key: N environments.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from wnrl.envs.turns import Turns, check_actions, check_num_envs
from wnrl.envs.vector import Actions, Flags, Observations, ObservationSpec, Step, VectorEnv
from wnrl.seeding import integer_seed

Integers = npt.NDArray[np.int64]


class _Outcome(NamedTuple):
    """What a step brings; read only where the environment really stepped."""

    reward: npt.NDArray[np.float32]  # (N,)
    terminated: Flags  # (N,)
    truncated: Flags  # (N,)
    life_lost: Flags  # (N,)


class _Toy(ABC):
    """The rows of `wnrl.envs.vector`; a subclass says how episodes begin, go on and look."""

    def __init__(
        self, num_envs: int, seed: int, num_actions: int, observation: ObservationSpec
    ) -> None:
        self.num_envs = check_num_envs(num_envs)
        self.num_actions = num_actions
        self.observation = observation
        self._seed = seed
        self._turns = Turns()
        self._episode: Integers = np.zeros(num_envs, np.int64)
        self._t: Integers = np.zeros(num_envs, np.int64)  # actions used in the newest episode
        self._first = np.ones(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)
        self._obs: Observations = np.zeros((num_envs, *observation.shape), observation.dtype)
        self._sent: Actions = np.zeros(num_envs, np.int64)

    @property
    def obs(self) -> Observations:
        """(N, *shape) The newest observations."""
        self._turns.look_at_newest("obs")
        return self._obs

    @property
    def first(self) -> Flags:
        """(N,) Whether each newest observation is its episode's first."""
        self._turns.look_at_newest("first")
        return self._first.copy()

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction."""
        self._turns.start()
        everywhere = np.ones(self.num_envs, np.bool_)
        self._episode = np.zeros(self.num_envs, np.int64)
        self._t = np.zeros(self.num_envs, np.int64)
        self._sent = np.zeros(self.num_envs, np.int64)
        self._begin(everywhere)
        self._first = everywhere
        self._ended = ~everywhere
        self._obs = self._look()

    def send(self, actions: Actions) -> None:
        """Keep actions (N,) in [0, num_actions) for `recv`."""
        sent = check_actions(actions, self.num_envs, self.num_actions)
        self._turns.send()
        self._sent = sent

    def recv(self) -> Step:
        """Step every environment, or begin its next episode where the last one has ended."""
        self._turns.receive()
        first = self._ended
        self._episode = self._episode + first
        self._t = np.where(first, 0, self._t + 1)
        self._begin(first)
        outcome = self._advance()
        self._first = first
        self._ended = (outcome.terminated | outcome.truncated) & ~first
        self._obs = self._look()
        return Step(
            action=self._sent,
            reward=np.where(first, np.float32(0.0), outcome.reward),
            terminated=outcome.terminated & ~first,
            truncated=outcome.truncated & ~first,
            life_lost=outcome.life_lost & ~first,
            first=first.copy(),
            obs=self._obs.copy(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Every array that moves, as tensors."""
        self._turns.look("state_dict()")
        state = {name: torch.from_numpy(array).clone() for name, array in self._moving().items()}
        return {"identity": self._identity(), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue. ValueError if the state is of another toy, seed or number of environments."""
        if state["identity"] != self._identity():
            raise ValueError(
                f"the state is of {state['identity']}, this environment is {self._identity()}"
            )
        self._turns.start()
        for name, array in self._moving().items():
            array[...] = state[name].numpy()

    def close(self) -> None:
        """Refuse further steps. Harmless when repeated."""
        self._turns.close()

    def _identity(self) -> dict[str, Any]:
        return {"toy": type(self).__name__, "num_envs": self.num_envs, "seed": self._seed}

    def _moving(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the state, by name."""
        return {
            "episode": self._episode,
            "t": self._t,
            "first": self._first,
            "ended": self._ended,
            "obs": self._obs,
        }

    def _look(self) -> Observations:
        """The newest observations: frames, pushed onto the stack where there is one."""
        frames = self._frames()
        if self.observation.stack == 1:
            return frames
        older = self._obs[:, 1:].copy()
        older[self._first] = 0
        return np.concatenate([older, frames[:, None]], axis=1).astype(np.uint8)

    @abstractmethod
    def _begin(self, which: Flags) -> None:
        """Draw the newest episode of the environments in `which` (N,)."""

    @abstractmethod
    def _advance(self) -> _Outcome:
        """Use the sent actions, which `_t` counts already; rows at `_t` 0 are not read."""

    @abstractmethod
    def _frames(self) -> Observations:
        """(N, *frame_shape) What the environments look like now."""


class Corridor(_Toy):
    """Walks of scheduled length whose every frame says where it belongs. Nothing is random.

    The frame (10, 10) holds, in its first row: 255, the environment, the episode, the actions used
    in it so far, 1 + the last action (0 at an episode's first); each modulo 256. The rest is 0, and
    so is a whole frame before the episode's first. The reward is 10 t + action, where t counts the
    action.
    """

    def __init__(self, num_envs: int, seed: int) -> None:
        super().__init__(num_envs, seed, 3, ObservationSpec((4, 10, 10), "uint8", 4))

    @staticmethod
    def length_steps(env: int | Integers, episode: int | Integers) -> Any:
        """Actions in an episode: 3 to 7."""
        return 3 + (2 * env + 3 * episode) % 5

    @staticmethod
    def is_truncated(env: int | Integers, episode: int | Integers) -> Any:
        """Whether the episode ends at a time limit; the others end in a game over."""
        return (env + episode) % 3 == 2

    @staticmethod
    def loses_life(env: int | Integers, episode: int | Integers) -> Any:
        """Whether the episode's second action costs a life."""
        return (env + episode) % 2 == 1

    @staticmethod
    def place(frame: npt.NDArray[np.uint8]) -> tuple[int, int, int] | None:
        """(environment, episode, t) of a frame (10, 10); None before an episode's first frame."""
        if frame[0, 0] == 0:
            return None
        return int(frame[0, 1]), int(frame[0, 2]), int(frame[0, 3])

    def _begin(self, which: Flags) -> None:
        pass

    def _advance(self) -> _Outcome:
        env = np.arange(self.num_envs)
        over = self._t == self.length_steps(env, self._episode)
        truncated = self.is_truncated(env, self._episode)
        return _Outcome(
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


class Catch(_Toy):
    """A ball falls through 10 rows and 5 columns; be under it. Reward 1 or -1 at the ninth step.

    Actions: left, stay, right. Source: bsuite, environments/catch.py (Osband 2019, section 2).
    """

    ROWS, COLUMNS = 10, 5

    def __init__(self, num_envs: int, seed: int, *, pixels: bool = False) -> None:
        """Build the boards.

        Args:
            num_envs: N.
            seed: the run's seed; every ball's column derives from it.
            pixels: observe stacks (4, 10, 5) of uint8 frames with values 0 and 255 in place of a
                float32 vector (50,) of values 0 and 1.
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

    def _advance(self) -> _Outcome:
        moved = np.clip(self._paddle + self._sent - 1, 0, self.COLUMNS - 1)
        self._paddle[:] = np.where(self._t == 0, self._paddle, moved)
        landed = self._t == self.ROWS - 1
        caught = np.where(self._paddle == self._ball, 1.0, -1.0)
        nothing = np.zeros(self.num_envs, np.bool_)
        return _Outcome(np.where(landed, caught, 0.0).astype(np.float32), landed, nothing, nothing)

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


def _catch_pixels(num_envs: int, seed: int) -> VectorEnv:
    return Catch(num_envs, seed, pixels=True)


TOYS: dict[str, Callable[[int, int], VectorEnv]] = {
    "toy/Corridor": Corridor,
    "toy/Catch": Catch,
    "toy/CatchPixels": _catch_pixels,
}
