"""Making a registered environment: its constructor's errors in one line, and its actions."""

from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium
from gymnasium.envs.registration import EnvSpec

from wnrl._settings import UsageError
from wnrl.envs.guard.description import described

Made = TypeVar("Made")


def constructed(spec: EnvSpec, make: Callable[[], Made]) -> Made:
    """Call what makes an environment.

    Args:
        spec: the environment's, for the message.
        make: calls `gymnasium.make` or `gymnasium.make_vec`.

    Raises:
        UsageError: it raised, for example for a keyword that the constructor does not take.
    """
    try:
        return make()
    except (Exception, SystemExit) as error:  # its own code may raise whatever it likes
        said = described(error).partition(" was raised from the environment creator")[0]
        raise UsageError(f"cannot make {spec.id!r}: {said}") from error


def discrete_actions(name: str, space: gymnasium.Space[Any]) -> tuple[int, int]:
    """Return the number of actions and the first one. UsageError unless they are `Discrete`."""
    if not isinstance(space, gymnasium.spaces.Discrete):
        raise UsageError(
            f"{name!r} has actions {space}; choose an id with Discrete actions, or keywords that "
            "make them so, as env_kwargs continuous=false does for CarRacing-v3"
        )
    return int(space.n), int(space.start)
