"""Modules that bring normalizations, networks, environments, optimizers or agents to a command.

A person names them with `--import MODULE`, or installs a package that names one in its
pyproject.toml:

    [project.entry-points."wnrl.plugins"]
    my-package = "my_package.wnrl_parts"

Every command imports both kinds, and so do the processes that it starts. A run folder cannot add
any: only what somebody named or installed is imported.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from wnrl._settings import UsageError

GROUP = "wnrl.plugins"
_named: list[str] = []


def load_plugins() -> None:
    """Import the module of every installed plugin.

    Raises:
        UsageError: one cannot be imported; it names the package to mend or to uninstall.
    """
    for plugin in metadata.entry_points(group=GROUP):
        try:
            plugin.load()
        except (Exception, SystemExit) as error:  # the module may raise whatever it likes
            package = plugin.dist.name if plugin.dist else plugin.name
            raise UsageError(
                f"cannot import {plugin.value}, the wnrl plugin of package {package}: "
                f"{type(error).__name__}: {error}; mend the package, or pip uninstall {package}"
            ) from error


def import_modules(modules: Sequence[str]) -> None:
    """Import the modules that a command line names; the current folder may hold them.

    Raises:
        UsageError: one cannot be imported.
    """
    if modules and not sys.flags.safe_path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # the console script `wnrl` has only installed modules
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # the module may raise whatever it likes
            what = f"{type(error).__name__}: {error}"
            raise UsageError(f"cannot import the module {module!r}: {what}") from error
    _named[:] = modules


def named_modules() -> list[str]:
    """Return the modules that this process's command line names."""
    return list(_named)
