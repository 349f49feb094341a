"""The manifest of a checkpoint: its step, its files, its replay's segments, the run's record."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from wnrl.train.storage.atomic_files import Fingerprint
from wnrl.train.storage.run_record import EMPTY, Record

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


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
        body = json.loads(path.read_bytes())
        if body["format"] != FORMAT_VERSION:
            raise BrokenCheckpoint(
                f"{path.name} has format {body['format']}, this wnrl reads {FORMAT_VERSION}"
            )
        if body.pop("checksum") != _checksum(body):
            raise BrokenCheckpoint(f"{path.name} has another checksum than when it was written")
        files = {name: Fingerprint(**content) for name, content in body["files"].items()}
        replay, record = _replay_rows(body["replay"]), body.get("record", EMPTY)
        return Manifest(body["agent_step"], files, replay, record)
    except OSError as error:
        raise BrokenCheckpoint(f"{path.name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenCheckpoint(f"{path.name} is not a manifest") from error


def _replay_rows(body: Mapping[str, Any] | None) -> ReplayRows | None:
    if body is None:
        return None
    segments = tuple(
        Segment(s["start"], s["stop"], Fingerprint(s["size_bytes"], s["sha256"]))
        for s in body["segments"]
    )
    return ReplayRows(body["oldest_row"], body["total_rows"], segments)


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
