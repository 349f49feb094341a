"""How much memory is there, how much is used, and does a buffer fit. Not a profiler.

Reads Linux's own files. A container's limit counts as much as the machine's free memory: passing
it gets the process killed hours later, so a buffer is checked before the run starts.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from wnrl._settings import UsageError
from wnrl.doctor.cgroups import groups, read_text

_ROOT = Path("/")


def available_bytes(root: Path = _ROOT) -> int:
    """Bytes that this process can still take: the machine's free memory or its cgroups' room.

    Page cache that nobody uses counts as free, since the kernel gives it up first.

    Args:
        root: where `proc` and `sys` lie.

    Returns:
        The smallest of MemAvailable and, for this process's memory cgroup and each above it, limit
        minus usage plus inactive file cache; never negative. Without /proc it is the system's free
        or else whole physical memory, and `sys.maxsize` where even that is not told.
    """
    return max(0, min([_machine_available_bytes(root), *_cgroup_rooms_bytes(root)]))


def resident_bytes(root: Path = _ROOT) -> int:
    """Bytes of this process in physical memory now (its peak where only that is told).

    Args:
        root: where `proc` lies.
    """
    return _kilobyte_field_bytes(root / "proc/self/status", "VmRSS") or _peak_by_rusage_bytes()


def peak_resident_bytes(root: Path = _ROOT) -> int:
    """The most bytes that this process has had in physical memory.

    Args:
        root: where `proc` lies.
    """
    return _kilobyte_field_bytes(root / "proc/self/status", "VmHWM") or _peak_by_rusage_bytes()


def largest_fitting_capacity(
    bytes_needed: Callable[[int], int], budget_bytes: int, at_most: int
) -> int:
    """The largest capacity of at most `at_most` whose bytes are within the budget.

    Args:
        bytes_needed: bytes of a buffer of that many transitions; never falls as they grow.
        budget_bytes: bytes that may be used.
        at_most: the largest capacity of interest, in transitions.

    Returns:
        Transitions; 0 when not even one fits.
    """
    fits, too_many = 0, at_most + 1  # bisection between a capacity that fits and one that does not
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if bytes_needed(middle) <= budget_bytes:
            fits = middle
        else:
            too_many = middle
    return fits


def check_buffer(
    requested: int,
    *,
    explicit: bool,
    bytes_needed: Callable[[int], int],
    available: int,
    reserve_bytes: int,
    minimum: int = 1,
    flag: str = "--buffer-size",
) -> tuple[int, str | None]:
    """Decide a buffer's capacity before it is allocated.

    A default that does not fit shrinks and says so. A number that somebody asked for is kept or
    refused: a run must not silently be another experiment.

    Args:
        requested: transitions.
        explicit: whether a person asked for `requested`.
        bytes_needed: bytes of a buffer of that many transitions; never falls as they grow.
        available: bytes that this process can still take.
        reserve_bytes: bytes to leave for everything else.
        minimum: transitions without which the buffer is of no use.
        flag: what sets the number, for the messages.

    Returns:
        The capacity in transitions, and one line for the user if it is not `requested`.

    Raises:
        UsageError: if an explicit number does not fit, or the default cannot shrink to `minimum`;
            it names the transitions that would fit and the bytes needed and available.
    """
    budget_bytes = available - reserve_bytes
    needed = bytes_needed(requested)
    if needed <= budget_bytes:
        return requested, None
    fitting = largest_fitting_capacity(bytes_needed, budget_bytes, requested)
    shortage = (
        f"{flag} {requested:_} needs {needed:_} bytes ({format_bytes(needed)}), but "
        f"{available:_} bytes ({format_bytes(available)}) are available, of which "
        f"{format_bytes(reserve_bytes)} are kept for everything else"
    )
    if fitting < minimum:
        raise UsageError(
            f"{shortage}: {fitting} transitions would fit and {minimum} are the least that work; "
            f"free {bytes_needed(minimum) - budget_bytes} bytes or raise the memory limit"
        )
    if explicit:
        raise UsageError(f"{shortage}: at most {flag} {fitting:_} fits")
    return fitting, f"{shortage}: using the {fitting:_} transitions that fit"


def format_bytes(n: int) -> str:
    """A number of bytes for people, in powers of 1024: `7.06 GiB`, `512 B`."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    size = float(n)
    while abs(size) >= 1023.995 and len(units) > 1:  # two decimals would show 1024.00 of this unit
        size /= 1024
        del units[0]
    return f"{n} B" if units[0] == "B" else f"{size:.2f} {units[0]}"


def _machine_available_bytes(root: Path) -> int:
    found = _kilobyte_field_bytes(root / "proc/meminfo", "MemAvailable")
    if found is not None:
        return found
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):  # macOS has only the second
        if name in getattr(os, "sysconf_names", {}):
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return sys.maxsize


# Limit, usage and, in memory.stat, what the kernel gives up first, by version of the groups;
# `total_` includes the groups below.
_CGROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def _cgroup_rooms_bytes(root: Path) -> Iterator[int]:
    """Bytes left in this process's memory cgroup and in each that contains it."""
    for folder, version in groups("memory", root):
        room = _cgroup_room_bytes(folder, *_CGROUP_FILES[version])
        if room is not None:
            yield room


def _cgroup_room_bytes(group: Path, limit_name: str, usage_name: str, cache: str) -> int | None:
    limit, usage = read_text(group / limit_name), read_text(group / usage_name)
    if limit is None or usage is None or not limit.strip().isdigit():  # "max": no limit
        return None
    fields = dict(line.split() for line in (read_text(group / "memory.stat") or "").splitlines())
    return int(limit) - int(usage) + int(fields.get(cache, 0))


def _kilobyte_field_bytes(path: Path, name: str) -> int | None:
    """The bytes in a line such as `VmRSS:   123 kB`; None where there is no such line."""
    for line in (read_text(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return None


def _peak_by_rusage_bytes() -> int:
    import resource  # not on every system, and not needed on Linux

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
