"""Optimizers that step weight-normalized weights, and the record from which one is built.

Update rules and their state belong here. Triton and ATen code does not (`wnrl.kernels`).
"""

from wnrl.optim.step import ClippedStep, OptimizerSpec, ScheduledStep, StepOptimizer
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop

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
]
