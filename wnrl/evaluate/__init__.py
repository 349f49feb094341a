"""`python -m wnrl.evaluate RUN_DIR`: whole episodes with the policy of a finished run."""

from wnrl._settings.later import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from wnrl.evaluate.exports import *  # noqa: F403

__getattr__ = names_of("wnrl.evaluate.exports")
