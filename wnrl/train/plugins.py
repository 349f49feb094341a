"""Installed packages that add normalizations, networks, environments or optimizers to wnrl.

A package names a module that registers its parts, in its pyproject.toml:

    [project.entry-points."wnrl.plugins"]
    my-package = "my_package.wnrl_parts"

Every command imports it, and so do the processes that it starts. A run folder cannot add a plugin:
only what somebody installed is imported.
"""

from importlib import metadata

from wnrl._settings import UsageError

GROUP = "wnrl.plugins"


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
