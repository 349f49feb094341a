"""Functions that numba compiles for CPUs, and the threads that call them.

Importing this file does not import numba, which takes most of a second.
"""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def compiled(function: Callable[..., None], fastmath: Collection[str] = ()) -> Any:
    """Return a function that numba compiles when it is first called.

    It releases Python's lock while it works. Its code is kept on disk, next to its file or in the
    user's cache folder.

    Args:
        function: loops over numpy arrays, which it changes.
        fastmath: LLVM's fast-math flags; with none of them, every operation rounds as in torch.
    """
    import numba

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": set(fastmath)}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for compiled code can be written: compile in each process
        return numba.njit(**options)(function)


def in_threads(calls: Sequence[Callable[[], None]]) -> None:
    """Do all calls at the same time, the first one in this thread."""
    others = [_pool(os.getpid(), len(calls) - 1).submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of a process; those of its parent do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="wnrl")
