"""A Ray cluster on this machine."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

OBJECT_STORE_BYTES = 80 * 2**20  # nothing goes through it, and a container's /dev/shm is small


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head and a node, of one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # At Ray's own 15 runs starve while others work here.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray's spelling
    from ray.cluster_utils import Cluster

    started = Cluster()
    try:
        for _ in range(2):
            started.add_node(
                num_cpus=1, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False
            )
        yield started
    finally:
        started.shutdown()
