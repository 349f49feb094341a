"""A Gymnasium environment whose steps wait: as `--env hanging_envs:Waiting-v0` in a subprocess.

The file in WAIT_FILE says at which call: `step 50` or `reset 3` of each copy. It goes on when the
file is gone or replaced. With `deaf` at the end it waits for ever, where no Python signal handler
runs, as within an emulator. `first` means only the first copy, which is the run's own;
`once` removes the file, so that the next process does not wait.
"""

import ctypes
import itertools
import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

Observation = npt.NDArray[np.float32]


_number = itertools.count()


class Waiting(gymnasium.Env[Observation, np.int64]):
    """Episodes of ten steps; the reward is the action."""

    observation_space = gymnasium.spaces.Box(0.0, 10.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self._index = next(_number)
        self._calls = {"reset": 0, "step": 0}
        self._steps = 0

    def reset(self, **options: Any) -> tuple[Observation, dict[str, Any]]:
        super().reset(**options)
        self._wait("reset")
        self._steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._wait("step")
        self._steps += 1
        obs = np.full(1, self._steps, np.float32)
        return obs, float(action), self._steps == 10, False, {}

    def _wait(self, call: str) -> None:
        self._calls[call] += 1
        file = Path(os.environ["WAIT_FILE"])
        said = _text(file)
        if not said:
            return
        at, number, *how = said.split()
        if (at, int(number)) != (call, self._calls[call]) or ("first" in how and self._index):
            return
        file.with_name("waiting").touch()
        file.with_name(f"waiting at {call} {number}").touch()
        if "once" in how:
            file.unlink()
        if "deaf" in how:
            _lock_twice()
        while _text(file) == said:
            time.sleep(0.01)


def _text(file: Path) -> str:
    """Return what the file says; nothing if it is gone, which it may be at any moment."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def _lock_twice() -> None:
    """Wait for ever in C, without the interpreter's lock."""
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)


gymnasium.register("Waiting-v0", Waiting)
