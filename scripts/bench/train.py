"""Agent steps per second of learning Breakout, for wnrl's agents and Stable-Baselines3's.

    pip install -c constraints.txt -e '.[bench]'
    python scripts/bench/train.py [--agent dqn pqn a2c ppo] [--norm weight none] [--rounds 7]
        [--steps 1_000] [--threads N] [--csv FILE]

Every agent has the published defaults of its library (`learners.py`) and the same number of torch
threads. All take turns in one process, so that a noisy machine slows all alike. A turn is at least
--steps agent steps, in whole rounds of acting and updating. Each rate is divided by that of SB3's
agent of the same name (for PQN, which SB3 lacks, by DQN's) in the same round; the ratio printed is
the median over rounds. Below it is the ratio to the same agent without normalization.
"""

import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import stable_baselines3
import torch
from learners import PEERS, Learner, configure, ours, sb3
from timing import Row, write_csv

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.config import Config
from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.huge_pages import restart_with_huge_pages
from wnrl.doctor.memory import keep_freed_memory
from wnrl.doctor.software import git_commit
from wnrl.envs.usable_cpus import usable_cpus
from wnrl.train.flags import Parser, one_line


class Turn(NamedTuple):
    """One learner's turn in one round."""

    steps: int  # agent steps that the emulators used
    wall_s: float
    process_s: float  # CPU time of all threads

    @classmethod
    def of(cls, learner: Learner, steps: int) -> "Turn":
        """Let a learner take a turn of at least so many agent steps."""
        wall, process = time.perf_counter(), time.process_time()
        taken = learner.advance(learner.turn_steps(steps))
        return cls(taken, time.perf_counter() - wall, time.process_time() - process)

    @property
    def rate(self) -> float:
        """Agent steps per second."""
        return self.steps / self.wall_s


def positive(text: str) -> int:
    """Parse an integer above 0."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def parse_with_turns(parser: Parser, arguments: Sequence[str]) -> dict[str, Any]:
    """Add the flags common to benchmarks that take turns, then parse.

    Raises:
        UsageError: a flag is unknown or has an invalid value.
    """
    parser.add_argument("--rounds", type=positive, default=7, help="turns of each learner")
    parser.add_argument(
        "--steps", type=positive, default=1_000, help="agent steps of a turn, at least"
    )
    parser.add_argument(
        "--threads", type=positive, default=usable_cpus(), help="CPU threads for torch"
    )
    parser.add_argument("--csv", type=Path, help="file for the table")
    given = parser.parse(arguments)
    if given["csv"] and given["csv"].is_dir():
        raise UsageError(f"--csv {given['csv']} is a folder; name a file")
    return given


def parsed(arguments: Sequence[str]) -> tuple[dict[str, Any], list[Config]]:
    """Parse the flags and build wnrl's configurations before anything runs.

    Raises:
        UsageError: a flag is unknown or has an invalid value.
    """
    parser = Parser(prog="bench/train.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument(
        "--agent", nargs="+", choices=list(AGENTS), default=list(AGENTS), help="agents"
    )
    parser.add_argument("--norm", nargs="+", default=["weight", "none"], help="normalizations")
    given = parse_with_turns(parser, arguments)
    configs = [
        configure(agent, norm, given["threads"])
        for agent in dict.fromkeys(given["agent"])
        for norm in dict.fromkeys(given["norm"])
    ]
    return given, configs


def take_turns(learners: Sequence[Learner], rounds: int, at_least: int) -> dict[str, list[Turn]]:
    """Let every learner take one turn per round, in alternating order; return the turns by name."""
    for learner in learners:
        learner.advance(learner.turn_steps(learner.warm_up_steps))
    turns: dict[str, list[Turn]] = {learner.name: [] for learner in learners}
    for index in range(rounds):
        for learner in learners if index % 2 == 0 else reversed(learners):
            turns[learner.name].append(Turn.of(learner, at_least))
    return turns


def summary(name: str, turns: Mapping[str, Sequence[Turn]], peer: str) -> Row:
    """Rates of one learner, and their ratios to the peer's in the same rounds."""
    rates = [turn.rate for turn in turns[name]]
    return {
        "agent": name,
        "steps_per_s_median": f"{statistics.median(rates):.1f}",
        "steps_per_s_min": f"{min(rates):.1f}",
        "steps_per_s_max": f"{max(rates):.1f}",
        **ratios("ratio", turns[name], turns[peer]),
        "rounds": len(rates),
    }


def ratios(column: str, turns: Sequence[Turn], others: Sequence[Turn]) -> Row:
    """Median, least and largest ratio of the rates in the same rounds."""
    values = [a.rate / b.rate for a, b in zip(turns, others, strict=True)]
    ends = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {f"{column}_{name}": f"{value:.3f}" for name, value in ends.items()}


def line(row: Row, turns: Sequence[Turn]) -> str:
    """Format a row for printing, with the process time of an agent step."""
    process_ms = statistics.median(1e3 * turn.process_s / turn.steps for turn in turns)
    known = "" if math.isnan(process_ms) else f"{process_ms:.2f} ms of process time each, "
    return (
        f"{row['agent']:<18} {row['steps_per_s_median']:>7} agent steps/s "
        f"({row['steps_per_s_min']} to {row['steps_per_s_max']}), {known}"
        f"{row['ratio_median']}x {row['peer']} ({row['ratio_min']} to {row['ratio_max']})"
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
            "machine": cpu_model(),
            "torch": torch.__version__,
            "sb3": stable_baselines3.__version__,
            "commit": git_commit() or "",
            "peer": learner.peer,
        }
        for learner in learners
    ]
    for row in rows:
        print(line(row, turns[row["agent"]]))
        plain = turns.get(" ".join([*row["agent"].split()[:-1], "none"]))
        if plain is not None:
            row |= ratios("to_none", turns[row["agent"]], plain)
            print(f"{'':<18} {row['to_none_median']}x none ", end="")
            print(f"({row['to_none_min']} to {row['to_none_max']})")
    if any(config.run.agent == "pqn" for config in configs):
        print("SB3 has no PQN; the ratio of wnrl's PQN is to SB3's DQN")
    if given["csv"]:
        write_csv(given["csv"], rows)


if __name__ == "__main__":
    restart_with_huge_pages()  # as in training
    main()
