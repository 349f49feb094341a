"""Write the event file of a mean curve: a mean and its interval for TensorBoard's margin charts.

A comparison has many of these files, so each is open only while something is appended.
`wnrl.compare.live_mean` computes the mean.
"""

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from wnrl.stats.intervals import Interval
from wnrl.train.log.board_layout import MEANS
from wnrl.train.log.event_file import creation_time
from wnrl.train.untrusted.files import refuse_special

_NAME = "events.out.tfevents.*.mean"


def start_file(folder: Path, text: str, envs: Sequence[str]) -> Path:
    """Start a new file without points, which hides earlier ones, and return its path.

    The newest of the earlier files stays, because an open TensorBoard reads it to its end before it
    looks for the next one. Older files are removed.

    Args:
        folder: folder of the mean curve; made if it does not exist.
        text: description of the curve, in Markdown.
        envs: environments of the comparison, in the order of their charts.
    """
    # Slow to import.
    from tensorboard.compat.proto.event_pb2 import SessionLog
    from torch.utils.tensorboard import summary

    refuse_special(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in sorted(folder.glob(_NAME))[:-1]:
        earlier.unlink()
    path = folder / _NAME.replace("*", f"{creation_time(folder):.6f}")
    events = [
        {"file_version": "brain.Event:2"},
        {"session_log": SessionLog(status=SessionLog.START)},  # hides everything read so far
        {"summary": summary.custom_scalars(layout(envs))},
        {"summary": summary.text("compare", text)},
    ]
    _append(path, events)
    return path


def is_newest(path: Path) -> bool:
    """Return whether TensorBoard shows this file: it exists, and no later one does."""
    return max(path.parent.glob(_NAME), default=None) == path


def append_band(
    path: Path, env: str, steps: Sequence[int], intervals: Sequence[Interval | None]
) -> None:
    """Append points to the curve.

    Args:
        path: the file.
        env: environment of the runs.
        steps: (K,) agent steps.
        intervals: (K,) mean and interval at each step; None skips the point. Without finite ends
            only the mean is written, because a band of width 0 would claim that it is exact.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    events = []
    for step, interval in zip(steps, intervals, strict=True):
        if interval is not None:
            heights = [interval.value]
            if interval.bounded:
                heights += [interval.value, interval.low, interval.high]
            values = [
                Summary.Value(tag=tag, simple_value=height)
                for tag, height in zip(tags(env), heights, strict=False)
            ]
            events.append({"step": step, "summary": Summary(value=values)})
    _append(path, events)


def tags(env: str) -> list[str]:
    """Return the tags of the mean, and of the middle and the ends of its interval.

    Runs have no such tags. The middle is the mean where it has an interval: a margin chart refuses
    lines of different steps.
    """
    names = ("return", "return_middle", "return_low", "return_high")
    return [f"compare/{env}/{name}" for name in names]


def layout(envs: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Return the first charts of the Custom Scalars page, in the format of `SummaryWriter`.

    Every mean curve lists the charts of all environments. TensorBoard merges the layouts of all
    runs, and loses charts if a category differs between two of them. A margin chart omits curves
    without an interval, so there is a line chart too.
    """
    bands = {f"{env}, 95% interval": ["Margin", tags(env)[1:]] for env in envs}
    lines = {env: ["Multiline", [f"^{re.escape(tags(env)[0])}$"]] for env in envs}
    return {MEANS: {**bands, **lines}}


def _append(path: Path, events: Iterable[dict[str, Any]]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("ab") as file:
        records = RecordWriter(file)
        for event in events:
            record = Event(wall_time=time.time(), **event).SerializeToString()
            records.write(record)
