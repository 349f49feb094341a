"""Plot training curves from episodes.csv: mean raw return over the last 100 episodes.

    pip install -c constraints.txt -e .
    python scripts/plot_episodes.py OUT.png TITLE label=EPISODES.csv [label=EPISODES.csv ...]

The picture shows single runs. `python -m wnrl.compare` compares normalizations, over seeds.
"""

import csv
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

WINDOW = 100


def read(path: Path) -> tuple[list[int], list[float]]:
    """Agent steps at which episodes ended, and mean returns of the last `WINDOW` episodes there."""
    steps, returns, means = [], [], []
    with path.open() as file:
        for row in csv.DictReader(file):
            steps.append(int(row["agent_step"]))
            returns.append(float(row["raw_return"]))
            recent = returns[-WINDOW:]
            means.append(sum(recent) / len(recent))
    return steps, means


def main(out: str, title: str, *runs: str) -> None:
    """Draw one line per run."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for run in runs:
        label, _, path = run.partition("=")
        axes.plot(*read(Path(path)), label=label, linewidth=1.4)
    axes.set_xlabel("agent steps (1 agent step = 4 emulator frames)")
    axes.set_ylabel(f"raw return, mean of the last {WINDOW} episodes")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
