"""What a cluster's nodes have and what a run reserves of one; Ray does the placing.

The names are Ray's: a CPU is a core that runs may reserve, and a GPU may be shared.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from wnrl._settings import UsageError

_ROUNDING = 1e-6  # 1 / 0.1 is 10 runs on a GPU, whatever floats make of it


class Node(NamedTuple):
    """What a node has for runs, whoever uses it now."""

    id: str
    cpus: float
    gpus: float
    memory_bytes: float


class Share(NamedTuple):
    """What a run reserves."""

    cpus: int
    gpus: float
    memory_bytes: int


def describe_nodes(nodes: Sequence[Node]) -> str:
    """`2 nodes with 8 CPUs and 1 GPUs`."""
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return f"{len(nodes)} nodes with {cpus:g} CPUs and {gpus:g} GPUs"


def gpu_share(nodes: Sequence[Node], device: str, wanted: float) -> float:
    """The part of a GPU for a run: what is wanted, where there are GPUs and it may use one.

    Args:
        nodes: the cluster.
        device: of the run, as for `resolve_device`.
        wanted: part of a GPU.

    Raises:
        UsageError: the device is one that a cluster cannot promise.
    """
    if device == "cpu":
        return 0.0
    if device not in ("auto", "cuda"):
        raise UsageError(f"--device {device}: Ray chooses the GPU; use cuda, auto or cpu")
    there = any(node.gpus for node in nodes)
    if device == "cuda" and not (there and wanted):
        why = "--gpus-per-run is 0" if there else "no node of the Ray cluster has a GPU"
        raise UsageError(f"--device cuda: {why}; use auto or cpu")
    return wanted if there else 0.0


def room(nodes: Sequence[Node], share: Share) -> int:
    """How many runs have room at a time if nobody else uses the cluster.

    Raises:
        UsageError: not even one.
    """
    rooms = [_room_on(node, share) for node in nodes]
    if not any(rooms):
        raise UsageError(
            f"no node of the Ray cluster has what a run reserves, {share.cpus} CPUs, "
            f"{share.gpus:g} GPUs and {share.memory_bytes:,} bytes; lower --threads, "
            "--gpus-per-run or --memory-per-run"
        )
    return sum(rooms)


def _room_on(node: Node, share: Share) -> int:
    has, needs = (node.cpus, node.gpus, node.memory_bytes), share
    rooms = [have / need if need else math.inf for have, need in zip(has, needs, strict=True)]
    return int(min(rooms) + _ROUNDING)
