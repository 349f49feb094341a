"""Watch a long training run: memory, open files, threads and disk must not grow after a warm-up.

    python scripts/soak.py --out soak.csv --run-dir runs/soak -- --env Breakout --preset fast

Everything after `--` goes to `python -m wnrl.train`.
Samples every 10 s into a CSV, stops the run with SIGTERM at the end, prints what grew, and exits
with 1 if memory grew by more than 2% between the end of the warm-up and the end.
"""

import argparse
import csv
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

INTERVAL_S = 10.0
ALLOWED_GROWTH = 0.02
WINDOW = 0.1  # share of the samples after the warm-up that is compared, at its start and its end


class Sample(NamedTuple):
    """What a process holds at one moment."""

    elapsed_s: float
    memory_mib: float  # resident and not shared with files
    open_files: int
    threads: int
    disk_mib: float  # of the run folder


def sample(process: int, run_dir: Path, elapsed_s: float) -> Sample:
    """Read a process's state from /proc, and the size of its run folder."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
    )
    sizes = []
    for path in run_dir.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:  # an old checkpoint that is being removed
            continue
    return Sample(
        round(elapsed_s, 1),
        int(status["RssAnon"].split()[0]) / 1024,
        len(os.listdir(f"/proc/{process}/fd")),
        int(status["Threads"]),
        sum(sizes) / 2**20,
    )


def main() -> int:
    """Run, watch, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--warmup-minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, required=True, help="CSV file of the samples")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("train", nargs="*", help="arguments of wnrl.train, after --")
    given = parser.parse_args()
    command = [sys.executable, "-m", "wnrl.train", "--run-dir", str(given.run_dir), *given.train]
    samples: list[Sample] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        start_s = time.monotonic()
        while process.poll() is None and time.monotonic() - start_s < 60 * given.minutes:
            time.sleep(INTERVAL_S)
            samples.append(sample(process.pid, given.run_dir, time.monotonic() - start_s))
            with given.out.open("w", newline="") as file:
                csv.writer(file).writerows([Sample._fields, *samples])
        process.send_signal(signal.SIGTERM)
    if process.returncode != 128 + signal.SIGTERM:
        print(f"the run ended by itself with exit code {process.returncode}")
        return 1
    return report([x for x in samples if x.elapsed_s > 60 * given.warmup_minutes])


def report(samples: list[Sample]) -> int:
    """Print the growth of each quantity after the warm-up; return the exit code."""
    size = max(1, int(WINDOW * len(samples)))
    growth = {}
    for name in Sample._fields[1:]:
        values = [getattr(x, name) for x in samples]
        first, last = statistics.median(values[:size]), statistics.median(values[-size:])
        growth[name] = last / first - 1
        print(f"{name}: {first:.1f} -> {last:.1f} ({growth[name]:+.2%}), at most {max(values):.1f}")
    return int(growth["memory_mib"] > ALLOWED_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
