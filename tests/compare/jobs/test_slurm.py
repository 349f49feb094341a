"""scripts/compare_slurm.sh without Slurm: what it submits, and its tasks run by hand."""

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wnrl.train.storage.run_status import saved_steps

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the script is bash's")

SCRIPT = Path(__file__).parents[3] / "scripts" / "compare_slurm.sh"
LIMIT_S = 200
GRID = ["--env=toy/Catch", "--norm", "none", "weight", "--seeds=1", "--warmup-steps=200"]
GRID += ["--eval-every-steps=0", "--no-wall-time"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Replace the Slurm commands by scripts that record their arguments, one per line."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "scontrol"):
        command = commands / name
        command.write_text(
            f"#!/bin/sh\nprintf '%s\\n' {name} \"$@\" >> {tmp_path}/recorded\n"
            f"[ {name} = scontrol ] || echo '7;cluster'\n"
        )
        command.chmod(0o755)
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


def recorded(tmp_path: Path) -> list[str]:
    return (tmp_path / "recorded").read_text().splitlines()


def task(number: int, environment: dict[str, str], *flags: object) -> subprocess.Popen[bytes]:
    slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": "7"}
    return subprocess.Popen(
        ["bash", str(SCRIPT), *GRID, *map(str, flags)], env={**environment, **slurm}
    )


@pytest.mark.slow
def test_an_array_of_all_runs_is_submitted_and_then_the_tables(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    out = tmp_path / "of two words"
    flags = ["--steps=300", "--out", str(out)]
    command = ["bash", str(SCRIPT), "--time=1:00", "--mem=2G", "--", *GRID, *flags]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == (
        f"submitted 2 runs as array job 7; a second job writes the report to {out}"
    )
    lines = recorded(tmp_path)
    array, tables = lines[: lines.index("sbatch", 1)], lines[lines.index("sbatch", 1) :]
    assert {"--array=1-2", "--requeue", "--signal=B:USR1@120"} <= set(array)
    assert array[array.index("--time=1:00") :] == [*command[2:4], str(SCRIPT), *GRID, *flags]
    assert "--dependency=afterany:7" in tables
    assert not out.exists()

    both = [task(number, environment, *flags) for number in (1, 2)]
    assert [each.wait(LIMIT_S) for each in both] == [0, 0]
    report = tables[-1].removeprefix("--wrap=")
    assert shlex.split(report)[-1] == str(out)
    subprocess.run(["bash", "-c", report], env=environment, check=True, capture_output=True)
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [(row["norm"], row["done"]) for row in rows] == [("none", "yes"), ("weight", "yes")]
    assert not list(out.glob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code", "again"),
    [(signal.SIGUSR1, 0, ["scontrol", "requeue", "7_2"]), (signal.SIGTERM, 143, [])],
)
def test_a_task_that_has_to_end_leaves_a_checkpoint_and_is_queued_again_at_its_time_limit(
    tmp_path: Path,
    environment: dict[str, str],
    signum: signal.Signals,
    code: int,
    again: list[str],
) -> None:
    out = tmp_path / "out"
    running = task(2, environment, "--steps=1e7", "--checkpoint-every-steps=0", "--out", out)
    deadline = time.monotonic() + LIMIT_S
    while not any(file.stat().st_size > 200 for file in out.rglob("episodes.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signum)
    assert running.wait(LIMIT_S) == code
    (folder,) = (file.parent for file in out.rglob("config.json"))
    assert "dqn-weight" in str(folder)
    assert saved_steps(folder) > 0
    assert (recorded(tmp_path) if again else []) == again


@pytest.mark.slow
def test_stages_are_refused_before_anything_is_submitted(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    flags = ["--until=decided", "--max-seeds=9", "--seeds=3", "--out", str(tmp_path / "out")]
    command = ["bash", str(SCRIPT), "--", *GRID[:4], *flags]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "--only cannot run a stage" in done.stderr
    assert not (tmp_path / "recorded").exists()


def test_the_usage_is_printed_without_a_separator(environment: dict[str, str]) -> None:
    done = subprocess.run(["bash", str(SCRIPT), "--env=toy/Catch"], env=environment, stderr=-1)
    assert done.returncode == 2
    assert b"[SBATCH OPTION ...] -- [FLAG OF wnrl.compare ...]" in done.stderr
