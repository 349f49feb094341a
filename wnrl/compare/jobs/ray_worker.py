"""What a worker of a Ray cluster does for a comparison: look around, then run and mind a process.

Imports neither Ray nor torch: a worker that only waits for its process stays small.
"""

import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import wnrl
from wnrl.compare.jobs.process import UNUSABLE, Ending, start_process
from wnrl.doctor.software import git_commit, versions

_POLL_S = 0.1  # Ray interrupts Python code, no system call that waits


class Here(NamedTuple):
    """What the machine of the comparison has, and every node must have too."""

    marker: Path  # a file above the run folders
    token: str  # what is in it
    software: dict[str, str]


def software() -> dict[str, str]:
    """All that can change a result, by name."""
    return {**versions(), "commit": str(git_commit())}


def missing_on_node(here: Here) -> str:
    """Why this node cannot do runs of the comparison, in one line; empty if it can."""
    node, out = socket.gethostname(), here.marker.parent
    try:
        token = here.marker.read_text()
    except OSError:
        token = ""
    if token != here.token:
        return (
            f"node {node} does not see {out}: --out must be on a file system that all nodes share"
        )
    mine = software()
    for name, version in here.software.items():
        if mine[name] != version:
            return (
                f"node {node} has {name} {mine[name]} and not {version}: all nodes need the same "
                "environment"
            )
    return ""


def run_on_node(arguments: Sequence[str], log: Path, here: Here) -> Ending:
    """Do a run in a process of this worker, and wait for it.

    An interrupt, which is how Ray cancels a task, asks it to end with a checkpoint, and another one
    kills it. It ends by itself if the worker does.

    Args:
        arguments: of the Python interpreter.
        log: what it prints is appended there, after the node's name.
        here: what the node must have.
    """
    if problem := missing_on_node(here):
        return Ending(UNUSABLE, problem)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A cluster that a script started in the background; Ray's interrupt would be lost.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("a") as file:
        file.write(f"on node {socket.gethostname()}\n")
    # The package that was looked at, whatever else the node has installed.
    path = [str(Path(wnrl.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = start_process(arguments, log, {"PYTHONPATH": os.pathsep.join(path)})
    end = process.terminate
    while True:
        try:
            while (exit_code := process.poll()) is None:
                time.sleep(_POLL_S)
            return Ending.of(exit_code)
        except (KeyboardInterrupt, SystemExit):  # the latter at SIGTERM
            end()
            end = process.kill
