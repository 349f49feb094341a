"""Agent steps per second of PQN on Breakout, for wnrl and for CleanRL's public script.

    pip install -c constraints.txt -e '.[bench]'
    git clone https://github.com/vwxyzjn/cleanrl FOLDER
    python -m venv PEERS && PEERS/bin/pip install torch envpool==0.9.0 gym==0.23.1 tyro tensorboard
    python scripts/bench/peers.py --cleanrl FOLDER --python PEERS/bin/python
        [--norm layer weight none] [--rounds 7] [--steps 8_192] [--threads N] [--csv FILE]

wnrl's agent gets CleanRL's numbers: 8 environments, rollouts of 128 steps, 4 passes over 4
minibatches. CleanRL's network has layer normalization. Its script runs unchanged in a process of
its own, and its speed is what it prints, which leaves out its start; wnrl's agents run in this
process. All take turns. Each ratio is to CleanRL's speed in the same round, the median over rounds.
"""

import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from learners import ours
from timing import write_csv
from train import Turn, line, parse_with_turns, summary

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.huge_pages import restart_with_huge_pages
from wnrl.doctor.memory import keep_freed_memory
from wnrl.doctor.software import git_commit
from wnrl.train.flags import Parser, one_line

PEER = "cleanrl pqn"
ROLLOUT = {"num_envs": 8, "rollout_steps": 128, "epochs": 4, "minibatches": 4}
LAUNCH = """
import runpy, sys, torch
torch.set_num_threads(int(sys.argv.pop(1)))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def cleanrl_turn(python: str, script: Path, steps: int, threads: int) -> Turn:
    """Train with CleanRL's script and return the turn that it reports.

    Raises:
        UsageError: it ends with an error, or prints no speed.
    """
    command = [python, "-c", LAUNCH, str(threads), str(script.resolve())]
    command += ["--no-cuda", "--total-timesteps", str(steps)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    speeds = re.findall(r"^SPS: (\d+)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not speeds or speeds[-1] == "0":
        last = (done.stderr.strip() or "it printed no speed").splitlines()[-1]
        raise UsageError(f"{script} failed with {python}: {last}")
    return Turn(steps, steps / int(speeds[-1]), math.nan)


def main(arguments: Sequence[str]) -> None:
    """Take turns, print the table, write the CSV."""
    parser = Parser("bench_peers", description=__doc__)
    parser.add_argument("--cleanrl", type=Path, required=True, help="CleanRL's repository")
    parser.add_argument("--python", required=True, help="interpreter that has CleanRL's packages")
    parser.add_argument("--norm", nargs="+", default=["layer", "weight", "none"], help="of wnrl's")
    given = parse_with_turns(parser, arguments)
    script = given["cleanrl"] / "cleanrl" / "pqn_atari_envpool.py"
    if not script.is_file():
        raise UsageError(f"--cleanrl {given['cleanrl']} has no {script.name} in its folder cleanrl")
    threads = given["threads"]
    keep_freed_memory()  # as in training
    torch.set_num_threads(threads)
    learners = [
        ours(make_config(agent="pqn", norm=norm, threads=threads, **ROLLOUT))
        for norm in given["norm"]
    ]
    turns: dict[str, list[Turn]] = {name: [] for name in (PEER, *(x.name for x in learners))}
    for learner in learners:
        learner.advance(learner.warm_up_steps)
    for _ in range(given["rounds"]):
        steps = learners[0].turn_steps(given["steps"])
        turns[PEER].append(cleanrl_turn(given["python"], script, steps, threads))
        for learner in learners:
            turns[learner.name].append(Turn.of(learner, steps))
    facts = {"threads": threads, "machine": cpu_model(), "torch": torch.__version__}
    facts |= {"commit": git_commit() or "", "peer": PEER}
    rows = [{**summary(name, turns, PEER), "steps_per_round": steps, **facts} for name in turns]
    for row in rows:
        print(line(row, turns[row["agent"]]))
    if given["csv"]:
        write_csv(given["csv"], rows)


if __name__ == "__main__":
    restart_with_huge_pages()  # as in training
    try:
        main(sys.argv[1:])
    except UsageError as error:
        print(f"bench_peers: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
