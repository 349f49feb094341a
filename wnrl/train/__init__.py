"""`python -m wnrl.train`: one training run, from a configuration to its folder.

Building, the loop, evaluation, logging and storage of a run belong here. Comparing runs does not.
"""

from wnrl._settings.later import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from wnrl.train.run import *  # noqa: F403

__getattr__ = names_of("wnrl.train.run")  # reading a run's status needs no torch
