"""Hand runs to an existing Ray cluster, which decides on which node each of them runs.

A task reserves what its run needs and watches the run's process on its node
(`wnrl.compare.jobs.ray_worker`). Ray does not repeat a task whose worker or node was lost: the
runner does, from the newest checkpoint in the shared folder, and counts the failures. This module
imports the extra `ray`, so import it only where it is used.
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

from wnrl._settings import SettingError, UsageError
from wnrl.compare.jobs.process import ExitStatus, tethered
from wnrl.compare.jobs.ray_resources import Node, Share
from wnrl.compare.jobs.ray_worker import ExpectedNode, installed_software, node_problem, run_on_node
from wnrl.doctor.software import versions
from wnrl.train.storage.train_log import open_log

_CONNECT_S = 30
_CHECK_NODES_S = 120  # a node's first task waits until Ray has started a worker there
_MARKER = ".compare.ray"


class Cluster:
    """A connection to a Ray cluster; leaving the context closes it and ends its runs."""

    def __init__(self, address: str) -> None:
        """Connect to a cluster.

        Args:
            address: HOST:PORT of the cluster's head, or `auto` for the cluster that this machine
                belongs to.

        Raises:
            SettingError: no cluster answers there.
        """
        _check_answers(address)
        previous_handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(address, str(error)) from None
        finally:
            signal.signal(signal.SIGTERM, previous_handler)  # Ray's would exit at once
        self.nodes = [
            Node(
                node["NodeID"],
                *(node["Resources"].get(name, 0) for name in ("CPU", "GPU", "memory")),
            )
            for node in ray.nodes()
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
        """Check every node, and return the function that starts runs on the cluster.

        Args:
            out: folder of the comparison, which all nodes must see.
            share: resources that a run reserves.

        Raises:
            UsageError: a node does not see the folder, or has other software.
        """
        expected = ExpectedNode(out / _MARKER, uuid.uuid4().hex, installed_software())
        expected.marker.write_text(expected.token)
        check = ray.remote(num_cpus=0, max_retries=0)(node_problem)
        checks = [
            check.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
            for node in self.nodes
        ]
        try:
            problems = ray.get([check.remote(expected) for check in checks], timeout=_CHECK_NODES_S)
        except RayError as error:
            raise UsageError(
                f"a node of the Ray cluster cannot run wnrl: {_short(error)}"
            ) from None
        for problem in filter(None, problems):
            raise UsageError(problem)
        # Without the commit: one that is made while runs are queued must not end them.
        return RayLaunch(expected._replace(software=versions()), share)


class RayLaunch:
    """Starts runs as tasks of Ray; a `wnrl.compare.jobs.process.Launch`."""

    def __init__(self, expected: ExpectedNode, share: Share) -> None:
        self._expected = expected
        # Without retries: the runner does them, from the newest checkpoint.
        self._task = ray.remote(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            memory=share.memory_bytes,
            max_retries=0,
        )(run_on_node)

    def __call__(self, arguments: Sequence[str], log: Path) -> "RayJob":
        """Submit a run; it starts when a node has room for it."""
        open_log(log).close()
        queued_bytes = log.stat().st_size
        task = self._task.remote(list(arguments), log, self._expected, Path.cwd())
        return RayJob(task, log, queued_bytes)


class RayJob:
    """A run as a task of Ray; a `wnrl.compare.jobs.process.Job`."""

    def __init__(self, task: Any, log: Path, queued_bytes: int) -> None:
        self._task = task
        self._log = log
        self._queued_bytes = queued_bytes  # size of the log when the run was submitted

    def has_started(self) -> bool:
        """Return whether a worker has written its node's name to the log."""
        try:
            return self._log.stat().st_size > self._queued_bytes
        except OSError:  # the run folder was deleted, and the task will end by itself
            return False

    def poll(self) -> ExitStatus | None:
        """Return how it ended, or None before that."""
        if not ray.wait([self._task], timeout=0)[0]:
            return None
        try:
            status: ExitStatus = ray.get(self._task)
        except RayError as error:
            return ExitStatus(None, f"lost: {_short(error)}")
        return status

    def request_stop(self) -> None:
        """Cancel it: its worker asks the process to end with a checkpoint."""
        ray.cancel(self._task)

    def kill(self) -> None:
        """Cancel it again: its worker kills the process."""
        ray.cancel(self._task)

    def wait(self) -> None:
        """Block until the task has ended."""
        ray.wait([self._task])


def _check_answers(address: str) -> None:
    """Refuse an address at which no cluster answers.

    Ray would try for minutes and cannot be interrupted, so a process that can be killed tries
    first.
    """
    if address != "auto" and (address.startswith("ray://") or ":" not in address):
        raise SettingError(
            "ray", f"{address!r} is not an address; give the head's HOST:PORT, or auto"
        )
    code = "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False)"
    try:
        done = subprocess.run(
            tethered([sys.executable, "-c", code, address]),
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


def _unreachable(address: str, reason: str) -> SettingError:
    return SettingError(
        "ray",
        f"{address}: cannot reach a Ray cluster ({reason.partition('. ')[0]}); start one with "
        "`ray start --head`, and run this command on one of its nodes",
    )


def _short(error: RayError) -> str:
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 160)}"
