"""Choose how many runs train at a time, and with how many CPU threads each, by measuring them.

The best packing is the one whose runs do the most agent steps per second together. How it is
measured is `wnrl.compare.run_cost`; what the user sees is `wnrl.compare.plan_text`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from wnrl._settings import UsageError
from wnrl.compare.run_cost import RunCost
from wnrl.train.speed import WORTH, doublings


class Packing(NamedTuple):
    """Runs at a time, and the CPU threads of each."""

    jobs: int
    threads: int


Measured = Mapping[Packing, Sequence[RunCost]]  # the cost of each run of a packing


def steps_per_s(costs: Iterable[RunCost]) -> float:
    """Return the agent steps per second that runs do together while they learn."""
    return sum(1 / cost.speed.learning_s for cost in costs)


def choose_packing(
    measure: Callable[[Packing], Sequence[RunCost]],
    at_most: Callable[[RunCost], int],
    most_threads: Callable[[int], int],
) -> tuple[Packing, Measured]:
    """Measure 1 run with 1 thread, 2, 4 and so on; then as many runs as are best with more threads.

    More runs or threads are taken while they do at least 5% more steps per second together.

    Args:
        measure: returns the cost of each run while all runs of a packing train.
        at_most: maps the cost of a run to the largest number of runs that may be tried.
        most_threads: maps a number of runs to the most threads that each may have.

    Returns:
        The best packing, and the costs of all that were tried. A packing that does not work, such
        as one that does not fit into a GPU's memory, has no costs.

    Raises:
        UsageError: a run does not even work alone.
    """
    best = Packing(1, 1)
    tried: dict[Packing, Sequence[RunCost]] = {best: measure(best)}

    def better(packing: Packing) -> bool:
        try:
            tried[packing] = measure(packing)
        except UsageError:
            tried[packing] = ()
        return WORTH * steps_per_s(tried[packing]) >= steps_per_s(tried[best])

    for jobs in doublings(at_most(tried[best][0]))[1:]:
        if not better(Packing(jobs, 1)):
            break
        best = Packing(jobs, 1)
    for threads in doublings(most_threads(best.jobs))[1:]:
        if not better(Packing(best.jobs, threads)):
            break
        best = Packing(best.jobs, threads)
    return best, tried
