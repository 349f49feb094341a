"""The public names of `wnrl.evaluate`, which takes them from here on first use."""

from wnrl.evaluate.command import main
from wnrl.evaluate.evaluation import Evaluation, describe, evaluate_run

__all__ = ["Evaluation", "describe", "evaluate_run", "main"]
