"""Find the Linux control groups of this process, whose limits bind as much as the machine's own.

Shared by `wnrl.doctor.cpus` and `wnrl.doctor.memory`. Other systems have no control groups.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class ControlGroup(NamedTuple):
    """The folder with one controller's files."""

    folder: Path
    version: int  # 1 or 2; the file names differ


def control_groups(controller: str, root: Path) -> Iterator[ControlGroup]:
    """Yield this process's group and each group above it, in every hierarchy with this controller.

    Args:
        controller: for example `cpu` or `memory`.
        root: folder that contains `proc` and `sys`.
    """
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2, one tree for all controllers
            mount, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            mount, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        # Inside a container the path may be the host's, which is not mounted. Then only the mount
        # itself exists, and it is the container's own group.
        relative = PurePosixPath(path.lstrip("/"))
        for group in (relative, *relative.parents):
            yield ControlGroup(mount / group, version)


def read_text(path: Path) -> str | None:
    """Return a file's text, or None if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return None
