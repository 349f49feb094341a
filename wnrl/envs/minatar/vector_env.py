"""N copies of a MinAtar game, stepped by the package's own code: a `VectorEnv` of small images.

The games are Python objects, which step one after the other in this process (3 to 25 us a step).
All of their state is plain numbers, lists and grids, so it is saved and restored as it is.

Dimension key: N environments, C channels.
"""

import functools
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from wnrl._settings import SettingError, UsageError
from wnrl._settings.later import Later
from wnrl.envs.call_order import CallOrder, SteppedEnv, check_identity, check_num_envs
from wnrl.envs.minatar.names import GAMES, MinAtarGame
from wnrl.envs.registered.keywords import SETTING
from wnrl.envs.seeding import seed_sequence
from wnrl.envs.vector import ObservationSpec, Step

if TYPE_CHECKING:
    import torch
else:
    torch = Later("torch")

STICKY_ACTION_PROBABILITY = 0.1  # Young & Tian 2019, section 2; the package's default
NUM_ACTIONS = 6  # no-op, left, up, right, down, fire
# Attributes of a game that never change, or that this file sets.
_CONSTANT = frozenset({"channels", "action_map", "ramping", "random"})


@functools.cache
def game_class(module: str) -> Any:
    """Return the class of a game, from the package's file of that name.

    The package itself is not imported: it would import matplotlib's windows and seaborn, or warn on
    stderr that they are missing.

    Raises:
        UsageError: the package is not installed.
    """
    paths = (Path(entry) / "minatar" / "environments" / f"{module}.py" for entry in sys.path)
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise UsageError("MinAtar's games need the package MinAtar; pip install 'wnrl[minatar]'")
    spec = importlib.util.spec_from_file_location(f"minatar_{module}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.Env


class MinAtarEnvs(SteppedEnv):
    """N copies of a MinAtar game: observations (C, 10, 10) uint8, 255 where an object is.

    Actions are sticky: with probability 0.1, or another one that is given, the game repeats the
    last action that it used, over the end of an episode too, as in the package. Each copy has one
    stream of random numbers for all of its episodes. Freeway's 2,500 frames are a rule of the game,
    so its episodes terminate.
    """

    def __init__(
        self,
        game: MinAtarGame,
        num_envs: int,
        seed: int,
        *,
        sticky_action_prob: float = STICKY_ACTION_PROBABILITY,
        difficulty_ramping: bool = True,
    ) -> None:
        """Build the copies; call `reset` or `load_state_dict` next.

        Args:
            game: which game, with which actions.
            num_envs: N.
            seed: the run's seed; each copy's random numbers derive from it.
            sticky_action_prob: probability that the game repeats its last action.
            difficulty_ramping: whether games become harder as they go on, where they do at all.

        Raises:
            UsageError: the package MinAtar is not installed, or a keyword is out of range.
            ValueError: num_envs out of range.
        """
        self.num_envs = check_num_envs(num_envs)
        self._game = game
        self._seed = seed
        self._sticky = _probability("sticky_action_prob", sticky_action_prob)
        self._ramping = _switch("difficulty_ramping", difficulty_ramping)
        make = game_class(GAMES[game.game])
        self._games = [make(ramping=difficulty_ramping) for _ in range(num_envs)]
        rows, columns, channels = self._games[0].state_shape()
        self.observation = ObservationSpec((channels, rows, columns), "uint8", 1)
        minimal = self._games[0].minimal_action_set() if game.version else range(NUM_ACTIONS)
        self._action_set = np.array(minimal, np.int64)
        self.num_actions = len(self._action_set)
        self._order = CallOrder()
        self._streams = [np.random.PCG64() for _ in range(num_envs)]
        self._randoms = [np.random.RandomState(stream) for stream in self._streams]
        for env, random in zip(self._games, self._randoms, strict=True):
            env.random = random
        self._last_actions = [0] * num_envs  # of the game, before the sticky ones
        self._obs = np.zeros((num_envs, *self.observation.shape), np.uint8)
        self._first = np.zeros(num_envs, np.bool_)
        self._ended = np.zeros(num_envs, np.bool_)
        self._sent = np.zeros(num_envs, np.int64)

    def reset(self) -> None:
        """Start every copy's first episode, from the seed given at construction."""
        self._order.start()
        for env, stream in enumerate(self._streams):
            fresh = np.random.PCG64(seed_sequence(self._seed, "environment", env))
            stream.state = fresh.state
        for game in self._games:
            game.reset()
        self._last_actions = [0] * self.num_envs
        self._obs = self._look()
        self._first = np.ones(self.num_envs, np.bool_)
        self._ended = np.zeros(self.num_envs, np.bool_)

    def recv(self) -> Step:
        """Step the copies one after the other; begin the next episode where the last has ended."""
        self._order.receive()
        first = self._ended
        reward = np.zeros(self.num_envs, np.float32)
        terminated = np.zeros(self.num_envs, np.bool_)
        actions, starts = self._action_set[self._sent].tolist(), first.tolist()
        for env, game in enumerate(self._games):
            if starts[env]:
                game.reset()
            else:
                reward[env], terminated[env] = self._act(env, actions[env])
        self._obs = self._look()
        self._first = first
        self._ended = terminated
        return Step(
            action=self._sent,
            reward=reward,
            terminated=terminated.copy(),
            truncated=np.zeros(self.num_envs, np.bool_),
            life_lost=np.zeros(self.num_envs, np.bool_),
            first=first.copy(),
            obs=self._obs.copy(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return every game's state and random stream: a kilobyte or two per copy."""
        self._order.look("state_dict()")
        return {
            "identity": self._identity(),
            "games": [_state_of(game) for game in self._games],
            "streams": [stream.state for stream in self._streams],
            "last_actions": list(self._last_actions),
            "first": self._first.tolist(),
            "ended": self._ended.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the games. ValueError if the state is of another game, seed or N."""
        check_identity(state["identity"], self._identity())
        self._order.start()
        for env, game in enumerate(self._games):
            for name, value in state["games"][env].items():
                setattr(game, name, _restored(value))
            self._streams[env].state = state["streams"][env]
        self._last_actions = list(state["last_actions"])
        self._first = np.array(state["first"], np.bool_)
        self._ended = np.array(state["ended"], np.bool_)
        self._obs = self._look()

    def close(self) -> None:
        """Refuse further steps. Harmless when repeated."""
        self._order.close()

    def _act(self, env: int, action: int) -> tuple[float, bool]:
        """Step one game, perhaps with its last action; return reward and whether it is over."""
        if self._randoms[env].rand() < self._sticky:
            action = self._last_actions[env]
        self._last_actions[env] = action
        reward, over = self._games[env].act(action)
        return float(reward), bool(over)

    def _look(self) -> npt.NDArray[np.uint8]:
        """Return the observations (N, C, 10, 10) of all games."""
        states = np.stack([game.state() for game in self._games])  # (N, 10, 10, C) bool
        obs = np.ascontiguousarray(states.transpose(0, 3, 1, 2)).view(np.uint8)
        return np.multiply(obs, 255, out=obs)

    def _identity(self) -> dict[str, Any]:
        return {
            "id": self._game.name,
            "sticky_actions": self._sticky,
            **({} if self._ramping else {"difficulty_ramping": False}),
            "num_envs": self.num_envs,
            "seed": self._seed,
        }


def _probability(name: str, value: Any) -> float:
    """Return a keyword that must be a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SettingError(SETTING, f"{name} is a number from 0 to 1, not {value!r}")
    return float(value)


def _switch(name: str, value: Any) -> bool:
    """Return a keyword that must be true or false."""
    if not isinstance(value, bool):
        raise SettingError(SETTING, f"{name} is true or false, not {value!r}")
    return value


def _state_of(game: Any) -> dict[str, Any]:
    """Return what changes in a game, as plain values and tensors."""
    return {name: _plain(value) for name, value in vars(game).items() if name not in _CONSTANT}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return value.item() if isinstance(value, np.generic) else value


def _restored(value: Any) -> Any:
    """Return a copy of a value, so that a state can be loaded twice."""
    if isinstance(value, list):
        return [_restored(each) for each in value]
    return value.numpy().copy() if hasattr(value, "numpy") else value
