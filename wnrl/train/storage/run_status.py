"""How far a run is, read from its own files while another process writes them."""

import csv
from pathlib import Path
from typing import NamedTuple

from wnrl.train.log.progress import parse_progress
from wnrl.train.storage.checkpoint import Checkpoints

TRAIN_LOG = "train.log"  # what a run of a grid prints; no part of the run, which may be cleared
_TAIL_BYTES = 65_536
_RECENT_EPISODES = 100


class RunStatus(NamedTuple):
    """A run at a glance."""

    agent_steps: int
    mean_return: float | None  # raw, of the last 100 episodes; None before the first
    steps_per_s: float | None  # agent steps; None where it has not said yet


def saved_steps(folder: Path) -> int:
    """Agent steps of the newest checkpoint, from which a run would go on; 0 if there is none."""
    return max(Checkpoints(folder).steps(), default=0)


def read_status(folder: Path, log_from_byte: int | None = None) -> RunStatus:
    """Look at a run.

    Args:
        folder: the run's.
        log_from_byte: of one that is running, where in train.log this part of it begins.
    """
    steps, returns = 0, []
    for row in csv.reader(tail(folder / "episodes.csv").splitlines()[-_RECENT_EPISODES:]):
        if len(row) == 5 and row[0].isdigit():  # neither the header nor a line that is cut
            steps = int(row[0])
            returns.append(float(row[2]))
    mean_return = sum(returns) / len(returns) if returns else None
    if log_from_byte is None:  # episodes since the newest checkpoint will be played again
        return RunStatus(saved_steps(folder), mean_return, None)
    lines = reversed(tail(folder / TRAIN_LOG, log_from_byte).splitlines())
    said = next(filter(None, map(parse_progress, lines)), None)
    if said is None:
        return RunStatus(max(steps, saved_steps(folder)), mean_return, None)
    return RunStatus(max(steps, said.step), mean_return, said.steps_per_s)


def tail(path: Path, from_byte: int = 0) -> str:
    """The end of a text file from its first whole line on; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, 2)
            begin = max(from_byte, size_bytes - _TAIL_BYTES)
            file.seek(begin)
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text if begin == from_byte else text.partition("\n")[2]


def last_line(path: Path, from_byte: int = 0) -> str:
    """The last line of a text file that is not empty."""
    lines = [line.strip() for line in tail(path, from_byte).splitlines() if line.strip()]
    return lines[-1] if lines else ""
