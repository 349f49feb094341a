"""The manifest of a checkpoint: its step, its files, its replay's segments, the run's record."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wnrl.train.storage.atomic_files import Fingerprint
from wnrl.train.storage.run_record import EMPTY, Record
from wnrl.train.untrusted.files import MEBIBYTE, read_text
from wnrl.train.untrusted.typed_json import parse_json, typed

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
NETWORK, STATE = "network.pt", "state.pt"  # the files of a checkpoint
_LIMIT_BYTES = 16 * MEBIBYTE


class BrokenCheckpoint(Exception):
    """A checkpoint cannot be used; the message says why."""


class Segment(NamedTuple):
    """A file of replay rows [start, stop)."""

    start: int
    stop: int
    content: Fingerprint

    @property
    def name(self) -> str:
        """The file's name."""
        return segment_name(self.start, self.stop)


def segment_name(start: int, stop: int) -> str:
    """Return the name of the file that holds rows [start, stop)."""
    return f"rows_{start}_{stop}.npy"


@dataclass(frozen=True)
class ReplayRows:
    """The replay of a checkpoint: rows [oldest_row, total_rows), and the files that hold them."""

    oldest_row: int
    total_rows: int
    segments: tuple[Segment, ...]  # in order, without a gap; the first may begin before oldest_row


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    step: int  # agent steps done
    files: Mapping[str, Fingerprint]  # in the checkpoint's folder, by name
    replay: ReplayRows | None  # None if the agent has no replay
    record: Record = field(default_factory=dict)  # what it was trained with


def write_manifest(file: BinaryIO, manifest: Manifest) -> None:
    """Write the manifest as JSON; its checksum covers steps and row ranges too."""
    replay = manifest.replay
    body: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "agent_step": manifest.step,
        "files": {name: content._asdict() for name, content in manifest.files.items()},
        "replay": None
        if replay is None
        else {
            "oldest_row": replay.oldest_row,
            "total_rows": replay.total_rows,
            "segments": [
                {"start": s.start, "stop": s.stop, **s.content._asdict()} for s in replay.segments
            ],
        },
        "record": dict(manifest.record),
    }
    body["checksum"] = _checksum(body)
    file.write(json.dumps(body, indent=2).encode())


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        BrokenCheckpoint: the file is missing, damaged, or has another format.
    """
    try:
        body = typed(parse_json(read_text(path, _LIMIT_BYTES)), dict[str, Any])
        if body["format"] != FORMAT_VERSION:
            raise BrokenCheckpoint(
                f"{path.name} has format {body['format']}, this wnrl reads {FORMAT_VERSION}"
            )
        if body.pop("checksum") != _checksum(body):
            raise BrokenCheckpoint(f"{path.name} has another checksum than when it was written")
        content: _Body = typed(body, _Body)
        if {NETWORK, STATE} != content.files.keys():
            raise BrokenCheckpoint(f"{path.name} does not list {NETWORK} and {STATE} alone")
        if content.record:
            typed(content.record, _RecordShape, "record")
        return Manifest(
            content.agent_step, content.files, _replay_rows(content.replay), content.record or EMPTY
        )
    except OSError as error:
        raise BrokenCheckpoint(f"{path.name}: {error.strerror}") from error
    except (ValueError, KeyError) as error:
        raise BrokenCheckpoint(f"{path.name} is not a manifest ({error})") from error


class _Rows(NamedTuple):
    """A segment as it is written."""

    start: int
    stop: int
    size_bytes: int
    sha256: str


class _Replay(NamedTuple):
    """A replay as it is written."""

    oldest_row: int
    total_rows: int
    segments: list[_Rows]


class _Body(NamedTuple):
    """The content of the file, besides its format and checksum."""

    agent_step: int
    files: dict[str, Fingerprint]
    replay: _Replay | None
    record: dict[str, Any] | None = None


class _RecordShape(NamedTuple):
    """The types of a record that is not empty (`wnrl.train.storage.run_record`)."""

    settings: dict[str, str | bool | int | float | None]
    versions: dict[str, str]
    commit: str | None
    machine: str
    rollbacks: list[str] | None = None


def _replay_rows(replay: _Replay | None) -> ReplayRows | None:
    if replay is None:
        return None
    rows = replay.segments
    whole = all(s.start < s.stop for s in rows) and all(
        a.stop == b.start for a, b in itertools.pairwise(rows)
    )
    first, last = (rows[0].start, rows[-1].stop) if rows else (replay.total_rows,) * 2
    if not whole or not 0 <= first <= replay.oldest_row <= last == replay.total_rows:
        raise ValueError("its segments do not hold the rows of the replay")
    segments = tuple(Segment(s.start, s.stop, Fingerprint(s.size_bytes, s.sha256)) for s in rows)
    return ReplayRows(replay.oldest_row, replay.total_rows, segments)


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
