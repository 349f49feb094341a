"""A run that was killed goes on as if it had never been, on the real emulator."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wnrl.train.storage.checkpoint import Checkpoints

RUN = [
    sys.executable,
    "-m",
    "wnrl.train",
    "--env=Breakout",
    "--steps=6000",
    "--checkpoint-every-steps=1500",
    "--eval-every-steps=4000",
    "--eval-episodes=2",
    "--threads=1",
    "--no-wall-time",
]
LIMIT_S = 600
# Runs a command and prints its peak in KiB. In a small process of its own: a child begins with its
# parent's peak, and that of these tests may be larger.
PEAK_OF = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
status, usage = os.wait4(process.pid, 0)[1:]
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
EVALUATION_BYTES = 100 * 1024**2  # of its emulators, which are not announced


def final_network(run_dir: Path) -> bytes:
    saved = Checkpoints(run_dir).latest()
    assert saved is not None
    assert saved.step >= 6_000
    return (saved.path / "network.pt").read_bytes()


def run_whole(command: list[str], run_dir: Path) -> tuple[float, int]:
    """Run to the end; the peak memory that it announced, and the one that the system saw."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF, *command, f"--run-dir={run_dir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    announced = re.search(r"memory +([0-9.]+) (MiB|GiB) at the peak", done.stdout)
    assert announced is not None
    units = {"MiB": 1024**2, "GiB": 1024**3}
    return float(announced[1]) * units[announced[2]], int(done.stdout.split()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize(
    "agent",
    [["--preset=fast"], ["--agent=ppo"], ["--agent=pqn", "--preset=fast"]],
    ids=["dqn", "ppo", "pqn"],
)
def test_a_run_killed_after_its_second_checkpoint_ends_as_one_never_stopped(
    agent: list[str], tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [*RUN, *agent]
    announced_bytes, peak_bytes = run_whole(command, whole)
    assert peak_bytes == pytest.approx(announced_bytes, rel=0.1, abs=EVALUATION_BYTES)

    process = subprocess.Popen([*command, f"--run-dir={killed}"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + LIMIT_S
        while len(Checkpoints(killed).steps()) < 2:
            assert process.poll() is None, "it ended before its second checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)  # on its way to the third
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len((killed / "episodes.csv").read_bytes()) < len((whole / "episodes.csv").read_bytes())

    resume = [sys.executable, "-m", "wnrl.train", "--resume", str(killed)]
    subprocess.run(resume, check=True, capture_output=True, timeout=LIMIT_S)
    for table in ("episodes.csv", "evaluations.csv"):
        assert (killed / table).read_bytes() == (whole / table).read_bytes()
    assert final_network(killed) == final_network(whole)
