"""Freed memory is kept: a later update's buffers bring no page faults."""

import subprocess
import sys

import pytest

# Three buffers of 20 MiB, taken and freed together as an update does; the faults of ten such.
SCRIPT = """
import ctypes, resource, sys
from wnrl.doctor.allocator import keep_freed_memory
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
    """Page faults of ten updates in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_buffers_that_an_update_frees_are_kept_for_the_next() -> None:
    assert faults("keep") < 100
    assert faults("leave") > 1_000  # 600 MiB, in pages of 4 KiB or larger ones
