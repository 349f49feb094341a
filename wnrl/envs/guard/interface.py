"""Check what can be seen of an environment before it runs."""

import inspect
from typing import Any

import gymnasium
from gymnasium import spaces

from wnrl._settings import UsageError, cut
from wnrl.envs.guard.description import described, kind_of


def check_interface(name: str, env: gymnasium.Env[Any, Any]) -> None:
    """Check an environment's spaces and the arguments of its `reset`.

    Args:
        name: its id, for messages.
        env: a made environment.

    Raises:
        UsageError: one is not as Gymnasium asks, or no network can read the observations.
    """
    _space(name, env, "action_space")
    observations = _space(name, env, "observation_space")
    try:
        if observations.is_np_flattenable:
            spaces.flatdim(observations)
    except NotImplementedError:
        raise UsageError(
            f"{name} has observations {cut(str(observations), 100)}, a class of its own; use one "
            "of gymnasium.spaces"
        ) from None
    layer = env
    while True:
        for argument in ("seed", "options"):
            if not _takes(layer.reset, argument):
                raise UsageError(
                    f"reset of {name} takes no {argument}, with which an episode is repeated; "
                    "Gymnasium asks for reset(self, *, seed=None, options=None)"
                )
        if not isinstance(layer, gymnasium.Wrapper):
            return
        layer = layer.env


def _space(name: str, env: gymnasium.Env[Any, Any], attribute: str) -> spaces.Space[Any]:
    """Return a space of an environment, whose own code may compute it."""
    try:
        space = getattr(env, attribute, None)
    except Exception as error:
        raise UsageError(f"{attribute} of {name} raised {described(error)}") from error
    if not isinstance(space, spaces.Space):
        raise UsageError(
            f"{attribute} of {name} is {kind_of(space)}; Gymnasium asks for one of gymnasium.spaces"
        )
    return space


def _takes(reset: Any, argument: str) -> bool:
    """Return whether `reset` takes an argument by its name."""
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):  # built in: it will tell when it is called
        return True
    return any(
        p.kind is p.VAR_KEYWORD or (p.name == argument and p.kind is not p.POSITIONAL_ONLY)
        for p in parameters
    )
