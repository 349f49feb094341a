"""Time that a checkpoint takes from the training: written at once, and written in a thread.

    python scripts/bench/checkpoint.py [--rounds 7] [--transitions 50_000 100_000]
        [--folder FOLDER] [--csv FILE]

DQN with its defaults on Breakout: 8 environments, a replay of 100,000 transitions (706 MB) and the
optimizer's moments. Each round adds new rows and saves twice, once with `Checkpoints.save`, which
waits for the disk, and once without, as training does; the order alternates. While the
thread writes, the training goes on: the environments are stepped and learnt from as in a run, and
`slowed` is what that many steps took longer than the same number with an idle disk.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import write_csv

from wnrl.agents.base import Agent
from wnrl.config import make_config
from wnrl.doctor.memory import keep_freed_memory
from wnrl.doctor.software import git_commit
from wnrl.envs.vector import EpisodeStatistics, VectorEnv
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import Tick, run
from wnrl.train.storage.checkpoint import Checkpoints

Row = dict[str, Any]
CAPACITY = 100_000
UPDATES = 64  # before the first save, so that the optimizer has its moments


class Trainer:
    """A run in its learning phase, without a folder."""

    def __init__(self, threads: int) -> None:
        config = make_config(
            env="Breakout", preset="fast", buffer_size=CAPACITY, steps=10**9, threads=threads
        )
        torch.set_num_threads(threads)
        parts = resolve(config)
        self.env: VectorEnv = build_env(parts)
        network, _ = build_network(parts, self.env)
        self.agent: Agent = build_agent(parts, self.env, network, torch.device("cpu"))
        self.env.reset()
        self._ticks = run(self.env, self.agent, EpisodeStatistics(self.env.num_envs), 0, 10**9)
        while self.agent.learner.updates < UPDATES:
            self.step()

    def step(self) -> Tick:
        """Take one step of all environments, with the updates that are due."""
        return next(self._ticks)

    def add_rows(self, transitions: int) -> None:
        """Fill the replay with noise, in place of an hour of play."""
        replay, count = self.agent.rows, self.env.num_envs
        assert replay is not None
        noise = np.random.default_rng(0).integers(0, 256, (count, 84, 84), np.uint8)
        zeros, no, yes = np.zeros(count), np.zeros(count, np.bool_), np.ones(count, np.bool_)
        add: Any = replay.add  # type: ignore[attr-defined]
        rows: Any = replay.rows  # type: ignore[attr-defined]
        first = ~rows(replay.total_rows - 1, replay.total_rows)[0].valid[0]
        last = transitions // count - 1
        for row in range(last + 1):  # the last ones end episodes where the next rows begin them
            valid = yes if row < last else ~self.env.first
            add(noise, zeros.astype(np.int64), zeros, zeros, first, valid)
            first = no

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint of the run holds besides tables and weights."""
        return {"agent": self.agent.state_dict(), "env": self.env.state_dict()}


def saved(trainer: Trainer, checkpoints: Checkpoints, step: int, *, wait: bool) -> float:
    """Save; return the seconds for which the training stood still."""
    start_s = time.perf_counter()
    arguments = step, trainer.state(), trainer.agent.network.state_dict(), trainer.agent.rows
    checkpoints.save(*arguments, wait=wait)
    return time.perf_counter() - start_s


def steps_during(trainer: Trainer, checkpoints: Checkpoints) -> tuple[int, float, float]:
    """Train until the thread has written; return the steps, their seconds and the longest one."""
    steps, longest_s, start_s = 0, 0.0, time.perf_counter()
    while checkpoints.writing:
        before_s = time.perf_counter()
        trainer.step()
        longest_s = max(longest_s, time.perf_counter() - before_s)
        steps += 1
    return steps, time.perf_counter() - start_s, longest_s


def undisturbed(trainer: Trainer, steps: int) -> tuple[float, float]:
    """Return the seconds of so many steps while nothing is written, and of the longest one."""
    longest_s, start_s = 0.0, time.perf_counter()
    for _ in range(steps):
        before_s = time.perf_counter()
        trainer.step()
        longest_s = max(longest_s, time.perf_counter() - before_s)
    return time.perf_counter() - start_s, longest_s


def measure(trainer: Trainer, folder: Path, transitions: int, rounds: int) -> list[Row]:
    """Take turns; return one row per round and way."""
    rows = []
    checkpoints = {way: Checkpoints(folder / way) for way in ("at once", "thread")}
    for way in checkpoints:
        (folder / way).mkdir(exist_ok=True)
    for index in range(rounds):
        trainer.add_rows(transitions)
        for way in sorted(checkpoints, reverse=bool(index % 2)):
            store = checkpoints[way]
            row: Row = {"transitions": transitions, "round": index, "way": way}
            row["stall_ms"] = 1e3 * saved(trainer, store, index + 1, wait=way == "at once")
            if way == "thread":
                steps, during_s, longest_s = steps_during(trainer, store)
                store.wait()
                idle_s, idle_longest_s = undisturbed(trainer, steps)
                row["writing_ms"] = 1e3 * during_s
                row["steps"] = steps
                row["slowed_ms"] = 1e3 * (during_s - idle_s)
                row["longest_step_ms"] = 1e3 * longest_s
                row["longest_step_idle_ms"] = 1e3 * idle_longest_s
            rows.append({name: x if isinstance(x, str) else round(x, 1) for name, x in row.items()})
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    """Take turns, print medians, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=7, help="rounds per number of transitions")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for torch")
    parser.add_argument("--transitions", type=int, nargs="+", default=[50_000, 100_000], help="new")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--csv", type=Path, help="file to write")
    given = parser.parse_args()
    keep_freed_memory()  # as in training
    trainer, rows = Trainer(given.threads), []
    trainer.add_rows(CAPACITY)
    for transitions in given.transitions:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            rows += measure(trainer, Path(folder), transitions, given.rounds)
        for way in ("at once", "thread"):
            stalls = [
                r["stall_ms"] for r in rows if (r["transitions"], r["way"]) == (transitions, way)
            ]
            print(f"{transitions:,} new transitions, {way}: {statistics.median(stalls):.0f} ms")
    if given.csv:
        shared = {
            "threads": given.threads,
            "torch": torch.__version__,
            "commit": git_commit() or "",
        }
        write_csv(given.csv, [{**row, **shared} for row in rows])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
    sys.exit(0)
