"""A normalization from a policy's arguments `norm` and `norm_settings`."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wnrl._settings import SettingError, UsageError, nearest
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.transition_values import separate_batches

_ARGUMENTS = ("norm", "norm_where", "norm_settings")


def find_norm(name: str, settings: Mapping[str, Any]) -> Norm:
    """Return the catalogue's entry with these parameters.

    Args:
        name: name of a normalization, which is also saved with the policy.
        settings: parameters of the normalization by name.

    Raises:
        UsageError: an unknown name or parameter, or a normalization that needs another loss.
    """
    if not isinstance(name, str):
        raise UsageError(
            f"norm is {name!r}, not a name: register it with wnrl.nn.register_norm and give its "
            "name, by which saved policies find it"
        )
    with policy_arguments():
        norm = get_norm(name).with_settings(settings)
    if norm.values is not separate_batches:
        raise UsageError(
            f"norm {name!r} with {dict(settings)} needs both ends of a transition in one forward "
            "pass, and Stable-Baselines3's losses use two: leave statistics at 'evaluation'"
        )
    return norm


def check_arguments(
    policy: type, norm_where: object, norm_settings: object, options: Collection[str]
) -> None:
    """Raise a UsageError for arguments of a wrong type, or with a misspelt name.

    Args:
        policy: class that they are for.
        norm_where: should be text.
        norm_settings: should be a mapping, or None.
        options: names of the other arguments.
    """
    if not isinstance(norm_where, str):
        raise UsageError(
            f"norm_where is {norm_where!r}, not text: separate several words by commas, as in "
            "'torso,head'"
        )
    if not isinstance(norm_settings, Mapping | None):
        raise UsageError(f"norm_settings is {norm_settings!r}, not a dict such as {{'eps': 1e-3}}")
    constructors: list[Any] = [vars(each).get("__init__") for each in policy.__mro__]
    known = {name for each in constructors if each for name in inspect.signature(each).parameters}
    for name in options:
        if name not in known and (hint := nearest(name, _ARGUMENTS)):
            raise UsageError(f"{policy.__name__} has no argument {name!r}{hint}")


@contextmanager
def policy_arguments() -> Iterator[None]:
    """Name the policy's argument in errors about a normalization's parameter."""
    try:
        yield
    except SettingError as error:
        if not error.setting.startswith("norm."):
            raise
        parameter = error.setting.removeprefix("norm.")
        raise SettingError(f"norm_settings[{parameter!r}]", error.problem) from error
