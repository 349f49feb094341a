"""Normalized layers, the catalogue of normalizations, networks and their initialization.

Optimizer steps (`wnrl.optim`), kernels (`wnrl.kernels`) and agents do not belong here.
"""

from wnrl._settings.later import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from wnrl.nn.exports import *  # noqa: F403

__getattr__ = names_of("wnrl.nn.exports")
