"""A user's normalization, network and environment in a comparison that is killed and repeated.

The modules are those of docs/your_own_parts.md. They are in the folder where the command is typed,
which no node of the Ray cluster knows by itself.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from own_parts import EXAMPLES, write_modules

from wnrl.nn import NETWORKS, NORMS
from wnrl.train import command
from wnrl.train.storage.run_status import saved_steps

LIMIT_S = 300  # a hang, not a speed
MODULES = ["--import=my_norm", "--import=my_network", "--env=corridor:Corridor-v0"]
RUNS = ["--network=shallow", "--steps=1000", "--warmup-steps=100", "--checkpoint-every-steps=100"]
RUNS += ["--eval-every-steps=0", "--no-wall-time", "--no-calibrate", "--threads=1"]


def typed(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Start a comparison in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "wnrl.compare", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_pids(out: Path) -> list[int]:
    """Return the processes that train in a folder."""
    pids = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = cmdline.read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        starting = "wnrl.compare.jobs.process" in arguments
        if "wnrl.train" in arguments and not starting and str(out) in " ".join(arguments):
            pids.append(int(cmdline.parent.name))
    return pids


def saved(out: Path) -> int:
    return max((saved_steps(path.parent) for path in out.rglob("config.json")), default=0)


def episodes(out: Path) -> dict[str, bytes]:
    """Return the content of episodes.csv by the name of the run: `pixel-seed1`."""
    found = {}
    for folder in (path.parent for path in out.rglob("episodes.csv")):
        norm = folder.parent.name.split("-")[1]
        found[f"{norm}-{folder.name}"] = (folder / "episodes.csv").read_bytes()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands are typed."""
    folder = tmp_path_factory.mktemp("typed")
    write_modules(folder)
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> Iterator[dict[str, bytes]]:
    """The episodes of the same runs, trained one after the other in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for norm, seed in itertools.product(("none", "pixel"), (1, 2)):
            run = f"--run-dir={folder}/whole/dqn-{norm}/seed{seed}"
            assert command.main([*MODULES, *RUNS, f"--norm={norm}", f"--seed={seed}", run]) == 0
    yield episodes(folder / "whole")
    del NORMS["pixel"], NETWORKS["shallow"], gymnasium.registry["Corridor-v0"]
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def kill_and_repeat(folder: Path, out: Path, *place: str) -> None:
    """Kill a run and the command while they work, and type the command again."""
    grid = [*MODULES, *RUNS, "--seeds=2", *place, f"--out={out}"]
    first = typed(folder, *grid)
    deadline = time.monotonic() + LIMIT_S
    while not (saved(out) >= 100 and (pids := run_pids(out))):
        assert first.poll() is None, first.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)  # so that it does not start the run again
    os.kill(pids[0], signal.SIGKILL)
    first.kill()
    first.communicate()
    assert not (out / "report.html").exists()
    second = typed(folder, *grid)
    output = second.communicate(timeout=LIMIT_S)[0]
    assert second.returncode == 0, output


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_own_parts_are_compared_killed_and_reported(
    folder: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    kill_and_repeat(folder, tmp_path, "--norm", "none", "pixel", "--jobs=2")
    assert sorted(whole) == ["none-seed1", "none-seed2", "pixel-seed1", "pixel-seed2"]
    assert episodes(tmp_path) == whole
    for report in ("summary.md", "scores.csv", "report.html"):
        assert "pixel" in (tmp_path / report).read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_own_parts_are_compared_and_killed_on_ray(
    cluster: Any, folder: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    kill_and_repeat(folder, tmp_path, "--norm=pixel", "--ray", cluster.address)
    assert episodes(tmp_path) == {x: rows for x, rows in whole.items() if x.startswith("pixel")}
    assert "| pixel |" in (tmp_path / "summary.md").read_text()
