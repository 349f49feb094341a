"""Test whether a run plays clearly better than a random policy, with the same game and protocol.

Compares the mean of the last 20 training returns with that of random play (evaluation with
epsilon 1). A run is clearly better if the difference exceeds three standard errors. One run shows
that learning works; it does not show which normalization is better.

    python scripts/beat_random.py RUN_DIR [RUN_DIR ...] [--episodes 100] [--csv FILE]
"""

import argparse
import csv
import math
import statistics
import sys
from pathlib import Path

from result_rows import show, write_csv

from wnrl._settings import UsageError
from wnrl.evaluate import evaluate_run
from wnrl.train.storage.run_folder import read_config

LAST = 20
ERRORS = 3.0


def compare(run_dir: Path, episodes: int) -> dict[str, object]:
    """Compare one run with random play; return a row of the table."""
    config = read_config(run_dir)
    with (run_dir / "episodes.csv").open() as file:
        returns = [float(row["raw_return"]) for row in csv.DictReader(file)][-LAST:]
    if len(returns) < LAST:
        raise UsageError(f"{run_dir} has {len(returns)} episodes; train it until it has {LAST}")
    evaluation = evaluate_run(run_dir, episodes, epsilon=1.0)
    random = [episode.raw_return for episode in evaluation.episodes]
    mean, random_mean = statistics.mean(returns), statistics.mean(random)
    error = math.sqrt(statistics.variance(returns) / LAST + statistics.variance(random) / episodes)
    return {
        "env": config.run.env,
        "protocol": config.run.protocol,
        "agent": config.run.agent,
        "norm": config.run.norm,
        "seed": config.run.seed,
        "agent_steps": evaluation.agent_steps,
        f"mean_of_last_{LAST}_returns": round(mean, 2),
        "random_mean": round(random_mean, 2),
        "random_episodes": episodes,
        "standard_error_of_difference": round(error, 3),
        "errors_above_random": round((mean - random_mean) / error, 1) if error else math.inf,
        "clearly_above": mean > random_mean + ERRORS * error,
    }


def main() -> int:
    """Print one row per run; return 0 if all are clearly better, 1 if not, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dirs", nargs="+", type=Path, metavar="RUN_DIR", help="run folders")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of random play")
    parser.add_argument("--csv", type=Path, help="file for the table")
    given = parser.parse_args()
    try:
        if given.episodes < 2:
            raise UsageError(f"--episodes must be at least 2, not {given.episodes}")
        rows = [compare(run_dir, given.episodes) for run_dir in given.run_dirs]
    except UsageError as error:
        print(f"beat_random: {error}", file=sys.stderr)
        return 2
    for row in rows:
        show(row)
    if given.csv:
        write_csv(given.csv, rows)
    return 0 if all(row["clearly_above"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
