"""Measure the curvature of four normalizations along training; docs/conditioning.md shows it.

    python scripts/conditioning/run.py --out FOLDER [--task digits CartPole-v1 Breakout]
        [--norm none weight batch layer] [--seeds 1 2 3 4 5]

Writes one table per run into FOLDER/parts, and leaves out those that are there, so that a second
call continues where the first was stopped. One thread. `summarize.py` makes the tables of the page.
"""

import argparse
import csv
import itertools
from pathlib import Path

import digits
import reinforcement
import torch

TASKS = ("digits", "CartPole-v1", "Breakout")
NORMS = ("none", "weight", "batch", "layer")
SEEDS = (1, 2, 3, 4, 5)
HEADER = ("task", "norm", "seed", "point", "step", "quantity", "where", "value")


def measured(task: str, norm: str, seed: int, out: Path) -> list[tuple[object, ...]]:
    """Return the rows of one run."""
    if task == "digits":
        points = digits.readings(norm, seed)
    else:
        points = reinforcement.readings(task, norm, seed, out / "runs")
    rows: list[tuple[object, ...]] = []
    for point, (step, score, readings) in enumerate(points):
        for tag, value in {"score/run": score, **readings}.items():
            quantity, where = tag.split("/", 1)
            rows.append((task, norm, seed, point, step, quantity, where, f"{value:.6g}"))
    return rows


def main() -> None:
    """Measure what is missing, every normalization of a seed before the next seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--norm", nargs="+", default=list(NORMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = arguments.out / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for task, seed, norm in itertools.product(arguments.task, arguments.seeds, arguments.norm):
        file = parts / f"{task}_{norm}_seed{seed}.csv"
        if file.exists():
            continue
        rows = measured(task, norm, seed, arguments.out)
        unfinished = file.with_suffix(".tmp")
        with unfinished.open("w", newline="") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerows([HEADER, *rows])
        unfinished.rename(file)
        print(f"{task} {norm} seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
