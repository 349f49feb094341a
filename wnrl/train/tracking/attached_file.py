"""A file next to the runs of a group: the report of a comparison, in a tracker's run of its own."""

from collections.abc import Callable
from pathlib import Path

from wnrl.train.tracking.sink import Tracking


def attach(path: Path, tracker: str, group: str, say: Callable[[str], None]) -> None:
    """Keep a copy of a file in the tracker; a later call adds the new file to the same run.

    Args:
        path: the file, in the folder that tracker.json is in.
        tracker: its name in the catalogue.
        group: of the runs.
        say: takes a line for the user.
    """
    tracking = Tracking(path.parent, tracker, name=f"{group} {path.stem}", group=group)
    tracking.start(say)
    tracking.attach(path)
    tracking.close()
