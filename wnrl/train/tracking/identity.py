"""tracker.json: which run of a tracker belongs to a folder, so that a resumed run continues it.

It is not part of what the run is: it can be deleted, and the run then begins a new one there.
"""

import contextlib
import dataclasses
import json
from pathlib import Path

from wnrl.train.storage.atomic_files import replace_text
from wnrl.train.untrusted.typed_json import read_json

TRACKER = "tracker.json"


@dataclasses.dataclass(frozen=True)
class Identity:
    """The content of the file."""

    tracker: str
    id: str
    agent_steps: int  # up to these the tracker has every point; -1 if that is not certain


def read_identity(folder: Path, tracker: str) -> Identity | None:
    """Return the run of this tracker that belongs to a folder; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        identity = read_json(folder / TRACKER, Identity)
        if identity.tracker == tracker:
            return identity
    return None


def write_identity(folder: Path, identity: Identity) -> None:
    """Replace the file; OSError if it cannot be written."""
    text = json.dumps(dataclasses.asdict(identity), indent=2)
    replace_text(folder / TRACKER, f"{text}\n", sync=False)
