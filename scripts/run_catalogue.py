"""Train one instrumented run with every normalization and tabulate the outcomes.

    python scripts/run_catalogue.py --out RUNS [--env CartPole-v1] [--agent pqn] [--csv FILE]

Each run has one seed and one thread, and on Atari `--preset fast` and no evaluation. The table
shows that every normalization trains without a fault and that its instruments read finite numbers;
one seed does not compare them. Runs that ended in the folder after the same number of steps are not
repeated.
"""

import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wnrl.envs.make import is_atari
from wnrl.nn.norms.catalogue import NORMS, get_norm

Row = dict[str, Any]
RECENT = 20  # episodes in the mean return
COLUMNS = (  # a failed run has only the first four
    "norm",
    "agent_steps",
    "exit_code",
    "cpu_s",
    "seed",
    "episodes",
    f"mean_return_last_{RECENT}",
    "instrument_tags",
    "readings",
    "not_finite",
    "instruments_share",
)


def train(norm: str, folder: Path, steps: int, env: str, agent: str) -> tuple[int, float]:
    """Train one run; return its exit code and CPU time in seconds."""
    command = [sys.executable, "-m", "wnrl.train", "--env", env, "--agent", agent]
    command += ["--preset", "fast"] if is_atari(env) else []
    command += ["--norm", *norm.split()]
    command += ["--steps", str(steps), "--threads", "1", "--no-calibrate"]
    if is_atari(env):  # where a greedy policy that never serves plays for half an hour
        command += ["--eval-every-steps", "0"]
    else:
        command += ["--eval-every-steps", str(steps), "--eval-episodes", "5"]
    command += ["--run-dir", str(folder)]
    log = folder.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        child = subprocess.Popen([*command, "--overwrite"], stdout=file, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)  # for Popen, which did not wait
    return child.returncode, usage.ru_utime + usage.ru_stime


def read(norm: str, folder: Path) -> Row:
    """Read a run's returns and its instruments' scalars from its folder."""
    with (folder / "episodes.csv").open() as file:
        returns = [float(row["raw_return"]) for row in csv.DictReader(file)]
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    instruments = {tag: points for tag, points in scalars.items() if tag.startswith("norm/")}
    values = [point.value for points in instruments.values() for point in points]
    shares = [point.value for point in scalars.get("time/instruments_share", ())]
    config = json.loads((folder / "config.json").read_text())
    mean = statistics.fmean(returns[-RECENT:]) if returns else math.nan
    return {
        "norm": norm,
        "seed": config["run"]["seed"],
        "episodes": len(returns),
        f"mean_return_last_{RECENT}": round(mean, 2),
        "instrument_tags": len(instruments),
        "readings": len(shares) + 1,  # the first reading has no share: no interval precedes it
        "not_finite": sum(not math.isfinite(value) for value in values),
        "instruments_share": round(statistics.median(shares), 5) if shares else math.nan,
    }


def main() -> None:
    """Parse the flags, train, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument(
        "--norm",
        nargs="+",
        default=list(NORMS),
        help='normalizations, each with flags if need be: "batch --norm.statistics target"',
    )
    parser.add_argument("--env", default="Breakout", help="environment")
    parser.add_argument("--agent", default="dqn", help="agent")
    parser.add_argument("--steps", type=int, default=20_000, help="agent steps of each run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, with one thread each")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--csv", type=Path, help="file for the table")
    given = parser.parse_args()
    for norm in given.norm:
        get_norm(norm.split()[0])  # refuses an unknown name before the first run

    def run(norm: str) -> Row:
        name = "_".join(norm.replace("--", "").split())
        folder, ended = given.out / name, given.out / f"{name}.json"
        end: Row = json.loads(ended.read_text()) if ended.exists() else {}
        if end.get("agent_steps") != given.steps:
            ended.unlink(missing_ok=True)  # its run is about to be overwritten
            code, cpu_s = train(norm, folder, given.steps, given.env, given.agent)
            end = {"exit_code": code, "cpu_s": round(cpu_s, 1), "agent_steps": given.steps}
            if code:
                return {"norm": norm} | end
            ended.write_text(json.dumps(end))
        row = read(norm, folder) | end
        print(row, flush=True)
        return row

    with ThreadPoolExecutor(given.jobs) as pool:
        rows = list(pool.map(run, given.norm))
    if given.csv:
        with given.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    failed = [row["norm"] for row in rows if row["exit_code"]]
    print(f"{len(rows)} runs, failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
