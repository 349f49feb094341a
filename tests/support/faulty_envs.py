"""Gymnasium environments that are slightly off, as users' own are, for the tests that need one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

Numbers = np.ndarray


class Plain(gymnasium.Env[Numbers, int]):
    """Ten steps of a random vector, reward 1 each."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0  # of the episode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {}

    def look(self) -> Any:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reward(self) -> Any:
        return 1.0

    def step(self, action: int) -> Any:
        self.steps += 1
        return self.look(), self.reward(), self.steps >= 10, False, {}


class NanObservation(Plain):
    def look(self) -> Any:
        seen = super().look()
        if self.steps == 5:
            seen[1] = np.nan
        return seen


class NanReward(Plain):
    def reward(self) -> Any:
        return float("nan") if self.steps == 5 else 1.0


class InfiniteReward(Plain):
    def reward(self) -> Any:
        return np.float64("-inf") if self.steps == 5 else 1.0


class HugeReward(Plain):
    """Finite in float64, beyond float32."""

    def reward(self) -> Any:
        return 1e300


class ArrayReward(Plain):
    def reward(self) -> Any:
        return np.array([2.0])


class PairReward(Plain):
    def reward(self) -> Any:
        return np.array([1.0, 2.0])


class TextReward(Plain):
    def reward(self) -> Any:
        return "much"


class WrongShape(Plain):
    def look(self) -> Any:
        return np.zeros((1, 3), np.float32)


class NoObservation(Plain):
    def look(self) -> Any:
        return None


class NoSeed(Plain):
    def reset(self) -> Any:  # type: ignore[override]
        return np.zeros(3, np.float32), {}


class OldReset(Plain):
    """The interface of Gym before 0.26."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class OldStep(Plain):
    def step(self, action: int) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


class OddFlag(Plain):
    def step(self, action: int) -> Any:
        obs, reward, _, truncated, info = super().step(action)
        return obs, reward, "no", truncated, info


class NumberFlags(Plain):
    """Flags as NumPy's booleans and as numbers, which many environments return."""

    def step(self, action: int) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, np.bool_(terminated), 0, info


class Raises(Plain):
    """Its seventh episode breaks."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        return super().reset(seed=seed)

    def step(self, action: int) -> Any:
        if self.episodes == 7 and self.steps == 3:
            raise ZeroDivisionError("the simulator\ncrashed")
        return super().step(action)


class RaisesAtReset(Plain):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        raise OSError("no such level")


class Restless(Plain):
    """Not a function of its seed and actions."""

    def look(self) -> Any:
        return np.random.uniform(-1, 1, 3).astype(np.float32)  # noqa: NPY002


ALL = {kind.__name__: kind for kind in Plain.__subclasses__()} | {"Plain": Plain}


@contextmanager
def registered() -> Iterator[None]:
    """Register each as `<Name>-v0`."""
    for name, kind in ALL.items():
        gymnasium.register(f"{name}-v0", kind)
    try:
        yield
    finally:
        for name in ALL:
            gymnasium.registry.pop(f"{name}-v0")
