"""Test whether each agent solves CartPole-v1 with its defaults, and measure the CPU time.

A run solves it if the mean of its last 20 training returns is at least 195. Every agent,
normalization and seed is one process of the training command and one row of the table.

    python scripts/solve_cartpole.py [--agent dqn pqn a2c ppo] [--norm weight none] [--seeds 1 2 3]
        [--csv FILE]
"""

import argparse
import csv
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from result_rows import show, write_csv

from wnrl.agents.catalogue import AGENTS
from wnrl.config import make_config
from wnrl.doctor.software import git_commit

ENV = "CartPole-v1"
LAST = 20
SOLVED = 195.0


def solve(agent: str, norm: str, seed: int) -> dict[str, object]:
    """Train once and return a row of the table."""
    steps = make_config(env=ENV, agent=agent).run.steps
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "wnrl.train", f"--env={ENV}", f"--agent={agent}"]
        command += [
            f"--norm={norm}",
            f"--seed={seed}",
            f"--run-dir={folder}/run",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} exited with code {process.returncode}")
        with (Path(folder) / "run" / "episodes.csv").open() as file:
            returns = [float(row["raw_return"]) for row in csv.DictReader(file)]
    mean = sum(returns[-LAST:]) / len(returns[-LAST:])
    return {
        "env": ENV,
        "agent": agent,
        "norm": norm,
        "seed": seed,
        "agent_steps": steps,
        f"mean_of_last_{LAST}_returns": round(mean, 2),
        "solved": mean >= SOLVED,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "commit": git_commit() or "",
    }


def main() -> None:
    """Train every agent, normalization and seed; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", nargs="+", choices=AGENTS, default=list(AGENTS), help="agents")
    parser.add_argument("--norm", nargs="+", default=["weight", "none"], help="normalizations")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="random seeds")
    parser.add_argument("--csv", type=Path, help="file for the table")
    given = parser.parse_args()
    rows = []
    for agent, norm, seed in itertools.product(given.agent, given.norm, given.seeds):
        rows.append(solve(agent, norm, seed))
        show(rows[-1])
    if given.csv:
        write_csv(given.csv, rows)


if __name__ == "__main__":
    main()
