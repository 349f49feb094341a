"""The curvature of a learning problem: eigenvalues, condition, gradient noise and covariance.

Mathematics on a network, a loss and a batch belongs here. Where the batch comes from, printing and
files do not: see `wnrl.curvature`.
"""

from wnrl.instruments.curvature.lanczos import Spectrum, lanczos
from wnrl.instruments.curvature.measure import Effort, measure
from wnrl.rl.problem import Problem

__all__ = ["Effort", "Problem", "Spectrum", "lanczos", "measure"]
