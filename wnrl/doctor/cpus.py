"""Name and count the CPUs of this process; a container often allows fewer than the machine has."""

import platform
from collections.abc import Iterator
from pathlib import Path

from wnrl.doctor.cgroups import control_groups, read_text
from wnrl.envs.usable_cpus import usable_cpus

MAX_THREADS = 8  # more do not speed up batches of 32

_ROOT = Path("/")


def usable_cores() -> int:
    """Return how many CPUs' worth of time this process can get, control groups included."""
    return max(1, min(usable_cpus(), int(cpu_quota() or usable_cpus())))


def default_threads() -> int:
    """Return the default number of CPU threads for a run on Atari."""
    return min(usable_cores(), MAX_THREADS)


_KIND = {"family": "cpu family", "model": "model"}  # in Linux's file


def cpu_model(root: Path = _ROOT) -> str:
    """Return the processor's name, or its architecture if the system does not say it.

    The name has family and model where Linux says them, because a virtual machine may only be told
    `AMD EPYC`, and a run repeats bit for bit only on the same kind of processor.

    Args:
        root: folder that contains `proc`.
    """
    first = (read_text(root / "proc/cpuinfo") or "").split("\n\n")[0]
    pairs = [line.partition(":") for line in first.splitlines()]
    said = {key.strip(): " ".join(value.split()) for key, _, value in pairs}
    if not said.get("model name"):
        return platform.processor() or platform.machine()
    kind = [f"{name} {said[key]}" for name, key in _KIND.items() if said.get(key)]
    return said["model name"] + (f" ({', '.join(kind)})" if kind else "")


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return the CPU time that control groups allow this process, in CPUs; None without a limit.

    Args:
        root: folder that contains `proc` and `sys`.

    Returns:
        The smallest limit of the process's own group and the groups above it, for example 1.5.
    """
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    for folder, version in control_groups("cpu", root):
        if version == 2:
            quota, period = ((read_text(folder / "cpu.max") or "").split() or ["", ""])[:2]
        else:
            quota = (read_text(folder / "cpu.cfs_quota_us") or "").strip()
            period = (read_text(folder / "cpu.cfs_period_us") or "").strip()
        if quota.isdigit() and period.isdigit():  # "max" and -1 mean no limit
            yield int(quota) / int(period)
