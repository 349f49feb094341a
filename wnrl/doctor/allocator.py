"""Keep what an update frees for the next update. Not for measuring memory: that is
`wnrl.doctor.memory`.

The C library gives the end of its heap back to the system whenever enough of it is free, and the
next update faults it in again, page by page: as much as a tenth of a DQN update's time, by the luck
of what lies where. A training process takes the same few buffers over and over, so it keeps them.
"""

import ctypes
import sys

KEPT_BYTES = 512 * 1024**2  # free memory at the heap's end before any of it is given back
# Blocks up to this size come from the heap at all; glibc allows no larger threshold.
HEAP_BLOCK_BYTES = 32 * 1024**2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory, for the whole process; elsewhere nothing happens.

    Returns:
        Whether it was set.

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
