"""Optimizers that step weight-normalized weights, and the record from which one is built.

Update rules and their state belong here. Triton and ATen code does not (`wnrl.kernels`).
"""

from wnrl._settings.later import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from wnrl.optim.exports import *  # noqa: F403

__getattr__ = names_of("wnrl.optim.exports")
