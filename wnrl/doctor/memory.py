"""Measure memory, decide whether a buffer fits, and keep freed memory. Not a profiler.

Reads Linux's own files. A container's limit binds as much as the machine's free memory: a process
that exceeds it is killed hours later, so a buffer is checked before the run starts.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from wnrl._settings import SettingError
from wnrl.doctor.cgroups import control_groups, read_text

KEPT_BYTES = 512 * 1024**2  # free memory at the heap's end before any of it is given back
# Blocks up to this size come from the heap; glibc allows no larger threshold.
HEAP_BLOCK_BYTES = 32 * 1024**2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

_ROOT = Path("/")


def available_bytes(root: Path = _ROOT) -> int:
    """Return the bytes that this process can still take from the machine and its control groups.

    Unused page cache counts as free, because the kernel gives it up first.

    Args:
        root: folder that contains `proc` and `sys`.

    Returns:
        The smallest of MemAvailable and, for this process's memory cgroup and each group above it,
        limit minus usage plus inactive file cache; never negative. Without /proc it is the system's
        free or else whole physical memory, and `sys.maxsize` if the system reports neither.
    """
    return max(0, min([_machine_available_bytes(root), *_cgroup_rooms_bytes(root)]))


def resident_bytes(root: Path = _ROOT) -> int:
    """Return this process's bytes in physical memory now, or their peak if only that is reported.

    Args:
        root: folder that contains `proc`.

    Returns:
        Bytes; 0 on a system that has neither /proc nor POSIX resource usage (Windows).
    """
    return _kilobyte_field_bytes(root / "proc/self/status", "VmRSS") or _rusage_peak_bytes()


def peak_resident_bytes(root: Path = _ROOT) -> int:
    """Return the most bytes that this process has had in physical memory.

    Args:
        root: folder that contains `proc`.

    Returns:
        Bytes; 0 on a system that has neither /proc nor POSIX resource usage (Windows).
    """
    return _kilobyte_field_bytes(root / "proc/self/status", "VmHWM") or _rusage_peak_bytes()


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next update, for the whole process.

    By default the C library returns the end of its heap to the system whenever enough of it is
    free, and the next update faults it in again, page by page. That can cost a tenth of a DQN
    update. A training process allocates the same few buffers again and again, so it keeps them.

    Returns:
        True if it was set; False without glibc.

    Source: mallopt(3).
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(_M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES)
    )


def largest_fitting_capacity(
    bytes_needed: Callable[[int], int], budget_bytes: int, at_most: int
) -> int:
    """Return the largest capacity up to `at_most` whose bytes are within the budget.

    Args:
        bytes_needed: maps a capacity in transitions to bytes; never decreasing.
        budget_bytes: bytes that may be used.
        at_most: upper limit, in transitions.

    Returns:
        Transitions; 0 if not even one fits.
    """
    fits, too_many = 0, at_most + 1  # bisect between a capacity that fits and one that does not
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
    setting: str = "buffer_size",
) -> tuple[int, str | None]:
    """Decide a buffer's capacity before it is allocated.

    A default that does not fit shrinks, with a note. A number that the user chose is kept or
    refused, because a run must not silently become another experiment.

    Args:
        requested: transitions.
        explicit: the user chose `requested`.
        bytes_needed: maps a capacity in transitions to bytes; never decreasing.
        available: bytes that this process can still take.
        reserve_bytes: bytes to leave for everything else.
        minimum: the fewest transitions that are of any use.
        setting: name of the setting, for errors.

    Returns:
        The capacity in transitions, and one line for the user if it is not `requested`.

    Raises:
        SettingError: an explicit number does not fit, or the default cannot shrink to `minimum`.
            The message gives the bytes needed and available and the transitions that would fit.
    """
    budget_bytes = available - reserve_bytes
    needed = bytes_needed(requested)
    if needed <= budget_bytes:
        return requested, None
    fitting = largest_fitting_capacity(bytes_needed, budget_bytes, requested)
    shortage = (
        f"needs {needed:_} bytes ({format_bytes(needed)}), but only {available:_} bytes "
        f"({format_bytes(available)}) are available and {format_bytes(reserve_bytes)} of them are "
        "reserved for everything else"
    )
    if fitting < minimum:
        raise SettingError(
            setting,
            f"{requested:_} {shortage}: {fitting} transitions would fit and at least {minimum} are "
            f"needed; free {format_bytes(bytes_needed(minimum) - budget_bytes)} more or raise the "
            "memory limit",
        )
    if explicit:
        raise SettingError(setting, f"{requested:_} {shortage}; use at most {fitting:_}")
    note = f"a buffer of {requested:_} transitions {shortage}: using {fitting:_} transitions"
    return fitting, note


def format_bytes(n: int) -> str:
    """Format bytes for people, in powers of 1024: `7.06 GiB`, `512 B`."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    size = float(n)
    while abs(size) >= 1023.995 and len(units) > 1:  # two decimals would show 1024.00 of this unit
        size /= 1024
        del units[0]
    return f"{n} B" if units[0] == "B" else f"{size:.2f} {units[0]}"


def _machine_available_bytes(root: Path) -> int:
    reported = _kilobyte_field_bytes(root / "proc/meminfo", "MemAvailable")
    if reported is not None:
        return reported
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):  # macOS has only the second
        if name in getattr(os, "sysconf_names", {}):
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return sys.maxsize


# Names by cgroup version: the limit, the usage and, in memory.stat, the cache that the kernel gives
# up first. `total_` includes the groups below.
_CGROUP_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def _cgroup_rooms_bytes(root: Path) -> Iterator[int]:
    """Yield the bytes left in this process's memory cgroup and in each group above it."""
    for folder, version in control_groups("memory", root):
        room = _cgroup_room_bytes(folder, *_CGROUP_FILES[version])
        if room is not None:
            yield room


def _cgroup_room_bytes(group: Path, limit_name: str, usage_name: str, cache: str) -> int | None:
    limit, usage = read_text(group / limit_name), read_text(group / usage_name)
    if limit is None or usage is None or not limit.strip().isdigit():  # "max" means no limit
        return None
    fields = dict(line.split() for line in (read_text(group / "memory.stat") or "").splitlines())
    return int(limit) - int(usage) + int(fields.get(cache, 0))


def _kilobyte_field_bytes(path: Path, name: str) -> int | None:
    """Return the bytes in a line such as `VmRSS:   123 kB`, or None without such a line."""
    for line in (read_text(path) or "").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return None


def _rusage_peak_bytes() -> int:
    """Return the peak that POSIX resource usage reports; 0 on a system without it."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
