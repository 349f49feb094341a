"""How many CPUs this process may use, which in a container is fewer than the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path

from wnrl.doctor.cgroups import groups, read_text

MAX_THREADS = 8  # more do not help batches of 32

_ROOT = Path("/")


def usable_cpus() -> int:
    """CPUs on which the scheduler may put this process; all where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """CPU threads of a run on Atari that does not say how many."""
    return min(usable_cpus(), MAX_THREADS)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """CPUs' worth of time that this process's control groups allow; None without a limit.

    Args:
        root: where `proc` and `sys` lie.

    Returns:
        The smallest limit of the process's own group and those above it, for example 1.5.
    """
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    for folder, version in groups("cpu", root):
        if version == 2:
            quota, period = ((read_text(folder / "cpu.max") or "").split() or ["", ""])[:2]
        else:
            quota = (read_text(folder / "cpu.cfs_quota_us") or "").strip()
            period = (read_text(folder / "cpu.cfs_period_us") or "").strip()
        if quota.isdigit() and period.isdigit():  # "max" and -1: no limit
            yield int(quota) / int(period)
