"""Agent steps per second of learning Breakout: wnrl's agents against Stable-Baselines3's.

    pip install -c constraints.txt -e '.[bench]'
    python scripts/bench/train.py [--agent dqn pqn a2c ppo] [--norm weight none] [--rounds 7]
        [--steps 1_000] [--threads N] [--csv FILE]

Each has its own defaults, the published ones (`learners.py`), and the same torch threads. All
take turns in one process, so that a noisy machine slows all; a turn is at least --steps agent
steps, in whole rounds of acting and updating. The ratio to the peer is the median over rounds of
the rate against that of SB3's agent of the same name in the same round. SB3 has no PQN: its peer is
DQN.
"""

import csv
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import stable_baselines3
import torch
from learners import PEERS, Learner, configure, ours, sb3

from wnrl._settings import UsageError
from wnrl.config import AGENTS, Config
from wnrl.doctor.allocator import keep_freed_memory
from wnrl.doctor.software import git_commit
from wnrl.train.flags import Parser, one_line

Row = dict[str, Any]


class Turn(NamedTuple):
    """One learner's turn in one round."""

    steps: int  # agent steps that the emulators used
    wall_s: float
    process_s: float  # of all threads

    @property
    def rate(self) -> float:
        """Agent steps per second."""
        return self.steps / self.wall_s


def positive(text: str) -> int:
    """An integer above 0."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def parse_with_turns(parser: Parser, arguments: Sequence[str]) -> dict[str, Any]:
    """The flags of a benchmark by turns, with those that all have.

    Raises:
        UsageError: on a flag, number or file that cannot be.
    """
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--steps", type=positive, default=1_000, help="of one turn, at least")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--csv", type=Path)
    given = parser.parse(arguments)
    if given["csv"] and given["csv"].is_dir():
        raise UsageError(f"--csv {given['csv']} is a folder; name a file")
    return given


def parsed(arguments: Sequence[str]) -> tuple[dict[str, Any], list[Config]]:
    """The flags, and what they ask of wnrl, checked before anything runs.

    Raises:
        UsageError: on a flag, agent, normalization, number or file that cannot be.
    """
    parser = Parser(prog="bench/train.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--agent", nargs="+", choices=list(AGENTS), default=list(AGENTS))
    parser.add_argument("--norm", nargs="+", default=["weight", "none"])
    given = parse_with_turns(parser, arguments)
    configs = [
        configure(agent, norm, given["threads"])
        for agent in dict.fromkeys(given["agent"])
        for norm in dict.fromkeys(given["norm"])
    ]
    return given, configs


def take_turns(learners: Sequence[Learner], rounds: int, at_least: int) -> dict[str, list[Turn]]:
    """Every learner's turns, one a round; the order turns around every round."""
    for learner in learners:
        learner.advance(learner.turn_steps(learner.warm_up_steps))
    turns: dict[str, list[Turn]] = {learner.name: [] for learner in learners}
    for index in range(rounds):
        for learner in learners if index % 2 == 0 else reversed(learners):
            wall, process = time.perf_counter(), time.process_time()
            steps = learner.advance(learner.turn_steps(at_least))
            took = time.perf_counter() - wall, time.process_time() - process
            turns[learner.name].append(Turn(steps, *took))
    return turns


def summary(name: str, turns: Mapping[str, Sequence[Turn]], peer: str) -> Row:
    """One learner's rates and their ratios to the peer's in the same rounds."""
    rates = [turn.rate for turn in turns[name]]
    ratios = [a / b.rate for a, b in zip(rates, turns[peer], strict=True)]
    return {
        "agent": name,
        "steps_per_s_median": f"{statistics.median(rates):.1f}",
        "steps_per_s_min": f"{min(rates):.1f}",
        "steps_per_s_max": f"{max(rates):.1f}",
        "ratio_to_sb3_median": f"{statistics.median(ratios):.2f}",
        "ratio_to_sb3_min": f"{min(ratios):.2f}",
        "ratio_to_sb3_max": f"{max(ratios):.2f}",
        "rounds": len(rates),
    }


def line(row: Row, turns: Sequence[Turn]) -> str:
    """A row as it is printed, with the process time of an agent step."""
    process_ms = statistics.median(1e3 * turn.process_s / turn.steps for turn in turns)
    return (
        f"{row['agent']:<18} {row['steps_per_s_median']:>7} agent steps/s "
        f"({row['steps_per_s_min']} to {row['steps_per_s_max']}), {process_ms:.2f} ms of process "
        f"time each, {row['ratio_to_sb3_median']}x {row['peer']} "
        f"({row['ratio_to_sb3_min']} to {row['ratio_to_sb3_max']})"
    )


def main() -> None:
    """Take turns, print the table, write the CSV."""
    try:
        given, configs = parsed(sys.argv[1:])
    except UsageError as error:
        print(f"bench_train: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    keep_freed_memory()  # as in training
    torch.set_num_threads(given["threads"])
    peers = dict.fromkeys(PEERS[config.run.agent] for config in configs)
    learners = [*map(sb3, peers), *map(ours, configs)]
    turns = take_turns(learners, given["rounds"], given["steps"])
    rows = [
        {
            **summary(learner.name, turns, learner.peer),
            "steps_per_round": learner.turn_steps(given["steps"]),
            "threads": given["threads"],
            "machine": platform.machine(),
            "torch": torch.__version__,
            "sb3": stable_baselines3.__version__,
            "commit": git_commit() or "",
            "peer": learner.peer,
        }
        for learner in learners
    ]
    for row in rows:
        print(line(row, turns[row["agent"]]))
    if any(config.run.agent == "pqn" for config in configs):
        print("SB3 has no PQN: the ratio of ours is to SB3's DQN")
    if given["csv"]:
        given["csv"].parent.mkdir(parents=True, exist_ok=True)
        with given["csv"].open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
