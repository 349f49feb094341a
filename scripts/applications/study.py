"""A study of one application: a learning rate for each variant, then runs that are judged.

A variant is a normalization, with or without data-dependent initialization. Its learning rate is
chosen on seeds of their own: the one with the smallest mean training loss over the whole run. Every
run is one file, so a study that was stopped continues where it was.

The judgement of the runs is in verdicts.py, their picture in pictures.py.
"""

import argparse
import csv
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wnrl.train.storage.atomic_files import replacing

POINTS = 40  # blocks of steps in which a run's losses are averaged
FIRST_TUNING_SEED = 101  # judged seeds begin at 1

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A normalization of the catalogue, and how its network is initialized."""

    norm: str
    data_init: bool = False

    @property
    def name(self) -> str:
        """Return `weight` or `weight, data init`."""
        return f"{self.norm}, data init" if self.data_init else self.norm


@dataclass(frozen=True)
class Run:
    """One training run."""

    losses: list[float]  # (POINTS,) mean training loss of each block of steps
    cpu_s: list[float]  # (POINTS,) CPU time of all steps until the block's end
    held_out: dict[str, float]  # measured on other data after training, by name

    @property
    def mean_loss(self) -> float:
        """Return the mean training loss over all steps; infinite if the run diverged."""
        mean = statistics.fmean(self.losses)
        return mean if math.isfinite(mean) else math.inf

    @property
    def last_loss(self) -> float:
        """Return the mean training loss of the last tenth of the steps."""
        return statistics.fmean(self.losses[-(POINTS // 10) :])

    def mean_loss_until(self, cpu_s: float) -> float:
        """Return the mean training loss over this much CPU time, which the run must have used."""
        ends = [min(end, cpu_s) for end in self.cpu_s]
        lengths = [end - start for start, end in itertools.pairwise([0.0, *ends])]
        return sum(map(math.prod, zip(self.losses, lengths, strict=True))) / cpu_s


@dataclass(frozen=True)
class Study:
    """The variants of an application and how one of them is trained."""

    name: str
    variants: tuple[Variant, ...]  # the first is the one that the others are compared with
    learning_rates: tuple[float, ...]  # tried for every variant
    train: Callable[[Variant, float, int], Run]  # (variant, learning rate, seed)
    tuning_seeds: int = 2
    seeds: int = 10

    def chosen_on(self) -> range:
        """Return the seeds on which learning rates are chosen."""
        return range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.tuning_seeds)

    def judged_on(self) -> range:
        """Return the seeds whose runs are judged."""
        return range(1, self.seeds + 1)


def blocks_of_losses(step: Callable[[int], Tensor], steps: int) -> tuple[list[float], list[float]]:
    """Take all steps of a run; return the mean loss of each block, and the CPU time at its end.

    Args:
        step: trains on the batch of this number and returns the loss ().
        steps: a multiple of `POINTS`.
    """
    size = steps // POINTS
    losses, cpu_s = [], []
    start = time.process_time()
    for block in range(POINTS):
        total = torch.zeros(())
        for number in range(block * size, (block + 1) * size):
            total += step(number)
        losses.append(float(total) / size)
        cpu_s.append(time.process_time() - start)
    return losses, cpu_s


def tuned(study: Study, folder: Path, jobs: int = 1) -> dict[Variant, float]:
    """Return each variant's best learning rate."""
    tried = list(itertools.product(study.chosen_on(), study.variants, study.learning_rates))
    runs = _runs(study, folder, [(variant, rate, seed) for seed, variant, rate in tried], jobs)
    sums: dict[Variant, dict[float, float]] = {variant: {} for variant in study.variants}
    for (_, variant, rate), run in zip(tried, runs, strict=True):
        sums[variant][rate] = sums[variant].get(rate, 0.0) + run.mean_loss
    return {variant: min(by_rate, key=by_rate.__getitem__) for variant, by_rate in sums.items()}


def judged(
    study: Study, folder: Path, rates: Mapping[Variant, float], jobs: int = 1
) -> dict[Variant, list[Run]]:
    """Return the runs of every variant with its own learning rate, in the order of the seeds."""
    chosen = [
        (variant, rates[variant], seed)
        for seed, variant in itertools.product(study.judged_on(), study.variants)
    ]
    runs: dict[Variant, list[Run]] = {variant: [] for variant in study.variants}
    for (variant, _, _), run in zip(chosen, _runs(study, folder, chosen, jobs), strict=True):
        runs[variant].append(run)
    return runs


def _runs(
    study: Study, folder: Path, chosen: Sequence[tuple[Variant, float, int]], jobs: int
) -> list[Run]:
    """Return runs in this order; the seed changes last, so load on the machine meets all variants.

    Args:
        study: what is trained.
        folder: keeps a file per run.
        chosen: variant, learning rate and seed of each run.
        jobs: runs at a time, each in a process; 1 for none but this one.
    """
    train = partial(_run, study, folder)
    columns = list(zip(*chosen, strict=True))
    if jobs == 1:
        return list(map(train, *columns))
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(train, *columns))


def _run(study: Study, folder: Path, variant: Variant, rate: float, seed: int) -> Run:
    """Train, or read what an earlier call of the same study has trained."""
    name = f"{study.name}-{variant.name.replace(', ', '-').replace(' ', '-')}-{rate:g}-{seed}.json"
    path = folder / name
    if path.exists():
        return Run(**json.loads(path.read_text()))
    run = study.train(variant, rate, seed)
    with replacing(path) as temporary:
        Path(temporary).write_text(json.dumps(asdict(run)))
    print(f"{name}: mean training loss {run.mean_loss:.4g}", file=sys.stderr, flush=True)
    return run


def tuning_rows(study: Study, folder: Path, rates: Mapping[Variant, float]) -> Iterator[Row]:
    """Yield a row for each learning rate that was tried."""
    for variant, rate in itertools.product(study.variants, study.learning_rates):
        losses = [_run(study, folder, variant, rate, seed).mean_loss for seed in study.chosen_on()]
        yield {
            "variant": variant.name,
            "learning_rate": rate,
            "seeds": " ".join(map(str, study.chosen_on())),
            "mean_loss": round(statistics.fmean(losses), 5),
            "chosen": rate == rates[variant],
        }


def run_rows(
    runs: Mapping[Variant, Sequence[Run]], rates: Mapping[Variant, float], steps: int
) -> Iterator[Row]:
    """Yield a row for each judged run."""
    for variant, of_variant in runs.items():
        for seed, run in enumerate(of_variant, start=1):
            yield {
                "variant": variant.name,
                "learning_rate": rates[variant],
                "seed": seed,
                "mean_loss": round(run.mean_loss, 5),
                "last_loss": round(run.last_loss, 6),
                **{name: round(value, 5) for name, value in run.held_out.items()},
                "cpu_ms_per_step": round(1000 * run.cpu_s[-1] / steps, 3),
            }


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Replace a table."""
    rows = list(rows)
    with replacing(path) as temporary, Path(temporary).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that all applications have."""
    parser.add_argument("--work", type=Path, required=True, help="folder for one file per run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--seeds", type=int, default=10, help="runs of a variant to judge")
    parser.add_argument("--tune-seeds", type=int, default=2, help="runs of a learning rate")
    parser.add_argument("--out", type=Path, help="folder for the tables and the picture")


def prepare(given: argparse.Namespace) -> argparse.Namespace:
    """Make the folder of the runs, and use one thread, on which times rest; return the flags."""
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    return given
