"""Trackio: a run's scalars over agent steps, in a database on this machine.

With TRACKIO_SPACE_ID or TRACKIO_SERVER_URL they go there. This module imports the extra `trackio`,
so import it only where it is used.
"""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trackio
from trackio import context_vars, deploy, run, utils

from wnrl.train.tracking.record import Point, TrackedRun
from wnrl.train.video.clip import TAG

_PROJECT = "wnrl"


def _silent(*words: object, **options: object) -> None:
    """Take the place of `print` in Trackio, which has no option for it."""


for _module in (trackio, deploy, run, utils):
    vars(_module)["print"] = _silent  # the run's own output goes on, also from other threads


def open_run(tracked: TrackedRun) -> "TrackioRun":
    """Open a run. Trackio knows runs by their names, so the id is part of the name."""
    run_id = tracked.id or uuid.uuid4().hex[:8]
    opened = trackio.init(
        _PROJECT,
        name=f"{tracked.name} {run_id}",
        group=tracked.group or None,
        config=dict(tracked.config),
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
        return str(self._run.url or utils.TRACKIO_DIR)

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
        self._run.finish()
