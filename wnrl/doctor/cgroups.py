"""Where this process's control groups lie, whose limits count as much as the machine's own.

Reads Linux's own files; elsewhere there are no groups.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Group(NamedTuple):
    """A folder with one controller's files."""

    folder: Path
    version: int  # 1 or 2: the files have other names


def groups(controller: str, root: Path) -> Iterator[Group]:
    """The group of this process, and each above it, in every hierarchy with this controller.

    Args:
        controller: for example `cpu` or `memory`.
        root: where `proc` and `sys` lie.
    """
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2, one tree for all controllers
            mount, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            mount, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        # Inside a container the path may be the host's, which is not mounted: then only the mount
        # itself, the container's own group, is found.
        relative = PurePosixPath(path.lstrip("/"))
        for group in (relative, *relative.parents):
            yield Group(mount / group, version)


def read_text(path: Path) -> str | None:
    """A file's text; None if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return None
