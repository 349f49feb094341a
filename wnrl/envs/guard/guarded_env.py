"""One Gymnasium environment, with every value checked where it comes in.

A user's environment may raise, or break Gymnasium's interface in a way that ends in a traceback far
from its cause, or in a network of NaN. Each fault names the environment, its number, the step of
its episode, what came and what Gymnasium asks for.

Dimension key: D numbers in an observation.
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from wnrl._settings import cut
from wnrl.envs.call_order import HEARTBEAT
from wnrl.envs.guard.description import described, kind_of, text_of
from wnrl.envs.guard.interface import check_interface
from wnrl.envs.guard.space_values import fitted, fitted_box

_LARGEST = float(np.finfo(np.float32).max)
_RESET = "reset(seed=..., options=...) returns (observation, info)"
_STEP = "step(action) returns (observation, reward, terminated, truncated, info)"
_RENDER = "render() returns an array (height, width, 3) of bytes with render_mode rgb_array"
_UNPACKS = ("gymnasium.wrappers", "gymnasium.core")  # modules whose wrappers unpack a step


class EnvironmentFault(Exception):
    """An environment did something that a run cannot go on with; the message is one line."""


class EnvironmentRaised(EnvironmentFault):
    """An environment's own code raised; `__cause__` is its error."""


class NotFiniteStep(EnvironmentFault):
    """A reward or an observation is NaN or infinite."""


class BrokenInterface(EnvironmentFault):
    """An environment returned something that Gymnasium's interface does not allow."""


class GuardedEnv:
    """One copy of an environment: flat float32 observations (D,), checked.

    Numbers outside the bounds of a `Box` are taken as they are: nothing depends on these bounds,
    and many environments give them only roughly.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, index: int) -> None:
        """Take a made environment.

        Args:
            env: its observations must have a fixed size before it is reset.
            name: its id, for messages.
            index: its number among the copies, for messages.

        Raises:
            UsageError: a space or `reset` is not as Gymnasium asks.
        """
        check_interface(name, env)
        self._env = env
        self._name = name
        self._index = index
        self.action_space = env.action_space
        self._space = self.observation_space = env.observation_space
        self._box = self._space if isinstance(self._space, spaces.Box) else None
        self._steps = 0  # of the running episode

    def reset(self, seed: int) -> npt.NDArray[np.float32]:
        """Begin an episode; return its first observation (D,), a fresh array.

        Raises:
            EnvironmentFault: see the subclasses.
        """
        self._steps = 0
        try:
            returned = self._env.reset(seed=seed)
        except (Exception, SystemExit) as error:
            self._raised("reset()", _RESET, error)
        HEARTBEAT.beat()
        if not isinstance(returned, tuple) or len(returned) != 2:
            self._broken(f"reset() returned {kind_of(returned)}; Gymnasium's {_RESET}")
        obs, info = returned
        self._check_info(info)
        return self._flat(obs)

    def step(self, action: int) -> tuple[npt.NDArray[np.float32], float, bool, bool]:
        """Take an action; return a fresh observation (D,), reward, terminated, truncated.

        Raises:
            EnvironmentFault: see the subclasses.
        """
        self._steps += 1
        try:
            returned = self._env.step(np.int64(action))  # the type that Discrete samples
        except (Exception, SystemExit) as error:
            self._raised("step()", _STEP, error)
        HEARTBEAT.beat()
        if not isinstance(returned, tuple) or len(returned) != 5:
            self._broken(f"step() returned {kind_of(returned)}; Gymnasium's {_STEP}")
        obs, reward, terminated, truncated, info = returned
        self._check_info(info)
        flags = self._flag("terminated", terminated), self._flag("truncated", truncated)
        return self._flat(obs), self._reward(reward), *flags

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the environment says of itself; empty if that is no dictionary."""
        said = getattr(self._env, "metadata", None)
        return said if isinstance(said, dict) else {}

    def render(self) -> npt.NDArray[np.uint8]:
        """Return the picture (H, W, 3) of the newest state.

        Raises:
            EnvironmentFault: `render` raised, or returned something else.
        """
        try:
            picture = self._env.render()
        except (Exception, SystemExit) as error:
            self._raised("render()", _RENDER, error)
        HEARTBEAT.beat()
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
            self._broken(f"render() returned {kind_of(picture)}; Gymnasium's {_RENDER}")
        if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            self._broken(f"render() returned shape {picture.shape}; Gymnasium's {_RENDER}")
        return picture

    def close(self) -> None:
        """Close the environment. An error is ignored: nothing depends on the environment now."""
        try:
            self._env.close()
        except (Exception, SystemExit):
            return

    def _check_info(self, info: Any) -> None:
        if not isinstance(info, dict):
            self._broken(f"info is {kind_of(info)}; it must be a dict")

    def _reward(self, reward: Any) -> float:
        """Return the reward as a number that float32 can hold."""
        number = reward if type(reward) is float else self._number(reward)
        if -_LARGEST <= number <= _LARGEST:
            return number
        if not math.isfinite(number):
            raise NotFiniteStep(f"the reward of {self._where} is {number}; it must be finite")
        return math.copysign(_LARGEST, number)

    def _number(self, reward: Any) -> float:
        try:
            value = reward.item() if isinstance(reward, np.ndarray) else reward
            if isinstance(value, str | bytes):  # which float() would read
                raise TypeError
            return float(value)
        except OverflowError:  # a whole number beyond floats
            return math.inf
        except Exception:  # a class of the user's may raise anything
            self._broken(f"the reward is {kind_of(reward)}; it must be one number")

    def _flag(self, name: str, value: Any) -> bool:
        if value is True or value is False:
            return value
        try:
            array = np.asarray(value)
            number = array.item() if array.size == 1 and array.dtype.kind in "biu" else None
        except Exception:  # ragged lists, and classes of the user's
            number = None
        if number not in (0, 1):
            self._broken(f"{name} is {kind_of(value)}; it must be True or False")
        return bool(number)

    def _flat(self, obs: Any) -> npt.NDArray[np.float32]:
        try:
            if self._box is not None:  # `flatten` would take several times as long
                array = fitted_box(self._box, obs)
            else:
                array = np.asarray(spaces.flatten(self._space, fitted(self._space, obs)))
        except Exception as error:  # spaces and NumPy raise many kinds
            space = cut(str(self._space), 200)
            self._broken(f"an observation does not fit its space {space}: {text_of(error)}")
        flat = _float32(array).reshape(-1)
        if array.dtype.kind == "f" and not np.isfinite(flat).all():
            position = int(np.flatnonzero(~np.isfinite(flat))[0])
            raise NotFiniteStep(
                f"the observation of {self._where} is {flat[position]} at position {position}; "
                "it must be finite in float32"
            )
        return flat

    def _raised(self, call: str, asked: str, error: BaseException) -> NoReturn:
        """Report what the environment's own code raised, or what a wrapper could not unpack."""
        said = described(error)
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        module = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
        if "unpack" in said and module.startswith(_UNPACKS):
            self._broken(f"{call} returned no such tuple ({said}); Gymnasium's {asked}")
        raise EnvironmentRaised(f"{call} of {self._where} raised {said}") from error

    def _broken(self, problem: str) -> NoReturn:
        raise BrokenInterface(f"{self._where}: {problem}")

    @property
    def _where(self) -> str:
        at = f"at step {self._steps:,} of its episode" if self._steps else "at its reset"
        return f"{self._name} (environment {self._index}, {at})"


def _float32(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return a copy in float32; what it cannot hold becomes infinite."""
    if array.dtype == np.float32:
        return array.copy()
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
