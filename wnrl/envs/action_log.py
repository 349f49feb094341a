"""The seed and actions from which an emulator reaches the same state again.

The emulator can be neither copied nor saved. So a log per environment records the seed of its last
seeded reset and every action since.

Dimension key: N environments, T steps.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl._settings.later import Later
from wnrl.envs.seeding import integer_seed
from wnrl.envs.vector import Actions, Flags

if TYPE_CHECKING:
    import torch
else:
    torch = Later("torch")

NOOP = 0  # the first of every game's actions


class ActionLog(NamedTuple):
    """The newest episode of one environment, ready to be played again."""

    seed: int  # seed of the emulator's last seeded reset
    actions: npt.NDArray[np.uint8]  # (T,) every action sent since
    start: int  # actions before the newest episode's first observation; 0: it began at the seed


class ActionLogs:
    """The logs of N environments.

    Args:
        num_envs: N.
        seed: the run's seed; each environment and each of its seeded resets derives its own.
    """

    def __init__(self, num_envs: int, seed: int) -> None:
        self._seed = seed
        self._seedings = [0] * num_envs  # seeded resets so far, except the first
        self._actions = [bytearray() for _ in range(num_envs)]
        self._starts = [0] * num_envs

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of actions (N,) in each log."""
        return np.array([len(actions) for actions in self._actions])

    def add(self, actions: Actions, first: Flags) -> None:
        """Log the actions (N,) of one step, and where they began an episode (N,)."""
        for env, action in enumerate(actions.tolist()):
            self._actions[env].append(action)
            if first[env]:
                self._starts[env] = len(self._actions[env])

    def restart(self, which: Flags) -> None:
        """Give the environments in `which` (N,) a new seed and an empty log."""
        for env in np.flatnonzero(which).tolist():
            self._seedings[env] += 1
            self._actions[env] = bytearray()
            self._starts[env] = 0

    def seeds(self, which: Flags) -> npt.NDArray[np.int64]:
        """Return the emulator seeds of the environments in `which` (N,), in order."""
        return np.array([self._emulator_seed(env) for env in np.flatnonzero(which).tolist()])

    def newest_episode(self, env: int) -> ActionLog:
        """Return the log of one environment."""
        actions = np.frombuffer(bytes(self._actions[env]), np.uint8)
        return ActionLog(self._emulator_seed(env), actions, self._starts[env])

    def schedule(self) -> tuple[Actions, npt.NDArray[np.int64]]:
        """Return how to play all logs so that they end at the same step.

        Returns:
            actions: (T, N) the actions of each step, NOOP before an environment's log begins.
            begins: (N,) the step before which each environment is reset from its seed.
        """
        lengths = self.lengths
        begins = lengths.max() - lengths
        actions = np.full((lengths.max(), len(lengths)), NOOP, np.int64)
        for env, log in enumerate(self._actions):
            actions[begins[env] :, env] = np.frombuffer(log, np.uint8)
        return actions, begins

    def state_dict(self) -> dict[str, Any]:
        """Return the logs: a few kilobytes per environment."""
        return {
            "seedings": list(self._seedings),
            "logs": [torch.tensor(list(log), dtype=torch.uint8) for log in self._actions],
            "starts": list(self._starts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the logs."""
        self._seedings = list(state["seedings"])
        self._actions = [bytearray(log.tolist()) for log in state["logs"]]
        self._starts = list(state["starts"])

    def _emulator_seed(self, env: int) -> int:
        return integer_seed(self._seed, "environment", env, self._seedings[env])
