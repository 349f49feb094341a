"""A normalization from a policy's arguments `norm` and `norm_settings`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wnrl._settings import SettingError, UsageError
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.transition_values import separate_batches


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
