"""Base of the tiny environments, which step all N copies at once in NumPy.

Episode k of environment n depends only on (seed, n, k).

Dimension key: N environments.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl._settings.later import Later
from wnrl.envs.call_order import CallOrder, SteppedEnv, check_identity, check_num_envs
from wnrl.envs.vector import Actions, Flags, Observations, ObservationSpec, Step

if TYPE_CHECKING:
    import torch
else:
    torch = Later("torch")

Integers = npt.NDArray[np.int64]


class Outcome(NamedTuple):
    """Result of a step; read only for environments that really stepped."""

    reward: npt.NDArray[np.float32]  # (N,)
    terminated: Flags  # (N,)
    truncated: Flags  # (N,)
    life_lost: Flags  # (N,)


class Toy(SteppedEnv, ABC):
    """A `VectorEnv` whose subclass says how episodes begin, advance and look."""

    def __init__(
        self, num_envs: int, seed: int, num_actions: int, observation: ObservationSpec
    ) -> None:
        self.num_envs = check_num_envs(num_envs)
        self.num_actions = num_actions
        self.observation = observation
        self._seed = seed
        self._order = CallOrder()
        self._episode: Integers = np.zeros(num_envs, np.int64)
        self._t: Integers = np.zeros(num_envs, np.int64)  # actions used in the newest episode
        self._first = np.ones(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)
        self._obs: Observations = np.zeros((num_envs, *observation.shape), observation.dtype)
        self._sent: Actions = np.zeros(num_envs, np.int64)

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction."""
        self._order.start()
        everywhere = np.ones(self.num_envs, np.bool_)
        self._episode = np.zeros(self.num_envs, np.int64)
        self._t = np.zeros(self.num_envs, np.int64)
        self._sent = np.zeros(self.num_envs, np.int64)
        self._begin(everywhere)
        self._first = everywhere
        self._ended = ~everywhere
        self._obs = self._look()

    def recv(self) -> Step:
        """Step every environment; begin the next episode of those whose last one has ended."""
        self._order.receive()
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
        """Return every array that changes, as tensors."""
        self._order.look("state_dict()")
        state = {name: torch.from_numpy(array).clone() for name, array in self._moving().items()}
        return {"identity": self._identity(), **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the arrays. ValueError if the state is of another toy, seed or N."""
        check_identity(state["identity"], self._identity())
        self._order.start()
        for name, array in self._moving().items():
            array[...] = state[name].numpy()

    def close(self) -> None:
        """Refuse further steps. Harmless when repeated."""
        self._order.close()

    def _identity(self) -> dict[str, Any]:
        return {"toy": type(self).__name__, "num_envs": self.num_envs, "seed": self._seed}

    def _moving(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of the state by name."""
        return {
            "episode": self._episode,
            "t": self._t,
            "first": self._first,
            "ended": self._ended,
            "obs": self._obs,
        }

    def _look(self) -> Observations:
        """Return the newest observations: frames, pushed onto the stack if there is one."""
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
    def _advance(self) -> Outcome:
        """Use the sent actions, which `_t` counts already; rows with `_t` 0 are not read."""

    @abstractmethod
    def _frames(self) -> Observations:
        """Return the current frames (N, *frame_shape)."""
