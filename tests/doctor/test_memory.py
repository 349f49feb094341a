"""Memory of the machine and its control groups, buffers that fit, and freed memory that is kept."""

import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wnrl._settings import SettingError
from wnrl.doctor.memory import (
    available_bytes,
    check_buffer,
    format_bytes,
    largest_fitting_capacity,
    peak_resident_bytes,
    resident_bytes,
)

MEMINFO = "MemTotal:  9000 kB\nMemFree:  1 kB\nMemAvailable:  1000 kB\n"
MACHINE = 1000 * 1024
NEARLY = 0.9  # the kernel counts pages in batches, and other objects come and go
NO_LIMIT_V1 = "9223372036854771712\n"
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_a_cgroup_the_machines_available_memory_counts(tmp_path: Path) -> None:
    assert available_bytes(tree(tmp_path, {"proc/meminfo": MEMINFO})) == MACHINE


def test_a_v2_limit_counts_with_its_usage_and_reclaimable_cache(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/a/b"
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/a/b\n",
        f"{group}/memory.max": "500000\n",
        f"{group}/memory.current": "200000\n",
        f"{group}/memory.stat": "anon 1\ninactive_file 30000\nactive_file 7\n",
    }
    assert available_bytes(tree(tmp_path, files)) == 330_000


def test_the_tightest_of_a_group_and_those_above_it_counts(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/a/b/memory.max": "max\n",
        "sys/fs/cgroup/a/b/memory.current": "10\n",
        "sys/fs/cgroup/a/memory.max": "400000\n",
        "sys/fs/cgroup/a/memory.current": "100000\n",
    }
    assert available_bytes(tree(tmp_path, files)) == 300_000


def test_a_containers_own_group_is_found_where_its_path_is_the_hosts(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/docker/0123\n",
        "sys/fs/cgroup/memory.max": "90000\n",
        "sys/fs/cgroup/memory.current": "20000\n",
    }
    assert available_bytes(tree(tmp_path, files)) == 70_000


def test_a_v1_limit_counts_with_the_cache_of_all_groups_below_it(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/job"
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "5:devices:/x\n4:cpu,memory:/job\n0::/\n",
        f"{group}/memory.limit_in_bytes": "500000\n",
        f"{group}/memory.usage_in_bytes": "200000\n",
        f"{group}/memory.stat": "inactive_file 1\ntotal_inactive_file 30000\n",
    }
    assert available_bytes(tree(tmp_path, files)) == 330_000


@pytest.mark.parametrize(
    ("cgroup", "directory", "limit"),
    [
        ("0::/\n", "sys/fs/cgroup", ("memory.max", "memory.current", "max\n")),
        (
            "4:memory:/\n",
            "sys/fs/cgroup/memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", NO_LIMIT_V1),
        ),
    ],
)
def test_no_limit_leaves_the_machines_memory(
    tmp_path: Path, cgroup: str, directory: str, limit: tuple[str, str, str]
) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": cgroup,
        f"{directory}/{limit[0]}": limit[2],
        f"{directory}/{limit[1]}": "100\n",
    }
    assert available_bytes(tree(tmp_path, files)) == MACHINE


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "100\n",
        "sys/fs/cgroup/memory.current": "200\n",
    }
    assert available_bytes(tree(tmp_path, files)) == 0


def test_a_system_without_proc_still_gives_numbers(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) > 1 << 20
    assert resident_bytes(tmp_path) > 1 << 20
    assert peak_resident_bytes(tmp_path) > 1 << 20


def test_resident_and_peak_are_read_from_the_process_status(tmp_path: Path) -> None:
    status = "Name:\tpython\nVmPeak:\t 900 kB\nVmHWM:\t   50 kB\nVmRSS:\t   40 kB\n"
    root = tree(tmp_path, {"proc/self/status": status})
    assert resident_bytes(root) == 40 * 1024
    assert peak_resident_bytes(root) == 50 * 1024


@on_linux
def test_touched_memory_is_resident_and_the_peak_stays_when_it_is_freed() -> None:
    size = 64 << 20
    before = resident_bytes()
    block = mmap.mmap(-1, size)  # not malloc's: it may keep what another test freed
    np.frombuffer(block, np.uint8).fill(1)
    during = resident_bytes()
    assert during - before > NEARLY * size
    block.close()
    assert resident_bytes() < during - NEARLY * size
    assert peak_resident_bytes() - before > NEARLY * size


def by_rows(capacity: int) -> int:
    """Bytes of whole rows of 4 transitions, 10 bytes each."""
    return capacity // 4 * 40


@pytest.mark.parametrize(
    ("budget", "at_most", "capacity"),
    [
        (1000, 1000, 103),
        (1039, 1000, 103),
        (1040, 1000, 107),
        (1000, 50, 50),
        (0, 9, 3),
        (-1, 9, 0),
    ],
)
def test_the_largest_fitting_capacity_is_exact(budget: int, at_most: int, capacity: int) -> None:
    assert largest_fitting_capacity(by_rows, budget, at_most) == capacity
    candidates = [n for n in range(at_most + 1) if by_rows(n) <= budget]
    assert capacity == max(candidates, default=0)


def ten_bytes_each(capacity: int) -> int:
    return 10 * capacity


def test_a_buffer_that_fits_to_the_last_byte_is_left_alone() -> None:
    for explicit in (True, False):
        decision = check_buffer(
            90, explicit=explicit, bytes_needed=ten_bytes_each, available=1000, reserve_bytes=100
        )
        assert decision == (90, None)


def test_a_default_that_does_not_fit_shrinks_and_says_so_with_numbers() -> None:
    capacity, note = check_buffer(
        91, explicit=False, bytes_needed=ten_bytes_each, available=1000, reserve_bytes=100
    )
    assert capacity == 90
    assert note == (
        "a buffer of 91 transitions needs 910 bytes (910 B), but only 1_000 bytes (1000 B) are "
        "available and 100 B of them are reserved for everything else: using 90 transitions"
    )


def test_an_explicit_size_that_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(SettingError) as error:
        check_buffer(
            91,
            explicit=True,
            bytes_needed=ten_bytes_each,
            available=1000,
            reserve_bytes=100,
            setting="rollout_size",
        )
    assert str(error.value) == (
        "rollout_size 91 needs 910 bytes (910 B), but only 1_000 bytes (1000 B) are available and "
        "100 B of them are reserved for everything else; use at most 90"
    )
    assert error.value.flag_message.startswith("--rollout-size 91 needs")


@pytest.mark.parametrize("explicit", [True, False])
def test_a_machine_too_small_for_the_least_useful_buffer_is_told(explicit: bool) -> None:
    with pytest.raises(SettingError, match=r"90 transitions would fit and .* 95 .* free 50 B more"):
        check_buffer(
            100,
            explicit=explicit,
            bytes_needed=ten_bytes_each,
            available=1000,
            reserve_bytes=100,
            minimum=95,
        )


def test_bytes_are_shown_in_powers_of_1024() -> None:
    shown = [format_bytes(n) for n in (0, 1023, 1024, 1536, 7_056_000_000, 1 << 40, 5 << 50)]
    assert shown == ["0 B", "1023 B", "1.00 KiB", "1.50 KiB", "6.57 GiB", "1.00 TiB", "5120.00 TiB"]


def test_a_size_just_below_a_unit_is_shown_in_that_unit() -> None:
    assert format_bytes((1 << 20) - 1) == "1.00 MiB"
    assert format_bytes(-2048) == "-2.00 KiB"


# Allocates and frees three buffers of 20 MiB, as an update does, and counts the page faults of ten.
UPDATES = """
import ctypes, resource, sys
from wnrl.doctor.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 20 * 1024**2
def update():
    buffers = [libc.malloc(size) for _ in range(3)]
    for buffer in buffers:
        libc.memset(buffer, 1, size)
    for buffer in buffers:
        libc.free(buffer)
for _ in range(5):
    update()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    update()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    """Count the page faults of ten updates in a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", UPDATES, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@on_linux
def test_buffers_that_an_update_frees_are_kept_for_the_next() -> None:
    assert faults("keep") < 100
    assert faults("leave") > 1_000  # 600 MiB, in pages of 4 KiB or larger ones
