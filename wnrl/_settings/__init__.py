"""What every other part builds on: settings, their errors, and imports at first use.

Records and configurations are made of these two, so that they need no torch. Nothing here imports
another part of the package.
"""

from wnrl._settings.later import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from wnrl._settings.settings import *  # noqa: F403

__getattr__ = names_of("wnrl._settings.settings")  # whose imports a command's start cannot wait for
