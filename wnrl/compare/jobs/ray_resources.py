"""Decide what a run reserves on a Ray cluster, and how many runs fit; Ray itself places them.

The names are Ray's: a CPU is a core that runs may reserve, and a GPU may be shared.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from wnrl._settings import SettingError, UsageError

_ROUNDING = 1e-6  # makes 0.3 / 0.1 three runs on a GPU in spite of floating point


class Node(NamedTuple):
    """A node's total resources, including those in use."""

    id: str
    cpus: float
    gpus: float
    memory_bytes: float


class Share(NamedTuple):
    """Resources that a run reserves on its node."""

    cpus: int
    gpus: float
    memory_bytes: int


def describe_nodes(nodes: Sequence[Node]) -> str:
    """Describe the cluster: `2 nodes with 8 CPUs and 1 GPU`."""
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return (
        f"{_counted(len(nodes), 'node')} with {_counted(cpus, 'CPU')} and {_counted(gpus, 'GPU')}"
    )


def gpu_share(nodes: Sequence[Node], device: str, requested: float) -> float:
    """Return the share of a GPU that a run reserves: 0 if it needs none or there are none.

    Args:
        nodes: the cluster.
        device: the run's device, as for `resolve_device`.
        requested: share of a GPU, 0 to 1.

    Raises:
        SettingError: the cluster cannot provide the device.
    """
    if device == "cpu":
        return 0.0
    if device not in ("auto", "cuda"):
        raise SettingError(
            "device", f"{device!r} names one GPU, but Ray chooses it; use cuda, auto or cpu"
        )
    has_gpus = any(node.gpus for node in nodes)
    if device == "cuda" and not has_gpus:
        raise SettingError("device", "cuda: no node of the Ray cluster has a GPU; use auto or cpu")
    if device == "cuda" and not requested:
        raise SettingError(
            "gpus_per_run", "0 leaves no GPU for device cuda; reserve more, or use auto or cpu"
        )
    return requested if has_gpus else 0.0


def room(nodes: Sequence[Node], share: Share) -> int:
    """Return how many runs fit on the cluster at a time if nothing else uses it.

    Raises:
        UsageError: no node has room for a single run.
    """
    rooms = [_room_on(node, share) for node in nodes]
    if not any(rooms):
        raise UsageError(
            f"no node of the Ray cluster has the {share.cpus} CPUs, {share.gpus:g} GPUs and "
            f"{share.memory_bytes:,} bytes that a run reserves; lower threads, gpus_per_run or "
            "memory_per_run"
        )
    return sum(rooms)


def _room_on(node: Node, share: Share) -> int:
    has, needs = (node.cpus, node.gpus, node.memory_bytes), share
    rooms = [have / need if need else math.inf for have, need in zip(has, needs, strict=True)]
    return int(min(rooms) + _ROUNDING)


def _counted(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
