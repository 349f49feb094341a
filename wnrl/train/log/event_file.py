"""TensorBoard's event file of a run, written without a thread of its own.

TensorBoard's writer appends in a thread, which ends with a traceback on a full disk and takes
every later point with it. Here points wait in memory instead (`AppendFile`).
"""

import io
import math
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wnrl.train.storage.append_file import AppendFile

_CREATED = re.compile(r"events\.out\.tfevents\.(\d{1,12}(?:\.\d+)?)\..*")
_MOST_PENDING_BYTES = 1 << 24  # points beyond are lost; the tables hold what reports need


def creation_time(folder: Path) -> float:
    """Return the time to name a new event file by: now, or after every file that is there.

    TensorBoard reads event files in the order of their names, and a clock may have been set back.
    """
    matches = (_CREATED.fullmatch(path.name) for path in folder.glob("events.out.tfevents.*"))
    newest_s = max((float(match[1]) for match in matches if match), default=0.0)
    return max(time.time(), math.floor(newest_s) + 1.0)


class EventFile:
    """One event file, which no other process writes to.

    Attributes:
        file: the file with what is not written yet.
        lost_points: points that found no place in memory while the disk refused them.
    """

    def __init__(self, run_dir: Path, purge_step: int | None = None) -> None:
        """Make the file.

        Args:
            run_dir: the run's folder.
            purge_step: agent step from which TensorBoard hides what earlier files hold.

        Raises:
            OSError: it cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # slow to import
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        self._records: Any = RecordWriter  # TensorBoard declares no types
        created_s = int(creation_time(run_dir))
        name = f"events.out.tfevents.{created_s:010d}.{socket.gethostname()}.{os.getpid()}.0"
        self.file = AppendFile(run_dir / name)
        self.lost_points = 0
        self.file.create()
        version = "brain.Event:2"
        self.add(file_version=version)
        if purge_step is not None:
            self.add(step=purge_step, file_version=version)
            self.add(step=purge_step, session_log=SessionLog(status=SessionLog.START))
        self.file.flush()
        if self.file.error is not None:
            raise self.file.error

    def add(self, **fields: Any) -> None:
        """Keep an event for the next `file.flush`.

        Args:
            fields: those of TensorBoard's `Event`.
        """
        if self.file.pending_bytes > _MOST_PENDING_BYTES:
            self.lost_points += 1
            return
        record = io.BytesIO()
        event = self._event(wall_time=time.time(), **fields)
        self._records(record).write(event.SerializeToString())
        self.file.add(record.getvalue())

    def scalars(self, agent_step: int, values: Mapping[str, float]) -> None:
        """Keep one point for each tag."""
        for tag, value in values.items():
            point = self._summary.Value(tag=tag, simple_value=value)
            self.add(step=agent_step, summary=self._summary(value=[point]))


def histogram_edges() -> npt.NDArray[np.float64]:
    """Return the edges of TensorBoard's histograms: they grow by a tenth from 1e-12 to 1e20."""
    steps = math.ceil(math.log(1e20 / 1e-12) / math.log(1.1))
    positive = 1e-12 * 1.1 ** np.arange(steps)
    return np.concatenate([-positive[::-1], [0.0], positive])
