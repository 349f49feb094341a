"""Gymnasium environments that are slightly off, as users' own are, for the tests that need one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np


class Plain(gymnasium.Env[Any, Any]):
    """Ten steps of a random vector, reward 1 each. Each method is one that an odd one replaces."""

    observation_space: gymnasium.Space[Any] = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space: gymnasium.Space[Any] = gymnasium.spaces.Discrete(2)
    steps = 0  # of the episode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), self.info()

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.look(), self.reward(), self.terminated(), self.truncated(), self.info()

    def look(self) -> Any:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reward(self) -> Any:
        return 1.0

    def terminated(self) -> Any:
        return self.steps >= 10

    def truncated(self) -> Any:
        return False

    def info(self) -> Any:
        return {}


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


class PairReward(Plain):
    def reward(self) -> Any:
        return np.array([1.0, 2.0])


class WrongShape(Plain):
    def look(self) -> Any:
        return np.zeros((1, 3), np.float32)


class OldStep(Plain):
    """The interface of Gym before 0.26."""

    def step(self, action: Any) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, info


class Raises(Plain):
    """Its seventh episode breaks."""

    episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episodes += 1
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        if self.episodes == 7 and self.steps == 3:
            raise ZeroDivisionError("the simulator\ncrashed")
        return super().step(action)


class RaisesAtReset(Plain):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        raise OSError("no such level")


class RaisesWhenMade(Plain):
    def __init__(self) -> None:
        raise OSError("no licence\nfound")


class Restless(Plain):
    """Not a function of its seed and actions."""

    def look(self) -> Any:
        return np.random.uniform(-1, 1, 3).astype(np.float32)  # noqa: NPY002


ALL = {kind.__name__: kind for kind in Plain.__subclasses__()} | {"Plain": Plain}


@contextmanager
def registered(entry_points: Mapping[str, Any] = ALL, **options: Any) -> Iterator[None]:
    """Register each as `<Name>-v0`.

    Args:
        entry_points: classes or functions that make an environment, by name.
        options: of `gymnasium.register`.
    """
    for name, entry_point in entry_points.items():
        gymnasium.register(f"{name}-v0", entry_point, **options)
    try:
        yield
    finally:
        for name in entry_points:
            gymnasium.registry.pop(f"{name}-v0")
