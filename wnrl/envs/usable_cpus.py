"""The number of CPUs for emulators and threads."""

import os


def usable_cpus() -> int:
    """Return how many CPUs the scheduler may put this process on; all if the system cannot say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
