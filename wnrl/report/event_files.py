"""Scalars read back from a run's TensorBoard event files, in one pass and without TensorBoard's UI.

`EventAccumulator` sums a checksum over every byte in Python, which takes eight times as long.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast

_LENGTH_BYTES = 8  # of a record, little-endian
_CHECKSUM_BYTES = 4  # after the length, and after the record


def read_scalars(run_dir: Path, tags: Collection[str]) -> dict[str, dict[int, float]]:
    """Values by agent step, by tag.

    A file that a resumed run has begun hides what earlier files hold from its checkpoint on, as in
    TensorBoard. What a killed run has half written at a file's end is left out.

    Args:
        run_dir: the run's folder; its files are read in the order in which they were begun.
        tags: what to read; each is in the answer, empty where the run has no such scalar.

    Source: tensorflow/core/util/event.proto, tensorflow/core/lib/io/record_writer.h.
    """
    scalars: dict[str, dict[int, float]] = {tag: {} for tag in tags}
    for path in sorted(run_dir.glob("events.out.tfevents.*")):
        for event in _events(path.read_bytes()):
            if event.session_log.status == event.session_log.START:
                for values in scalars.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for value in event.summary.value:
                if value.tag in scalars and value.HasField("simple_value"):
                    scalars[value.tag][event.step] = value.simple_value
    return scalars


def _events(file: bytes) -> Iterator[Any]:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto import event_pb2  # slow to import

    parse = cast(Any, event_pb2).Event.FromString  # its classes are made at import, without types
    begin = _LENGTH_BYTES + _CHECKSUM_BYTES
    while begin <= len(file):
        length_at = begin - _LENGTH_BYTES - _CHECKSUM_BYTES
        end = begin + int.from_bytes(file[length_at : length_at + _LENGTH_BYTES], "little")
        try:  # a record that was cut off is none
            yield parse(file[begin:end])
        except DecodeError:
            return
        begin = end + 2 * _CHECKSUM_BYTES + _LENGTH_BYTES
