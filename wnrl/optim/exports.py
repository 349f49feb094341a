"""The public names of `wnrl.optim`, which takes them from here on first use."""

from wnrl.optim.rules import register_optimizer
from wnrl.optim.step import ClippedStep, OptimizerSpec, ScheduledStep, StepOptimizer
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop, WNRMSpropTFLike

__all__ = [
    "WNSGD",
    "ClippedStep",
    "OptimizerSpec",
    "ScheduledStep",
    "StepOptimizer",
    "WNAdam",
    "WNAdamax",
    "WNRAdam",
    "WNRMSprop",
    "WNRMSpropTFLike",
    "register_optimizer",
]
