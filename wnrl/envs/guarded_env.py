"""One Gymnasium environment, with every value checked where it comes in.

A user's environment may raise, or break Gymnasium's interface in a way that ends in a traceback far
from its cause, or in a network of NaN. Each fault names the environment, its number, the step of
its episode, and what Gymnasium asks for.

Dimension key: D numbers in an observation.
"""

import inspect
import math
from typing import Any, NoReturn, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt

from wnrl._settings import UsageError
from wnrl.envs.call_order import HEARTBEAT

_LARGEST = float(np.finfo(np.float32).max)
_RESET = "reset(seed=..., options=...) returns (observation, info)"
_STEP = "step(action) returns (observation, reward, terminated, truncated, info)"


class EnvironmentFault(Exception):
    """An environment did something that a run cannot go on with; the message is one line."""


class EnvironmentRaised(EnvironmentFault):
    """An environment's own code raised; `__cause__` is its error."""


class NotFiniteStep(EnvironmentFault):
    """A reward or an observation is NaN or infinite."""


class BrokenInterface(EnvironmentFault):
    """An environment returned something that Gymnasium's interface does not allow."""


class GuardedEnv:
    """One copy of an environment: flat float32 observations (D,), checked."""

    def __init__(self, env: gymnasium.Env[Any, Any], index: int) -> None:
        """Take a made environment.

        Args:
            env: with discrete actions and an observation space of a fixed size.
            index: its number among the copies, for messages.

        Raises:
            UsageError: its `reset` takes no seed.
        """
        self._env = env
        self._index = index
        self._space = env.observation_space
        self._size = gymnasium.spaces.flatdim(self._space)
        box = isinstance(self._space, gymnasium.spaces.Box)
        self._shape = self._space.shape if box else None  # flattening would accept others
        self._steps = 0  # of the running episode
        if not _takes_seed(env.unwrapped.reset):
            raise UsageError(
                f"reset of {self._name} takes no seed, so its episodes cannot be repeated; "
                "Gymnasium asks for reset(self, *, seed=None, options=None)"
            )

    def reset(self, seed: int) -> npt.NDArray[np.float32]:
        """Begin an episode; return its first observation (D,).

        Raises:
            EnvironmentFault: see the subclasses.
        """
        self._steps = 0
        try:
            returned = self._env.reset(seed=seed)
        except Exception as error:
            self._raised("reset()", error)
        HEARTBEAT.beat()
        if not isinstance(returned, tuple) or len(returned) != 2:
            self._broken(f"reset() returned {_kind(returned)}; Gymnasium's {_RESET}")
        return self._flat(returned[0])

    def step(self, action: int) -> tuple[npt.NDArray[np.float32], float, bool, bool]:
        """Take an action; return observation (D,), reward, terminated, truncated.

        Raises:
            EnvironmentFault: see the subclasses.
        """
        self._steps += 1
        try:
            returned = self._env.step(action)
        except Exception as error:
            self._raised("step()", error)
        HEARTBEAT.beat()
        if not isinstance(returned, tuple) or len(returned) != 5:
            self._broken(f"step() returned {_kind(returned)}; Gymnasium's {_STEP}")
        obs, reward, terminated, truncated, _ = returned
        flags = self._flag("terminated", terminated), self._flag("truncated", truncated)
        return self._flat(obs), self._reward(reward), *flags

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _reward(self, reward: SupportsFloat) -> float:
        """Return the reward as a number that float32 can hold."""
        try:
            number = float(reward.item() if isinstance(reward, np.ndarray) else reward)
        except (TypeError, ValueError):
            self._broken(f"the reward is {_kind(reward)}; it must be one number")
        if not math.isfinite(number):
            raise NotFiniteStep(f"the reward of {self._where} is {number}; it must be finite")
        return min(max(number, -_LARGEST), _LARGEST)

    def _flag(self, name: str, value: Any) -> bool:
        if isinstance(value, bool | np.bool_):
            return bool(value)
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "biu":
            self._broken(f"{name} is {_kind(value)}; it must be True or False")
        return bool(array.item())

    def _flat(self, obs: Any) -> npt.NDArray[np.float32]:
        try:
            if self._shape is not None and np.shape(obs) != self._shape:
                raise ValueError(f"its shape is {np.shape(obs)}")
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
                flat = np.asarray(gymnasium.spaces.flatten(self._space, obs), np.float32)
        except Exception as error:  # spaces raise what NumPy, dict or list raise
            self._broken(f"an observation does not fit its space {self._space}: {error}")
        if flat.shape != (self._size,):
            self._broken(
                f"an observation has {flat.size} numbers; its space {self._space} has {self._size}"
            )
        if not np.isfinite(flat).all():
            position = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise NotFiniteStep(
                f"the observation of {self._where} is {flat[position]} at position {position}; "
                "it must be finite in float32"
            )
        return flat

    def _raised(self, call: str, error: Exception) -> NoReturn:
        """Report what the environment's own code raised."""
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise EnvironmentRaised(f"{call} of {self._where} raised {said}") from error

    def _broken(self, problem: str) -> NoReturn:
        raise BrokenInterface(f"{self._where}: {problem}")

    @property
    def _name(self) -> str:
        spec = self._env.spec
        return "an environment" if spec is None else spec.id

    @property
    def _where(self) -> str:
        at = f"at step {self._steps:,} of its episode" if self._steps else "at its reset"
        return f"{self._name} (environment {self._index}, {at})"


def _takes_seed(reset: Any) -> bool:
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):  # built in: it will tell when it is called
        return True
    return any(p.name == "seed" or p.kind is p.VAR_KEYWORD for p in parameters)


def _kind(value: Any) -> str:
    """Describe a value in a few words."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} values"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    return f"a value of type {type(value).__name__}"
