"""MLflow: a run's scalars over agent steps, at MLFLOW_TRACKING_URI or in a local database.

This module imports the extra `mlflow`, so import it only where it is used.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from wnrl.train.tracking.record import Point, TrackedRun
from wnrl.train.video.clip import TAG

_EXPERIMENT = "wnrl"  # unless MLFLOW_EXPERIMENT_NAME names another
_AT_ONCE = 1_000  # metrics; MLflow's limit
# A container may have a user without a name. On Windows, which has no number, the folder is theirs.
_USER = os.getuid() if hasattr(os, "getuid") else ""
_LOCK = Path(tempfile.gettempdir()) / f"wnrl-mlflow-{_USER}.lock"
_LOCK_S = 120.0
_PARAMETERS = 100  # at once; MLflow's limit


def open_run(run: TrackedRun) -> "MlflowRun":
    """Open a run; a new one if MLflow does not have the one to continue."""
    # Runs of a comparison start together, and two that make the same database spoil it.
    with FileLock(_LOCK, timeout=_LOCK_S):
        client = MlflowClient()
        experiment = _experiment(client)
    if run.id is not None:
        try:
            client.update_run(run.id, status="RUNNING")
            return MlflowRun(client, run.id)
        except MlflowException:
            pass  # it was deleted, or is in another place; without a server the next call says so
    tags = {"group": run.group} if run.group else {}
    made = client.create_run(experiment, run_name=run.name, tags=tags)
    parameters = [Param(name, str(value)) for name, value in run.config.items()]
    for first in range(0, len(parameters), _PARAMETERS):
        client.log_batch(made.info.run_id, params=parameters[first : first + _PARAMETERS])
    return MlflowRun(client, made.info.run_id)


def _experiment(client: MlflowClient) -> str:
    """Return the id of the experiment; make it if there is none."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
    found = client.get_experiment_by_name(name)
    return str(client.create_experiment(name) if found is None else found.experiment_id)


class MlflowRun:
    """An open run; a `Tracker`."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self._newest_ms = 0  # time of the newest point
        self.id = run_id

    @property
    def place(self) -> str:
        """The server, or the file or folder, that has it."""
        return str(self._client.tracking_uri)

    def log(self, points: Sequence[Point]) -> None:
        """Write the points."""
        metrics = []
        for point in points:
            # MLflow keeps one of two equal values of a step, unless their times differ.
            self._newest_ms = max(self._newest_ms + 1, int(1_000 * time.time()))
            metrics += [
                Metric(tag, value, self._newest_ms, point.agent_step)
                for tag, value in point.values.items()
            ]
        for first in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self.id, metrics=metrics[first : first + _AT_ONCE])

    def attach(self, path: Path) -> None:
        """Keep the file among the run's artifacts."""
        self._client.log_artifact(self.id, str(path))

    def clip(self, agent_step: int, path: Path) -> None:
        """Keep a GIF among the run's artifacts, with the agent step in its name."""
        self._client.log_artifact(self.id, str(path), TAG)

    def close(self, *, failed: bool) -> None:
        """End the run."""
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")
