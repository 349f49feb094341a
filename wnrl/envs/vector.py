"""The interface of all environments: N copies stepped together, with next-step autoreset.

Dimension key: N environments.

Rows of one environment whose episode ends, in time order:

    obs_k            the agent acts                    first_k     = False
    obs_{k+1}        the final observation             first_{k+1} = False, terminated or truncated
    obs_{k+2}        the next episode's first          first_{k+2} = True; action_{k+1} was ignored

So the emulator does not use the action sent on a final observation. That action is no agent step,
and the pair (obs_{k+1}, obs_{k+2}) is no transition. A lost life does not end the episode or reset
the game.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Observations = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Actions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]  # (H, W, 3)


class ObservationSpec(NamedTuple):
    """Shape and type of one environment's observation.

    If `stack` is above 1, an observation is the `stack` newest frames along axis 0, oldest first,
    with zeros for frames before the episode's first. If `stack` is 1, an observation is one frame,
    and has a leading axis of length 1 only if `shape` says so.
    """

    shape: tuple[int, ...]  # shape of one observation, (4, 84, 84) on Atari, (4,) on CartPole
    dtype: str  # "uint8", which networks divide by 255, or "float32"
    stack: int  # frames along axis 0 that a replay may rebuild; 1: nothing is stacked
    source: str = ""  # what a user's environment gives, and what became of it, in a few words

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of what is new at each step: (84, 84) on Atari, (4,) on CartPole."""
        return self.shape[1:] if self.stack > 1 else self.shape


class Step(NamedTuple):
    """Result of one action in N environments. Fields are fresh arrays that the caller owns."""

    action: Actions  # (N,) as sent; not used by the emulator where `first`
    reward: npt.NDArray[np.float32]  # (N,) raw, never clipped; 0 where `first`
    terminated: Flags  # (N,) the game is over: nothing follows
    truncated: Flags  # (N,) the episode was cut at a time limit
    life_lost: Flags  # (N,) a life was lost, if the protocol reports it; the episode goes on
    first: Flags  # (N,) `obs` is an episode's first observation
    obs: Observations  # (N, *shape)


class Recording(NamedTuple):
    """The pictures of one episode, one for each observation, in order."""

    pictures: Iterable[Picture]
    steps_per_s: float  # agent steps shown in a second


class VectorEnv(Protocol):
    """N environments stepped together.

    `send` returns at once if the environment has its own threads; `recv` waits. Neither is called
    twice in a row. `state_dict` is taken with no send outstanding.
    """

    num_envs: int
    num_actions: int
    observation: ObservationSpec

    @property
    def obs(self) -> Observations:
        """The newest observations (N, *shape)."""
        ...

    @property
    def first(self) -> Flags:
        """Flags (N,): whether each newest observation is its episode's first."""
        ...

    def reset(self) -> None:
        """Start every environment's first episode, from the seed given at construction."""
        ...

    def send(self, actions: Actions) -> None:
        """Begin a step with actions (N,) in [0, num_actions). ValueError if any is not."""
        ...

    def recv(self) -> Step:
        """Finish the step begun by `send`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return a state of tensors and plain values, to continue from bit for bit."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken; replaces `reset`."""
        ...

    @property
    def records(self) -> bool:
        """Whether `recording` shows episodes as people see them."""
        ...

    def recording(self, env: int) -> Recording:
        """Return the newest episode of one environment, if `records`."""
        ...

    def close(self) -> None:
        """Release the emulators. Harmless when repeated."""
        ...


class Episode(NamedTuple):
    """A finished episode."""

    env: int
    raw_return: float  # sum of raw rewards
    length_steps: int  # agent steps: actions that the emulator used
    truncated: bool
    wraps: int = 0  # times that the game's score went from 999,999 to 0, which the return lacks


WRAP_REWARD = -900_000  # a reward at most this high is a score of six digits that began again


class EpisodeStatistics:
    """Raw returns and lengths, counted here because an emulator's own may be clipped or hidden."""

    def __init__(self, num_envs: int, *, six_digits: bool = False) -> None:
        """Begin every episode.

        Args:
            num_envs: N.
            six_digits: whether scores begin again after 999,999, as in Atari's games.
        """
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int64)
        self._wraps = np.zeros(num_envs, np.int64)
        self._wrap_reward = WRAP_REWARD if six_digits else -np.inf

    def update(self, step: Step) -> list[Episode]:
        """Count one step; return the episodes that it finished, in the order of environments."""
        used = ~step.first
        self._returns[used] += step.reward[used]
        self._lengths[used] += 1
        self._wraps[used] += step.reward[used] <= self._wrap_reward
        ended = np.flatnonzero(used & (step.terminated | step.truncated))
        episodes = [
            Episode(
                int(env),
                float(self._returns[env]),
                int(self._lengths[env]),
                bool(step.truncated[env] and not step.terminated[env]),
                int(self._wraps[env]),
            )
            for env in ended
        ]
        self._returns[ended] = 0.0
        self._lengths[ended] = 0
        self._wraps[ended] = 0
        return episodes

    def length_steps(self, env: int) -> int:
        """Agent steps so far in the running episode of one environment."""
        return int(self._lengths[env])

    def cut(self, env: int) -> Episode:
        """End the running episode of one environment now, as truncated."""
        wraps = int(self._wraps[env])
        episode = Episode(env, float(self._returns[env]), int(self._lengths[env]), True, wraps)
        self._returns[env] = 0.0
        self._lengths[env] = 0
        self._wraps[env] = 0
        return episode

    def state_dict(self) -> dict[str, Any]:
        """Return the running sums as lists of numbers."""
        sums = {"returns": self._returns, "lengths": self._lengths, "wraps": self._wraps}
        return {name: sum_.tolist() for name, sum_ in sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the running sums."""
        self._returns[:] = state["returns"]
        self._lengths[:] = state["lengths"]
        self._wraps[:] = state.get("wraps", 0)  # early checkpoints have none
