"""The public names of `wnrl.optim`, which takes them from here on first use."""

from wnrl.optim.rules import register_optimizer
from wnrl.optim.step import ClippedStep, OptimizerSpec, StepOptimizer
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop, WNRMSpropTFLike
from wnrl.optim.wrapped_step import ScheduledStep

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
