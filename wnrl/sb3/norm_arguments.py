"""A normalization by name, as far as Stable-Baselines3's algorithms can carry it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wnrl._settings import SettingError, UsageError
from wnrl.nn.networks.transition_values import separate_batches
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.record import Norm


def find_norm(name: str, settings: Mapping[str, Any]) -> Norm:
    """The catalogue's entry with its parameters.

    Args:
        name: of a normalization; what is saved with a policy.
        settings: its parameters by name.

    Raises:
        UsageError: no such name or parameter, or a normalization that changes what a loss sees.
    """
    if not isinstance(name, str):
        raise UsageError(
            f"norm is {name!r}: register it (wnrl.nn.register_norm) and give its name, by which "
            "saved policies find it"
        )
    with flags_as_arguments():
        norm = get_norm(name).with_settings(settings)
    if norm.values is not separate_batches:
        raise UsageError(
            f"norm {name!r} with {dict(settings)} sees both ends of a transition in one forward "
            "pass, and Stable-Baselines3's losses do not: leave statistics at 'evaluation'"
        )
    return norm


@contextmanager
def flags_as_arguments() -> Iterator[None]:
    """Name the policy's argument in errors about a normalization's parameter."""
    try:
        yield
    except SettingError as error:
        if not error.setting.startswith("norm."):
            raise
        parameter = error.setting.removeprefix("norm.")
        raise SettingError(f"norm_settings[{parameter!r}]", error.problem) from error
