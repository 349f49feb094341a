"""The part of a comparison that runs on a Ray worker: check the node, then run and watch a process.

Imports neither Ray nor torch, so that a worker which only waits for its process stays small.
"""

import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import wnrl
from wnrl.compare.jobs.process import ExitStatus, start_process
from wnrl.doctor.software import git_commit, versions
from wnrl.train.exit_codes import ExitCode
from wnrl.train.storage.train_log import open_log

_POLL_S = 0.1  # Ray can interrupt Python code, but not a system call that waits


class ExpectedNode(NamedTuple):
    """The folder and the software that a node must share with the comparison's machine."""

    marker: Path  # file in the folder of the comparison
    token: str  # content of that file
    software: dict[str, str]


def installed_software() -> dict[str, str]:
    """Return everything installed here that can change a result, by name."""
    return {**versions(), "commit": str(git_commit())}


def node_problem(expected: ExpectedNode) -> str:
    """Return why this node cannot do runs of the comparison, in one line; empty if it can."""
    node, out = socket.gethostname(), expected.marker.parent
    try:
        token = expected.marker.read_text()
    except OSError:
        token = ""
    if token != expected.token:
        return (
            f"node {node} does not see {out}: the output folder must be on a file system that all "
            "nodes share"
        )
    installed = installed_software()
    for name, version in expected.software.items():
        if installed[name] != version:
            return (
                f"node {node} has {name} {installed[name]} instead of {version}: all nodes need "
                "the same environment"
            )
    return ""


def run_on_node(
    arguments: Sequence[str], log: Path, expected: ExpectedNode, folder: Path
) -> ExitStatus:
    """Execute a run in a process of this worker, and wait for it.

    Ray cancels a task with an interrupt. The first one asks the process to write a checkpoint and
    end, the second one kills it. The process also ends if the worker does.

    Args:
        arguments: arguments for the Python interpreter.
        log: file to which the node's name and then the run's output are appended.
        expected: what the node must have.
        folder: folder in which the command was typed; it may hold modules of --import.
    """
    if problem := node_problem(expected):
        return ExitStatus(ExitCode.UNUSABLE, problem)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A cluster that a script started in the background ignores SIGINT, and Ray's interrupt
        # would be lost.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with open_log(log) as file:
        file.write(f"on node {socket.gethostname()}\n".encode())
    # Run the package that was checked, not another one installed on the node.
    package, theirs = str(Path(wnrl.__file__).parents[1]), os.environ.get("PYTHONPATH")
    path = [package, *filter(None, [theirs]), str(folder)]
    process = start_process(arguments, log, {"PYTHONPATH": os.pathsep.join(path)})
    stop = process.terminate
    while True:
        try:
            while (exit_code := process.poll()) is None:
                time.sleep(_POLL_S)
            return ExitStatus.from_code(exit_code)
        except (KeyboardInterrupt, SystemExit):  # SystemExit follows SIGTERM
            stop()
            stop = process.kill
