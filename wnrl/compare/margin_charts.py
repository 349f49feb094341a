"""An aggregate run's event file: a mean and its interval, for TensorBoard's margin charts.

The file is open only while something is appended, since a comparison has many of them. Not for what
the mean is of: that is `wnrl.compare.live_mean`.
"""

import math
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wnrl.stats.intervals import Interval

_NAME = "events.out.tfevents.*.mean"


def begin(folder: Path, text: str, envs: Sequence[str]) -> Path:
    """Start a new file, without points, that hides an earlier one.

    The newest of the earlier ones stays: a TensorBoard that is open reads it to its end before it
    looks for another. Older ones are removed.

    Args:
        folder: of the aggregate run; made if it is not there.
        text: what the curve is, in Markdown.
        envs: environments of the comparison, in the order of their charts.

    Returns:
        The file.
    """
    # Slow to import; mypy cannot see the classes of a protocol buffer, which are made then.
    from tensorboard.compat.proto.event_pb2 import SessionLog  # type: ignore[attr-defined]
    from torch.utils.tensorboard import summary

    folder.mkdir(parents=True, exist_ok=True)
    for earlier in sorted(folder.glob(_NAME))[:-1]:
        earlier.unlink()
    path = folder / _NAME.replace("*", f"{time.time():.6f}")
    events = [
        {"file_version": "brain.Event:2"},
        {"session_log": SessionLog(status=SessionLog.START)},  # hides what has been read so far
        {"summary": summary.custom_scalars(layout(envs))},
        {"summary": summary.text("compare", text)},
    ]
    _append(path, events)
    return path


def is_newest(path: Path) -> bool:
    """Whether TensorBoard shows this file: it is there, and nobody began a later one."""
    return max(path.parent.glob(_NAME), default=None) == path


def append_band(
    path: Path, env: str, steps: Sequence[int], intervals: Sequence[Interval | None]
) -> None:
    """Go on with the curve.

    Args:
        path: the file.
        env: the environment of the runs.
        steps: (K,) agent steps.
        intervals: (K,) at each; None leaves the point out. Of one without ends only the mean is
            written: a band of width 0 would say that the mean is known.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

    events = []
    for step, found in zip(steps, intervals, strict=True):
        if found is not None:
            heights = zip(tags(env), (found.value, found.low, found.high), strict=True)
            values = [
                Summary.Value(tag=tag, simple_value=height)
                for tag, height in heights
                if not math.isnan(height)
            ]
            events.append({"step": step, "summary": Summary(value=values)})
    _append(path, events)


def tags(env: str) -> list[str]:
    """Of the mean and the ends of its interval; a run itself has no such tags."""
    return [f"compare/{env}/{name}" for name in ("return", "return_low", "return_high")]


def layout(envs: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """The first charts of the Custom Scalars page, in the form of `SummaryWriter`'s.

    Each aggregate run has all of them: TensorBoard merges the pages of all runs, and loses charts
    where a category has some in one run and others in the next. A margin chart shows no run without
    an interval, so lines stand below.
    """
    return {
        "0 mean return over seeds, 95% interval": {env: ["Margin", tags(env)] for env in envs},
        "0 mean return over seeds": {
            env: ["Multiline", [f"^{re.escape(tags(env)[0])}$"]] for env in envs
        },
    }


def _append(path: Path, events: Iterable[dict[str, Any]]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[attr-defined]
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("ab") as file:
        records = RecordWriter(file)  # type: ignore[no-untyped-call]
        for event in events:
            record = Event(wall_time=time.time(), **event).SerializeToString()
            records.write(record)  # type: ignore[no-untyped-call]
