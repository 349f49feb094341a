"""Agent steps per second of N single-threaded runs side by side, over those of one alone.

    pip install -c constraints.txt -e '.[bench,minatar]'
    python scripts/bench/packing.py [--case dqn-Breakout pqn-MinAtar] [--runs N] [--rounds 7]
        [--seconds 5] [--csv FILE]

The cases are DQN on Breakout, with the settings of learners.py, and PQN on MinAtar/Breakout-v1 with
its defaults. Each run is a process that acts and learns with one torch thread; logging, checkpoints
and evaluations are left out. In each round one of them trains alone, another one each time, and
then all train at once.

A run's emulators have threads of their own, so on Atari one run alone may keep more than one core
busy: `cores_alone` says how many. N runs cannot do more than cores / cores_alone times its steps.
"""

import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from learners import configure, ours
from timing import Row, write_csv
from train import Turn, positive

from wnrl._settings import UsageError
from wnrl.config import Config, config_from_json, make_config
from wnrl.doctor.cpus import cpu_model, usable_cores
from wnrl.doctor.memory import keep_freed_memory
from wnrl.doctor.software import git_commit
from wnrl.train.flags import Parser, one_line


def cases() -> dict[str, Config]:
    """Return the runs that can be measured, by name."""
    minatar = {"env": "MinAtar/Breakout-v1", "agent": "pqn", "norm": "weight", "threads": 1}
    epsilon = make_config(minatar).agent.epsilon_end  # as in most of a run
    return {
        "dqn-Breakout": configure("dqn", "weight", threads=1),
        "pqn-MinAtar": make_config({**minatar, "epsilon_start": epsilon}),
    }


def train_when_told(recorded: dict[str, Any], commands: Connection) -> None:
    """Be one run: for each number of seconds that arrives, train so long and send the `Turn`.

    It then goes on training, unmeasured, until the next command, so that the others are measured
    next to as many runs as itself. 0 seconds means rest.

    Args:
        recorded: the run's configuration as JSON.
        commands: the pipe.
    """
    config = config_from_json(recorded)
    keep_freed_memory()  # as in training
    torch.set_num_threads(config.run.threads)
    learner = ours(config)
    learner.advance(learner.turn_steps(learner.warm_up_steps))
    commands.send("ready")
    while (seconds := commands.recv()) is not None:
        if seconds:
            steps, start, process = 0, time.perf_counter(), time.process_time()
            while (wall_s := time.perf_counter() - start) < seconds:
                steps += learner.advance(learner.round_steps)
            commands.send(Turn(steps, wall_s, time.process_time() - process))
            while not commands.poll():
                learner.advance(learner.round_steps)


class Round(NamedTuple):
    """One run alone, and then all at once."""

    alone: Turn
    together: Sequence[Turn]

    @property
    def ratio(self) -> float:
        """Steps per second of all over those of one alone."""
        return sum(turn.rate for turn in self.together) / self.alone.rate


def take_rounds(runs: Sequence[Connection], rounds: int, seconds: float) -> list[Round]:
    """Let the runs train alone, by turns, and all at once."""
    for run in runs:
        run.recv()  # ready
    taken = []
    for single in itertools.islice(itertools.cycle(runs), rounds):
        alone, together = _turns([single], seconds), _turns(runs, seconds)
        taken.append(Round(alone[0], together))
    return taken


def _turns(runs: Sequence[Connection], seconds: float) -> list[Turn]:
    for run in runs:
        run.send(seconds)
    turns = [run.recv() for run in runs]
    for run in runs:
        run.send(0)
    return turns


def row_of(case: str, runs: int, rounds: Sequence[Round]) -> Row:
    """Return the medians over rounds."""
    alone = [each.alone.rate for each in rounds]
    together = [sum(turn.rate for turn in each.together) for each in rounds]
    ratios = [each.ratio for each in rounds]
    busy = [each.alone.process_s / each.alone.wall_s for each in rounds]
    return {
        "case": case,
        "runs": runs,
        "alone_steps_per_s": f"{statistics.median(alone):.1f}",
        "together_steps_per_s": f"{statistics.median(together):.1f}",
        "ratio_median": f"{statistics.median(ratios):.2f}",
        "ratio_min": f"{min(ratios):.2f}",
        "ratio_max": f"{max(ratios):.2f}",
        "cores_alone": f"{statistics.median(busy):.2f}",
        "cores": usable_cores(),
        "rounds": len(rounds),
        "torch": torch.__version__,
        "machine": cpu_model(),
        "commit": git_commit() or "",
    }


def line(row: Mapping[str, Any]) -> str:
    """Format a row for printing."""
    return (
        f"{row['case']:<14} {row['runs']} runs together {row['together_steps_per_s']} agent "
        f"steps/s, one alone {row['alone_steps_per_s']} on {row['cores_alone']} cores: "
        f"{row['ratio_median']}x ({row['ratio_min']} to {row['ratio_max']})"
    )


def measure(case: str, config: Config, runs: int, rounds: int, seconds: float) -> Row:
    """Start the runs of a case, measure them and end them."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in range(runs)]
    processes = [
        spawn.Process(target=train_when_told, args=(config.to_json(), theirs), daemon=True)
        for _, theirs in pipes
    ]
    for process, (_, theirs) in zip(processes, pipes, strict=True):
        process.start()
        theirs.close()
    try:
        return row_of(case, runs, take_rounds([ours for ours, _ in pipes], rounds, seconds))
    except EOFError:
        raise UsageError(f"a run of {case} ended early; see above") from None
    finally:
        for process in processes:
            process.kill()
            process.join()


def main() -> None:
    """Measure each case, print its line, write the CSV."""
    parser = Parser(prog="bench/packing.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    known = cases()
    parser.add_argument("--case", nargs="+", choices=list(known), default=list(known))
    parser.add_argument("--runs", type=positive, default=usable_cores(), help="runs at once")
    parser.add_argument("--rounds", type=positive, default=7, help="measurements of each case")
    parser.add_argument("--seconds", type=positive, default=5, help="length of a measurement")
    parser.add_argument("--csv", type=Path, help="file for the table")
    rows: list[Row] = []
    try:
        given = parser.parse(sys.argv[1:])
        for case in given["case"]:
            rows.append(
                measure(case, known[case], given["runs"], given["rounds"], given["seconds"])
            )
            print(line(rows[-1]), flush=True)
    except UsageError as error:
        print(f"bench_packing: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    if given["csv"]:
        given["csv"].parent.mkdir(parents=True, exist_ok=True)
        write_csv(given["csv"], rows)


if __name__ == "__main__":
    main()
