"""Runs that fit on a cluster: tables by hand, and the plan of a grid made from them."""

from pathlib import Path

import pytest

from wnrl._settings import UsageError
from wnrl.compare.grid import PlannedRun, make_grid
from wnrl.compare.jobs.ray_resources import Node, Share, describe_nodes, gpu_share, room
from wnrl.compare.plan import Plan, plan_on_cluster
from wnrl.compare.plan_text import describe_plan

GB = 10**9
SMALL = Node("small", 3, 0, 8 * GB)
LARGE = Node("large", 16, 2, 64 * GB)


@pytest.mark.parametrize(
    ("nodes", "share", "runs"),
    [
        ([SMALL], Share(1, 0, 0), 3),
        ([SMALL, LARGE], Share(2, 0, 0), 1 + 8),
        ([SMALL, LARGE], Share(1, 0.25, 0), 8),  # none on the node without a GPU
        ([LARGE], Share(1, 0.1, 0), 16),  # 20 by GPUs
        ([SMALL, LARGE], Share(1, 0, 5 * GB), 1 + 12),
    ],
)
def test_the_scarcest_of_a_node_says_how_many_runs_it_takes(
    nodes: list[Node], share: Share, runs: int
) -> None:
    assert room(nodes, share) == runs


def test_a_run_that_no_node_has_room_for_is_refused_though_all_together_would() -> None:
    with pytest.raises(
        UsageError, match="the 4 CPUs, 0 GPUs and 0 bytes that a run reserves; lower threads"
    ):
        room([SMALL, SMALL], Share(4, 0, 0))


def test_a_tenth_of_a_gpu_is_for_ten_runs() -> None:
    assert room([Node("", 99, 0.3, 0)], Share(1, 0.1, 0)) == 3  # 0.3 / 0.1 < 3


def test_a_gpu_is_reserved_where_there_is_one_and_the_device_may_be_one() -> None:
    assert gpu_share([SMALL, LARGE], "auto", 0.25) == 0.25
    assert gpu_share([SMALL, LARGE], "cuda", 0.25) == 0.25
    assert gpu_share([SMALL, LARGE], "cpu", 0.25) == 0
    assert gpu_share([SMALL], "auto", 0.25) == 0


@pytest.mark.parametrize(
    ("nodes", "device", "wanted", "message"),
    [
        ([SMALL], "cuda", 0.25, "no node of the Ray cluster has a GPU"),
        ([LARGE], "cuda", 0, "gpus_per_run 0 leaves no GPU"),
        ([LARGE], "cuda:1", 0.25, "device 'cuda:1' names one GPU, but Ray chooses it"),
    ],
)
def test_a_device_that_the_cluster_cannot_promise_is_refused(
    nodes: list[Node], device: str, wanted: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        gpu_share(nodes, device, wanted)


def grid(out: Path, seeds: int, **settings: object) -> list[PlannedRun]:
    return make_grid(
        settings, envs=["Breakout"], norms=["none"], sweep={}, seeds=range(1, seeds + 1), out=out
    )


def plan(planned: list[PlannedRun], jobs: int = 0) -> Plan:
    return plan_on_cluster([SMALL, LARGE], planned, jobs, gpus_per_run=0.5, memory_per_run=0)


def test_the_clusters_cores_are_shared_out_as_threads(tmp_path: Path) -> None:
    few = plan(grid(tmp_path, 4, device="cpu"))
    assert [each.config.run.threads for each in few.grid] == [19 // 4] * 4
    assert (few.share, few.jobs) == (Share(4, 0.0, 0), 4)  # all on the larger node
    many = plan(grid(tmp_path, 40, device="cpu"))
    assert (many.share.cpus, many.jobs) == (1, 19)
    assert plan(grid(tmp_path, 40, device="cpu"), jobs=5).jobs == 5
    one = plan_on_cluster([SMALL] * 9, grid(tmp_path, 1), 0, gpus_per_run=0, memory_per_run=0)
    assert one.share.cpus == 3  # what one node has


def test_a_plan_says_where_it_runs(tmp_path: Path) -> None:
    lines = describe_plan(plan(grid(tmp_path, 40, threads=1)))
    assert lines[1] == ("  4 at a time on Ray (2 nodes with 19 CPUs and 2 GPUs), 1 CPU thread each")
    assert describe_nodes([LARGE]) == "1 node with 16 CPUs and 2 GPUs"
