"""Trackio: a run's scalars over agent steps, in a database on this machine.

With TRACKIO_SPACE_ID or TRACKIO_SERVER_URL they go there. This module imports the extra `trackio`,
so import it only where it is used.
"""

import contextlib
import io
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trackio
from trackio import context_vars
from trackio.utils import TRACKIO_DIR

from wnrl.train.tracking.record import Point, TrackedRun
from wnrl.train.video.clip import TAG

_PROJECT = "wnrl"


def open_run(run: TrackedRun) -> "TrackioRun":
    """Open a run. Trackio knows runs by their names, so the id is part of the name."""
    run_id = run.id or uuid.uuid4().hex[:8]
    with _silent():
        opened = trackio.init(
            _PROJECT,
            name=f"{run.name} {run_id}",
            group=run.group or None,
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        context_vars.current_run.set(None)  # else it is finished once more when Python ends
    return TrackioRun(opened, run_id)


class TrackioRun:
    """An open run; a `Tracker`."""

    def __init__(self, run: Any, run_id: str) -> None:
        self._run = run
        self.id = run_id

    @property
    def place(self) -> str:
        """The space or server, or the folder, that has it."""
        return str(self._run.url or TRACKIO_DIR)

    def log(self, points: Sequence[Point]) -> None:
        """Write the points."""
        for point in points:
            self._run.log(dict(point.values), step=point.agent_step)

    def attach(self, path: Path) -> None:
        """Keep the file among the run's artifacts."""
        self._run.log_artifact(path, name=path.stem, type=path.stem)

    def clip(self, agent_step: int, path: Path) -> None:
        """Show a GIF."""
        self._run.log({TAG: trackio.Video(path)}, step=agent_step)

    def close(self, *, failed: bool) -> None:
        """End the run; Trackio does not record how it ended."""
        with _silent():
            self._run.finish()


def _silent() -> contextlib.redirect_stdout[io.StringIO]:
    return contextlib.redirect_stdout(io.StringIO())
