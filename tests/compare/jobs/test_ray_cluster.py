"""`wnrl.compare --ray` on a real Ray cluster of two nodes on this machine, which loses one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wnrl.compare import command as compare
from wnrl.train.storage.run_status import saved_steps

LIMIT_S = 200
GRID = ["--env=toy/Catch", "--norm", "none", "weight", "--seeds=1", "--warmup-steps=200"]
GRID += ["--eval-every-steps=0", "--no-wall-time"]
LONG = [*GRID, "--steps=1400", "--checkpoint-every-steps=200"]


def go(*arguments: object) -> int:
    return compare.main([str(argument) for argument in arguments])


def episodes(out: Path) -> dict[str, bytes]:
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("episodes.csv"))}


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs_of(out: Path) -> dict[str, tuple[int, int]]:
    """Return the process ids of each run and of the worker that watches it, by normalization."""
    processes = {}
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = cmdline.read_text().split("\0")
            stat = (cmdline.parent / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if (
            "wnrl.train" in arguments
            and "wnrl.compare.jobs.process" not in arguments
            and str(out) in " ".join(arguments)
        ):
            name = next(norm for norm in ("none", "weight") if f"dqn-{norm}" in " ".join(arguments))
            processes[name] = int(cmdline.parent.name), int(stat[1])
    return processes


def saved(out: Path, norm: str) -> int:
    return max((saved_steps(folder) for folder in out.rglob(f"dqn-{norm}*/seed1")), default=0)


class Command:
    """The command in a subprocess."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wnrl.compare", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_lost_worker_and_a_lost_node_change_nothing(cluster: Any, tmp_path: Path) -> None:
    here, spread = tmp_path / "here", tmp_path / "spread"
    assert go(*LONG, "--jobs=2", "--out", here) == 0

    command = Command(*LONG, "--ray", cluster.address, "--out", spread)
    until(lambda: min(saved(spread, "none"), saved(spread, "weight")) >= 200)
    process, worker = runs_of(spread)["none"]
    os.kill(worker, signal.SIGKILL)
    until(lambda: process not in {pid for pid, _ in runs_of(spread).values()})  # it goes with it
    until(lambda: len(runs_of(spread)) == 2)
    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    output = command.process.communicate(timeout=LIMIT_S)[0]

    assert command.process.returncode == 0, output
    assert "2 at a time on Ray (2 nodes with 2 CPUs and 0 GPUs), 1 CPU thread each" in output
    assert "ended early: lost: WorkerCrashedError" in output
    assert "ended early: lost: NodeDiedError" in output
    assert runs_of(spread) == {}
    assert len(episodes(here)) == 2
    assert episodes(spread) == episodes(here)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_to_interrupt_it_ends_every_run_with_a_checkpoint(cluster: Any, tmp_path: Path) -> None:
    forever = [*GRID, "--steps=1e7", "--checkpoint-every-steps=0"]
    command = Command(*forever, "--ray", cluster.address, "--out", tmp_path)
    until(lambda: [len(text) > 200 for text in episodes(tmp_path).values()] == [True, True])
    command.process.send_signal(signal.SIGTERM)
    output = command.process.communicate(timeout=LIMIT_S)[0]
    assert command.process.returncode == 128 + signal.SIGTERM, output
    assert "stopped; to continue, repeat the command" in output
    assert runs_of(tmp_path) == {}
    assert min(saved(tmp_path, "none"), saved(tmp_path, "weight")) > 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_seeds_in_stages_are_decided_as_on_one_machine(cluster: Any, tmp_path: Path) -> None:
    here, spread = tmp_path / "here", tmp_path / "spread"
    staged = [*GRID[:4], "--steps=300", "--until=decided", "--seeds=3", "--max-seeds=4", *GRID[5:]]
    assert go(*staged, "--jobs=2", "--out", here) == 0
    command = Command(*staged, "--ray", cluster.address, "--out", spread)
    output = command.process.communicate(timeout=LIMIT_S)[0]
    assert command.process.returncode == 0, output
    assert "runs instead of 8 (4 seeds for all)" in output
    kept = [json.loads((out / "compare.json").read_text())["stages"] for out in (here, spread)]
    assert kept[0] == kept[1]
    assert kept[0]["decisions"][0]["final"]


def test_an_address_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("nonsense", "ray://head:10001"):
        assert go(*GRID, "--ray", address, "--out", tmp_path / "out") == 2
        refusal = f"--ray {address!r} is not an address; give the head's HOST:PORT"
        assert refusal in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_told_in_one_line_and_bounded_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wnrl.compare.jobs.ray_cluster._CONNECT_S", 3)
    assert go(*GRID, "--ray=127.0.0.1:9", "--out", tmp_path / "out") == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert "cannot reach a Ray cluster (no answer within 3 s); start one" in output


def test_without_ray_the_install_line_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "wnrl.compare.jobs.ray_cluster", raising=False)
    assert go(*GRID, "--ray=auto", "--out", tmp_path / "out") == 2
    assert "--ray needs ray; pip install 'wnrl[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gpus-per-run=0.5"], "--gpus-per-run requires --ray"),
        (["--memory-per-run=1e9"], "--memory-per-run requires --ray"),
        (["--only=1", "--jobs=2"], "drop --jobs"),
        (["--only=1", "--ray=auto"], "drop --ray"),
        (["--only=3"], "--only 3 is out of range; the grid has 2 runs"),
    ],
)
def test_flags_of_another_place_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert go(*GRID, *flags, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
