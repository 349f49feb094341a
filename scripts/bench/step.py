"""Where the time of an agent step goes when an agent learns Breakout on a CPU, and its floor.

    pip install -c constraints.txt -e '.[bench]'
    python scripts/bench/step.py [--agent dqn pqn a2c ppo] [--norm weight none] [--threads 1 2]
        [--rounds 7] [--steps 500] [--csv FILE]

Agents run as in a training run, logging included, without evaluations and checkpoints. Each part's
time excludes that of the parts within it, so the parts add up to the whole:

    emulator      sending actions and waiting for frames
    act           choosing actions, the network's pass included
    rows          storing rows, drawing and gathering batches
    input         bytes to scaled floats in the order of the convolutions
    forward       passes and losses of an update
    backward
    optimizer     clipping, the step, the target network
    logging       episodes, metrics, TensorBoard
    rest          everything else: Python

The floor is the time of the same floating-point operations at the rate of a 1024 x 1024 matrix
product, measured in the same rounds, plus that of the emulators alone. What a run overlaps (DQN
updates while its emulators work) the floor does not.
"""

import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from learners import configure, round_ticks
from timing import Row, show, write_csv
from torch.utils.flop_counter import FlopCounterMode
from train import positive

from wnrl._settings import UsageError
from wnrl.agents.catalogue import AGENTS
from wnrl.config import Config, replace
from wnrl.doctor.huge_pages import restart_with_huge_pages
from wnrl.doctor.memory import keep_freed_memory
from wnrl.doctor.software import git_commit
from wnrl.envs.vector import VectorEnv
from wnrl.nn.networks import nature
from wnrl.rl.replay import Replay
from wnrl.rl.rollout import Rollout, RolloutBatch
from wnrl.train.build import build_env, build_network, resolve
from wnrl.train.flags import Parser, one_line
from wnrl.train.loop import Tick
from wnrl.train.session import Session
from wnrl.train.storage.run_folder import RunDirectory

PARTS = (
    "emulator",
    "act",
    "rows",
    "input",
    "forward",
    "backward",
    "optimizer",
    "logging",
    "rest",
)
SIDE = 1024  # of the matrices whose product sets the rate of the floor
NEVER = 10_000_000  # agent steps that are not reached


class Ledger:
    """Seconds of each part of the work; a part within another counts only for itself."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: Counter[str] = Counter()
        self._now = now
        self._open = ["rest"]
        self._since_s = now()

    def clear(self) -> None:
        """Start counting from zero."""
        self._enter_next()
        self.seconds.clear()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what runs within for a part."""
        self._enter_next()
        self._open.append(name)
        try:
            yield
        finally:
            self._enter_next()
            self._open.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts for a part."""

        def call(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        return call

    def _enter_next(self) -> None:
        now_s = self._now()
        self.seconds[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s


@contextlib.contextmanager
def instrumented(ledger: Ledger, session: Session, env: VectorEnv) -> Iterator[None]:
    """Count each part of a session's work."""
    agent, recorder = session._agent, session.recorder
    learner_step = agent.learner.step

    def step(loss: Callable[..., Any], *inputs: Any) -> Any:
        return learner_step(ledger.timed("forward", loss), *inputs)

    target = getattr(agent, "_target", None)
    places = [
        (env, "send", "emulator"),
        (env, "recv", "emulator"),
        (agent, "act", "act"),
        (Replay, "add", "rows"),
        (Replay, "sample", "rows"),
        (Rollout, "add", "rows"),
        (RolloutBatch, "take", "rows"),
        (nature, "scaled", "input"),
        (torch.autograd, "backward", "backward"),
        (agent.learner.optimizer, "step", "optimizer"),
        (agent.learner.optimizer, "zero_grad", "optimizer"),
        *([(target, "follow", "optimizer")] if target is not None else []),
        (recorder, "tick", "logging"),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, part in places:
            timed = ledger.timed(part, getattr(owner, name))
            stack.enter_context(mock.patch.object(owner, name, timed))
        stack.enter_context(mock.patch.object(agent.learner, "step", step))
        yield


class Running:
    """A session that trains in whole rounds of acting and updating."""

    def __init__(self, ticks: Iterator[Tick], round_ticks: int, num_envs: int) -> None:
        self._ticks = ticks
        self._round_ticks = round_ticks
        self._round_steps = round_ticks * num_envs
        self._done_steps = 0

    def advance(self, at_least: int) -> int:
        """Train for so many agent steps, rounded up; return those that the emulators used."""
        before = self._done_steps
        for _ in range(-(-at_least // self._round_steps) * self._round_ticks):
            self._done_steps = next(self._ticks).agent_steps
        return self._done_steps - before


def floor_of(flops: float, rate: float, emulator_s: float) -> float:
    """Return the seconds of an agent step at the floor."""
    return flops / rate + emulator_s


def product_rate(seconds: float = 0.2) -> float:
    """Return floating-point operations per second of a matrix product in float32."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    torch.mm(a, b)
    start_s, products = time.perf_counter(), 0
    while time.perf_counter() - start_s < seconds:
        torch.mm(a, b)
        products += 1
    return 2 * SIDE**3 * products / (time.perf_counter() - start_s)


def emulator_seconds(env: VectorEnv, actions: np.random.Generator, seconds: float = 0.2) -> float:
    """Return the seconds of one agent step of emulators alone, with random actions."""
    start_s, steps = time.perf_counter(), 0
    while time.perf_counter() - start_s < seconds:
        env.send(actions.integers(env.num_actions, size=env.num_envs))
        steps += int((~env.recv().first).sum())
    return (time.perf_counter() - start_s) / steps


def measure(config: Config, rounds: int, steps: int) -> list[Row]:
    """Return the rows of one agent: its parts, their sum, the floor and the distance to it."""
    torch.set_num_threads(config.run.threads)
    config = replace(
        config,
        steps=NEVER,
        eval_every_steps=0,
        checkpoint_every_steps=NEVER,
    )
    parts = resolve(config)
    taken: list[dict[str, float]] = []
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        run_dir = stack.enter_context(RunDirectory(Path(folder) / "run"))
        env, bare = (stack.enter_context(contextlib.closing(build_env(parts))) for _ in range(2))
        network = build_network(parts, env)[0]
        session = Session(config, run_dir, env, network, torch.device("cpu"), 0)
        env.reset()
        bare.reset()
        session.start()
        ledger = Ledger()
        stack.enter_context(instrumented(ledger, session, env))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))  # progress
        ticks = stack.enter_context(contextlib.closing(session.train(lambda: False)))
        running = Running(ticks, round_ticks(config), env.num_envs)
        running.advance(config.agent.warmup_steps + steps)  # and allocations
        with FlopCounterMode(display=False) as counter:
            counted_steps = running.advance(steps)
        flops = counter.get_total_flops() / counted_steps
        random = np.random.default_rng(1)
        for _ in range(rounds):
            ledger.clear()
            done = running.advance(steps)
            taken_s = {part: ledger.seconds[part] / done for part in PARTS}
            whole_s = sum(taken_s.values())
            low_s = floor_of(flops, product_rate(), emulator_seconds(bare, random))
            taken.append({**taken_s, "whole": whole_s, "floor": low_s})
    return _rows(config, taken)


def _rows(config: Config, taken: Sequence[dict[str, float]]) -> list[Row]:
    rows = []
    for name in (*PARTS, "whole", "floor"):
        shares = [times[name] / times["whole"] for times in taken]
        rows.append(
            {
                "agent": config.run.agent,
                "norm": config.run.norm,
                "threads": config.run.threads,
                "part": name,
                "ms_per_agent_step": round(1e3 * statistics.median(x[name] for x in taken), 4),
                "share": round(statistics.median(shares), 3),
                "share_range": f"{min(shares):.3f}-{max(shares):.3f}",
                "rounds": len(taken),
                "torch": torch.__version__,
                "commit": git_commit() or "",
            }
        )
    return rows


def _shown(rows: Sequence[Row]) -> None:
    first = rows[0]
    whole, low = (row for row in rows if row["part"] in ("whole", "floor"))
    print(
        f"{first['agent']} {first['norm']}, threads {first['threads']}: "
        f"{whole['ms_per_agent_step']:.3f} ms an agent step, "
        f"{1 / low['share']:.2f}x the floor of {low['ms_per_agent_step']:.3f} ms"
    )
    show({k: row[k] for k in ("part", "share", "share_range")} for row in rows[: len(PARTS)])


def main() -> None:
    """Measure each agent, print its table, write the CSV."""
    parser = Parser(prog="bench/step.py", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--agent", nargs="+", choices=list(AGENTS), default=list(AGENTS))
    parser.add_argument("--norm", nargs="+", default=["weight", "none"], help="normalizations")
    parser.add_argument("--threads", nargs="+", type=positive, default=[1, 2])
    parser.add_argument("--rounds", type=positive, default=7, help="measurements of each agent")
    parser.add_argument(
        "--steps", type=positive, default=500, help="agent steps of a round, at least"
    )
    parser.add_argument("--csv", type=Path, help="file for the table")
    try:
        given = parser.parse(sys.argv[1:])
        configs = [
            configure(agent, norm, threads)
            for threads in given["threads"]
            for agent in given["agent"]
            for norm in given["norm"]
        ]
    except UsageError as error:
        print(f"bench_step: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    keep_freed_memory()  # as in training
    rows: list[Row] = []
    for config in configs:
        measured = measure(config, given["rounds"], given["steps"])
        _shown(measured)
        rows += measured
        if given["csv"]:
            write_csv(given["csv"], rows)


if __name__ == "__main__":
    restart_with_huge_pages()  # as in training
    main()
