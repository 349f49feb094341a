"""Runs as tasks of a Ray cluster that is there: Ray places them, this hands them over.

A task reserves what its run needs and minds the run's process on its node
(`wnrl.compare.jobs.ray_worker`). Lost
with its worker or node, it is not Ray's to repeat but the runner's, which goes on from the newest
checkpoint in the shared folder and counts what was in vain. Needs the extra `ray`, imported here:
import this module where it is used.
"""

import logging
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wnrl._settings import UsageError
from wnrl.compare.jobs.process import Ending
from wnrl.compare.jobs.ray_resources import Node, Share
from wnrl.compare.jobs.ray_worker import Here, missing_on_node, run_on_node, software
from wnrl.doctor.software import versions

_CONNECT_S = 30
_LOOK_AROUND_S = 120  # a node's first task waits for a worker to be started there
_MARKER = ".compare.ray"


class Cluster:
    """A connection to a Ray cluster; a context manager that ends it, and the runs with it."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: HOST:PORT of its head, or `auto` for the one that this machine is part of.

        Raises:
            UsageError: none answers there.
        """
        _check_answers(address)
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(address, str(error)) from None
        finally:
            signal.signal(signal.SIGTERM, before)  # Ray sets one that exits at once
        self.nodes = [
            Node(
                node["NodeID"],
                *(node["Resources"].get(name, 0) for name in ("CPU", "GPU", "memory")),
            )
            for node in ray.nodes()  # type: ignore[no-untyped-call]
            if node["Alive"]
        ]

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ray.shutdown()

    def launch(self, out: Path, share: Share) -> "RayLaunch":
        """What starts runs here, after a look at every node.

        Args:
            out: folder above the run folders, which all nodes must see.
            share: what a run reserves.

        Raises:
            UsageError: a node does not see it, or has other software.
        """
        here = Here(out / _MARKER, uuid.uuid4().hex, software())
        here.marker.write_text(here.token)
        look = ray.remote(num_cpus=0, max_retries=0)(missing_on_node)
        looks = [
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
            for node in self.nodes
        ]
        try:
            problems = ray.get([each.remote(here) for each in looks], timeout=_LOOK_AROUND_S)
        except RayError as error:
            raise UsageError(
                f"a node of the Ray cluster cannot run wnrl: {_short(error)}"
            ) from None
        for problem in filter(None, problems):
            raise UsageError(problem)
        # A commit that is made while runs wait in the queue ends none of them.
        return RayLaunch(here._replace(software=versions()), share)


class RayLaunch:
    """Hands runs over to Ray; a `wnrl.compare.jobs.process.Launch`."""

    def __init__(self, here: Here, share: Share) -> None:
        self._here = here
        # Not retried by Ray: the runner does it, from the newest checkpoint.
        self._task = ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            memory=share.memory_bytes,
            max_retries=0,
        )(run_on_node)

    def __call__(self, arguments: Sequence[str], log: Path) -> "RayJob":
        """Hand a run over; it begins when a node has room for it."""
        log.touch()
        queued_bytes = log.stat().st_size
        return RayJob(self._task.remote(list(arguments), log, self._here), log, queued_bytes)


class RayJob:
    """A run as a task of Ray; a `wnrl.compare.jobs.process.Job`."""

    def __init__(self, task: Any, log: Path, queued_bytes: int) -> None:
        self._task = task
        self._log = log
        self._queued_bytes = queued_bytes  # of the log, when it was handed over

    def has_begun(self) -> bool:
        """Whether a worker has said in the log where it runs."""
        try:
            return self._log.stat().st_size > self._queued_bytes
        except OSError:  # its folder was deleted: the task ends by itself
            return False

    def poll(self) -> Ending | None:
        """How it ended; None before that."""
        if not ray.wait([self._task], timeout=0)[0]:
            return None
        try:
            ending: Ending = ray.get(self._task)
        except RayError as error:
            return Ending(None, f"lost: {_short(error)}")
        return ending

    def ask(self) -> None:
        """Cancel it: its worker asks the process to end with a checkpoint."""
        ray.cancel(self._task)

    def kill(self) -> None:
        """Cancel it again: its worker kills the process."""
        ray.cancel(self._task)

    def wait(self) -> None:
        """Return when the task has ended."""
        ray.wait([self._task])


def _check_answers(address: str) -> None:
    """Refuse an address at which no cluster answers.

    Ray tries for minutes and cannot be interrupted meanwhile, so a process that can be killed
    connects first.
    """
    if address != "auto" and (address.startswith("ray://") or ":" not in address):
        raise UsageError(f"--ray {address}: give HOST:PORT of the cluster's head, or auto")
    code = "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CONNECT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no answer within {_CONNECT_S} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise _unreachable(address, lines[-1] if lines else f"exit code {done.returncode}")


def _unreachable(address: str, why: str) -> UsageError:
    return UsageError(
        f"--ray {address}: no Ray cluster can be reached from here ({why.partition('. ')[0]}); "
        "start one with `ray start --head`, and this command on one of its nodes"
    )


def _short(error: RayError) -> str:
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 160)}"
