"""Ask glibc for huge pages: with pages of 4 KB, a network's passes often wait for page addresses.

Imports the standard library only, so that a command can start again before it imports anything.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from wnrl.doctor.cgroups import read_text

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.hugetlb"  # 1: madvise(2) for what malloc(3) gets from the system
_ROOT = Path("/")


def with_huge_pages(environment: Mapping[str, str], root: Path = _ROOT) -> dict[str, str] | None:
    """Return an environment in which malloc asks for huge pages.

    Args:
        environment: this process's.
        root: folder that contains `sys`.

    Returns:
        None if the environment decides it already, or if this system gives huge pages to every
        process or to none.
    """
    given = environment.get(_VARIABLE, "")
    kinds = read_text(root / "sys/kernel/mm/transparent_hugepage/enabled") or ""
    if _TUNABLE in given or "[madvise]" not in kinds:
        return None
    tunables = [*filter(None, [given]), f"{_TUNABLE}=1"]
    return {**environment, _VARIABLE: ":".join(tunables)}


def restart_with_huge_pages() -> None:
    """Start this program again with huge pages, in the same process, if it has none yet.

    glibc reads its settings only when a program starts. Call this first: the program loses
    everything but its process number, its open files and its arguments.
    """
    environment = with_huge_pages(os.environ)
    if environment is None:
        return
    try:
        os.execve(sys.executable, sys.orig_argv, environment)
    except OSError:  # huge pages only save time
        return
