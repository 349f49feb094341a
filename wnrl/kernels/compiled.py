"""Functions that numba compiles for CPUs, and the threads that call them.

Importing this file does not import numba, which takes most of a second.
"""

import ctypes
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
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
    """Do all calls at the same time, the first one in this thread.

    The others are done by torch's own OpenMP threads. After a parallel operation these spin for a
    while in case there is another, so any other thread would have to share a core with them.
    """
    if len(calls) == 1:
        calls[0]()
        return
    openmp = _openmp()
    if openmp is None:
        _in_python_threads(calls)
        return
    if os.getpid() != _process:  # OpenMP's threads do not survive a fork
        _one_by_one(calls)
        return
    errors: list[BaseException] = []

    def work(_: None) -> None:
        try:
            _one_by_one(calls[openmp.omp_get_thread_num() :: openmp.omp_get_num_threads()])
        except BaseException as error:  # ctypes would print it and go on
            errors.append(error)

    openmp.GOMP_parallel(_CALLBACK(work), None, len(calls), 0)
    if errors:
        raise errors[0]


_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_process = os.getpid()


def _one_by_one(calls: Sequence[Callable[[], None]]) -> None:
    for call in calls:
        call()


@cache
def _openmp() -> Any:
    """Return the OpenMP library that torch uses, or None where it has another interface."""
    import torch

    libraries = Path(torch.__file__).with_name("lib").glob("libtorch_cpu.*")
    try:
        library = ctypes.CDLL(str(next(libraries)))  # finds what is in the libraries that it needs
        library.GOMP_parallel.argtypes = (_CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        library.GOMP_parallel.restype = None
    except (StopIteration, OSError, AttributeError):
        return None
    return library


def _in_python_threads(calls: Sequence[Callable[[], None]]) -> None:
    others = [_pool(os.getpid(), len(calls) - 1).submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of a process; those of its parent do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="wnrl")
