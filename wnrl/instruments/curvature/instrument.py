"""The curvature as an instrument of a run: a measurement every N updates, off by default.

It reads the loss and the batch that the run is learning from, and changes nothing: a run's weights
do not depend on it, bit for bit.
"""

from collections.abc import Callable

from torch import Tensor, nn

from wnrl.instruments.curvature.measure import Effort, measure
from wnrl.instruments.weight_rows import weight_vectors
from wnrl.optim.step import StepOptimizer
from wnrl.rl.problem import Problem

TAG = "norm/curvature/"
ITERATIONS = 10  # of Lanczos: the extremes of a spectrum with few outliers
PARTS = 4  # small batches that the update's batch is cut into


class CurvatureInstrument:
    """Measures every N-th update, before its step, on the batch that it learns from.

    If several readings are made before one is popped, the newest is kept. The tags are
    `norm/curvature/<quantity>/<where>`, as in `measure`.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: StepOptimizer,
        every_updates: int,
        problem: Callable[[], Problem | None],
        updates: Callable[[], int],
    ) -> None:
        """Prepare to measure a network.

        Args:
            network: the one that learns.
            optimizer: steps the network.
            every_updates: N; 0 for no readings.
            problem: returns the learning problem of the current update.
            updates: returns the updates done.

        Raises:
            ValueError: N is negative.
        """
        if every_updates < 0:
            raise ValueError(f"every_updates is {every_updates}: it must be at least 0")
        self._network = network
        self._optimizer = optimizer
        self._every_updates = every_updates
        self._problem = problem
        self._updates = updates
        self._reading: dict[str, float] = {}

    def looks(self, rows: int, ahead: int = 0) -> bool:
        """Return whether an update from so many rows, with `ahead` before it, is measured."""
        every = self._every_updates
        return every > 0 and rows >= 2 * PARTS and (self._updates() + 1 + ahead) % every == 0

    def before_step(self, obs: Tensor, learning_batch: Tensor) -> None:
        """Measure, if it is due."""
        problem = self._problem()
        if problem is None or not self.looks(len(obs)):
            return
        effort = Effort(ITERATIONS, problem.rows // PARTS, seed=self._updates())
        vectors = weight_vectors(self._network, self._optimizer)
        readings = measure(self._network, problem, vectors, effort)
        self._reading = {TAG + name: value for name, value in readings.items()}

    def after_step(self) -> None:
        """Do nothing: all is measured before the step."""

    def pop_reading(self) -> dict[str, float]:
        """Return the newest reading once; empty if there is no new one."""
        reading, self._reading = self._reading, {}
        return reading
