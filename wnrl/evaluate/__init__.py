"""`python -m wnrl.evaluate RUN_DIR`: whole episodes with the policy of a finished run."""

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from typing import Any

    from wnrl.evaluate.command import Evaluation, describe, evaluate_run, main

__all__ = ["Evaluation", "describe", "evaluate_run", "main"]


def __getattr__(name: str) -> "Any":
    """Import on first use: Ctrl-C is handled before torch is loaded, which takes seconds."""
    if name in __all__:
        from wnrl.evaluate import command

        return getattr(command, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
