"""How many CPUs this process may use, which in a container is fewer than the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

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
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2, one tree for all controllers
            mount = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            mount = root / "sys/fs/cgroup/cpu"
        else:
            continue
        # Inside a container the path may be the host's, which is not mounted: then only the mount
        # itself, the container's own group, is found.
        relative = PurePosixPath(path.lstrip("/"))
        for group in (relative, *relative.parents):
            folder = mount / group
            quota, period = (_read(folder / "cpu.max").split() or ["", ""])[:2]
            if controllers:
                quota = _read(folder / "cpu.cfs_quota_us").strip()
                period = _read(folder / "cpu.cfs_period_us").strip()
            if quota.isdigit() and period.isdigit():  # "max" and -1: no limit
                yield int(quota) / int(period)


def _read(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
