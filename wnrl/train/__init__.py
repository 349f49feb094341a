"""`python -m wnrl.train`: one training run, from a configuration to its folder.

Building, the loop, evaluation, logging and storage of a run belong here. Comparing runs does not.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from typing import Any

    from wnrl.train.run import resume, train

__all__ = ["resume", "train"]


def __getattr__(name: str) -> "Any":
    """Import `train` and `resume` on first use: reading a run's status needs no torch."""
    if name in __all__:
        from wnrl.train import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
