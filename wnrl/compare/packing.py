"""Choose how many runs train at a time, and with how many CPU threads each, by measuring them.

The best packing is the one whose runs do the most agent steps per second together. How it is
measured is `wnrl.compare.run_cost`; what the user sees is `wnrl.compare.plan_text`.
"""

import contextlib
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

    More runs or threads are taken while they do at least 5% more steps per second together. What
    does not is measured a second time, and the faster measurement counts: other work on the machine
    comes and goes, and would decide for all runs.

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

    def fastest(packing: Packing) -> float:
        """Measure once more, keep the fastest measurement and return its steps per second."""
        with contextlib.suppress(UsageError):
            tried[packing] = max(tried.get(packing, ()), measure(packing), key=steps_per_s)
        return steps_per_s(tried.setdefault(packing, ()))

    def better(packing: Packing) -> bool:
        if WORTH * fastest(packing) >= steps_per_s(tried[best]):
            return True
        # Other work may have come between the two: measure both again, if the packing works at all.
        return bool(tried[packing]) and WORTH * fastest(packing) >= fastest(best)

    for jobs in doublings(at_most(tried[best][0]))[1:]:
        if not better(Packing(jobs, 1)):
            break
        best = Packing(jobs, 1)
    for threads in doublings(most_threads(best.jobs))[1:]:
        if not better(Packing(best.jobs, threads)):
            break
        best = Packing(best.jobs, threads)
    return best, tried
