"""Steps of MinAtar per second of CPU time: the games alone, and learning from end to end.

    pip install -c constraints.txt -e '.[minatar]'
    python scripts/bench/minatar.py [--game Asterix Breakout ...] [--agent pqn dqn]
        [--norm weight] [--rounds 5] [--steps 8_192] [--csv FILE]

A game alone is the first agent's number of environments with uniformly random actions. Learning is
the agent with its defaults for MinAtar and few random actions, in whole rounds of acting and
updating, with one torch thread; logging, checkpoints and evaluation are left out. Games take turns;
the rates printed are medians over rounds. Seconds are those of this process's CPU time.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Row, write_csv
from train import positive

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.config import make_config
from wnrl.doctor.cpus import cpu_model
from wnrl.doctor.memory import keep_freed_memory
from wnrl.doctor.software import git_commit, versions
from wnrl.envs.minatar.names import GAMES
from wnrl.envs.vector import VectorEnv
from wnrl.train.build import RunParts, build_agent, build_env, build_network, resolve
from wnrl.train.flags import Parser, one_line

Advance = Callable[[int], int]  # agent steps, at least -> those that the games used


def parsed(arguments: Sequence[str]) -> dict[str, Any]:
    """Parse the flags; UsageError for a wrong one."""
    parser = Parser(prog="bench/minatar.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--game", nargs="+", choices=list(GAMES), default=list(GAMES), help="games")
    parser.add_argument(
        "--agent", nargs="+", choices=list(AGENTS), default=["pqn"], help="agents that learn"
    )
    parser.add_argument("--norm", default="weight", help="normalization of its network")
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each game")
    parser.add_argument("--steps", type=positive, default=8_192, help="steps of a turn, at least")
    parser.add_argument("--csv", type=Path, help="file for the table")
    return parser.parse(arguments)


def parts_of(game: str, agent: str, norm: str) -> RunParts:
    """Resolve the agent's defaults on a game, acting as in most of a run."""
    given = {"env": f"MinAtar/{game}-v1", "agent": agent, "norm": norm}
    defaults = make_config(given)
    explores = hasattr(defaults.agent, "epsilon_end")
    short = {"epsilon_start": defaults.agent.epsilon_end} if explores else {}
    short |= {"warmup_steps": 256} if getattr(defaults.agent, "warmup_steps", 0) else {}
    return resolve(make_config({**given, **short}))


def alone(env: VectorEnv) -> Advance:
    """Play at random; actions are drawn before the time is taken."""
    actions = np.random.default_rng(0).integers(env.num_actions, size=(1_024, env.num_envs))
    env.reset()

    def advance(at_least: int) -> int:
        used = 0
        for row in range(-(-at_least // env.num_envs)):
            env.send(actions[row % len(actions)])
            used += int((~env.recv().first).sum())
        return used

    return advance


def learning(parts: RunParts) -> Advance:
    """Act and update in turns."""
    env = build_env(parts)
    agent = build_agent(parts, env, build_network(parts, env)[0], torch.device("cpu"))
    env.reset()

    def advance(at_least: int) -> int:
        used, updated = 0, False
        while used < at_least or not updated:  # a turn ends with an update
            env.send(agent.act(env.obs, env.first))
            step = env.recv()
            agent.observe(step)
            used += int((~step.first).sum())
            updated = agent.update() is not None
        return used

    return advance


def measure(works: dict[str, Advance], rounds: int, at_least: int) -> dict[str, list[float]]:
    """Return the rates of all works, which take turns; the first turn of each is not measured."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for index in range(rounds + 1):
        for name, advance in works.items():
            start = time.process_time()
            rate = advance(at_least) / (time.process_time() - start)
            if index:
                rates[name].append(rate)
    return rates


def rows_of(given: dict[str, Any], what: str, rates: dict[str, list[float]]) -> list[Row]:
    """Return one row per game."""
    return [
        {
            "what": what,
            "game": game,
            "steps_per_cpu_s_median": round(statistics.median(each)),
            "steps_per_cpu_s_min": round(min(each)),
            "steps_per_cpu_s_max": round(max(each)),
            "rounds": len(each),
            "steps_per_round": given["steps"],
            "minatar": versions()["MinAtar"],
            "torch": torch.__version__,
            "machine": cpu_model(),
            "commit": git_commit() or "",
        }
        for game, each in rates.items()
    ]


def main() -> None:
    """Measure, print the table, write the CSV."""
    try:
        given = parsed(sys.argv[1:])
        runs = {
            f"{agent} {given['norm']}": {
                game: parts_of(game, agent, given["norm"]) for game in given["game"]
            }
            for agent in given["agent"]
        }
        first = next(iter(runs.values()))
        works = {"env": {game: alone(build_env(parts)) for game, parts in first.items()}}
        for what, games in runs.items():
            works[what] = {game: learning(parts) for game, parts in games.items()}
    except UsageError as error:
        print(f"bench_minatar: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    keep_freed_memory()  # as in training
    torch.set_num_threads(1)
    rows = []
    for what, games in works.items():
        rows += rows_of(given, what, measure(games, given["rounds"], given["steps"]))
    for row in rows:
        print(
            f"{row['what']:<12} {row['game']:<14} {row['steps_per_cpu_s_median']:>8,} steps per "
            f"CPU-second ({row['steps_per_cpu_s_min']:,} to {row['steps_per_cpu_s_max']:,})"
        )
    if given["csv"]:
        given["csv"].parent.mkdir(parents=True, exist_ok=True)
        write_csv(given["csv"], rows)


if __name__ == "__main__":
    main()
