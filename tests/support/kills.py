"""Runs that are killed at random moments and resumed, to be compared with runs never stopped.

Each attempt is a fork of this process, which has loaded torch and the emulator's library already,
so that hundreds of kills take minutes. It opens no environment itself: an emulator's threads would
not survive the fork.
"""

import contextlib
import itertools
import mmap
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wnrl.train import command
from wnrl.train.session import Session
from wnrl.train.storage.checkpoint import Checkpoints

LIMIT_S = 300
STEPPING, EVALUATING, SAVING = b"T", b"E", b"S"
PHASES = {STEPPING: "stepping", EVALUATING: "evaluating", SAVING: "saving"}
DELAY_S = {STEPPING: 0.4, EVALUATING: 0.05, SAVING: 0.03}  # at most, from there to the kill


def run_whole(arguments: Sequence[str], run: Path) -> None:
    """Train without a kill, in a fork."""
    assert _end(_start([*arguments, f"--run-dir={run}"], mmap.mmap(-1, 1), run)) == 0


def run_killed(
    arguments: Sequence[str], run: Path, kills: int, generator: random.Random
) -> Counter[str]:
    """Train with kills: each attempt is killed soon after it has reached a random phase.

    Returns:
        The number of kills that hit each phase; a run that ends first is hit less often.
    """
    hit: Counter[str] = Counter()
    phase = mmap.mmap(-1, 1)  # shared with the fork
    order = itertools.cycle(generator.sample(list(PHASES), len(PHASES)))
    for _ in range(kills):
        phase[0:1] = b" "
        child = _start(_flags(arguments, run), phase, run)
        wanted = next(order)
        if not _wait_for(phase, wanted, child):
            continue
        time.sleep(generator.random() * DELAY_S[wanted])
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
            hit[PHASES.get(phase[0:1], "starting")] += 1
    assert _end(_start(_flags(arguments, run), phase, run)) == 0
    return hit


def _flags(arguments: Sequence[str], run: Path) -> list[str]:
    started = (run / "config.json").exists()
    return ["--resume", str(run)] if started else [*arguments, f"--run-dir={run}"]


def _start(flags: Sequence[str], phase: mmap.mmap, run: Path) -> int:
    """Fork a child that trains and notes its phase; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        log = os.open(f"{run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _note(phase)
        code = command.main(list(flags))
    finally:
        os._exit(code)


def _note(phase: mmap.mmap) -> None:
    """Write to `phase` what the session does."""

    def noting(method: Callable[..., Any], inside: bytes) -> Callable[..., Any]:
        def noted(self: Session, *arguments: Any) -> Any:
            phase[0:1] = inside
            try:
                return method(self, *arguments)
            finally:
                phase[0:1] = STEPPING

        return noted

    session: Any = Session
    session._evaluate = noting(session._evaluate, EVALUATING)
    session._save = noting(session._save, SAVING)
    session._steps = _stepping(session._steps, phase)


def _stepping(method: Callable[..., Iterator[Any]], phase: mmap.mmap) -> Callable[..., Any]:
    def noted(self: Session, *arguments: Any) -> Iterator[Any]:
        phase[0:1] = STEPPING
        return method(self, *arguments)

    return noted


def _wait_for(phase: mmap.mmap, wanted: bytes, child: int) -> bool:
    """Wait until the child is in a phase; return False if it ended first."""
    deadline = time.monotonic() + LIMIT_S
    while phase[0:1] != wanted:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    return True


def _end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def differences(one: Path, other: Path) -> list[str]:
    """Name the results in which two finished runs differ by a byte."""
    differing = [
        table
        for table in ("episodes.csv", "evaluations.csv")
        if (one / table).read_bytes() != (other / table).read_bytes()
    ]
    a, b = (Checkpoints(run).latest() for run in (one, other))
    assert a is not None
    assert b is not None
    if (
        a.step != b.step
        or (a.path / "network.pt").read_bytes() != (b.path / "network.pt").read_bytes()
    ):
        differing.append("network.pt")
    return differing
