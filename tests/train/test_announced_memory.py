"""The memory that a run announces is the memory that it takes, on the real emulator."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = [
    sys.executable,
    "-m",
    "wnrl.train",
    "--env=Breakout",
    "--steps=3000",
    "--checkpoint-every-steps=1000",
    "--eval-every-steps=2000",
    "--eval-episodes=2",
    "--threads=1",
    "--no-wall-time",
]
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
UNITS = {"MiB": 1024**2, "GiB": 1024**3}


@pytest.mark.slow
@pytest.mark.parametrize("agent", [["--preset=fast"], ["--agent=ppo"]], ids=["dqn", "ppo"])
def test_a_run_announces_the_memory_that_it_takes(agent: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PEAK_OF, *RUN, *agent, f"--run-dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    announced = re.search(r"memory +([0-9.]+) (MiB|GiB) at the peak", done.stdout)
    assert announced is not None
    announced_bytes = float(announced[1]) * UNITS[announced[2]]
    peak_bytes = int(done.stdout.split()[-1]) * 1024
    assert peak_bytes == pytest.approx(announced_bytes, rel=0.1, abs=EVALUATION_BYTES)
