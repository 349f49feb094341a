"""The record of a tracker: all that a run needs to know about it. They are in the catalogue."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class Point(NamedTuple):
    """Scalars that belong to one agent step."""

    agent_step: int
    values: Mapping[str, float]  # by tag, the same as in TensorBoard


class TrackedRun(NamedTuple):
    """The description with which a tracker opens a run."""

    name: str
    group: str  # empty for a run that belongs to none
    config: Mapping[str, Any]  # every setting by name; empty for a run that has none
    id: str | None  # of the tracker's run to continue; None for a new one


class Tracker(Protocol):
    """An open run of a tracker. Any method may raise any exception."""

    @property
    def id(self) -> str:
        """The run's name in the tracker, by which `TrackedRun.id` continues it."""
        ...

    @property
    def place(self) -> str:
        """Where a person finds the run: a folder, a file or an address."""
        ...

    def log(self, points: Sequence[Point]) -> None:
        """Write points, in the order of their agent steps."""
        ...

    def attach(self, path: Path) -> None:
        """Keep a copy of a file with the run."""
        ...

    def clip(self, agent_step: int, path: Path) -> None:
        """Keep a copy of a GIF under `wnrl.train.video.clip.TAG`."""
        ...

    def close(self, *, failed: bool) -> None:
        """Write what is left and end the run.

        Args:
            failed: the run ended with an error.
        """
        ...


@dataclass(frozen=True)
class TrackerRecord:
    """A tracker that `--track` names.

    Attributes:
        name: also of the extra that installs it.
        package: that must be importable.
        begin: opens a run.
        defaults: environment variables, set before the package is imported unless they are set;
            they keep it from printing, and from sending anything.
        servers: environment variables by which a user names a server; with one of them the
            defaults are not set.
    """

    name: str
    package: str
    begin: Callable[[TrackedRun], Tracker]
    defaults: Mapping[str, str]
    servers: tuple[str, ...] = ()

    def open(self, run: TrackedRun) -> Tracker:
        """Open a run; it may raise any exception."""
        if not any(name in os.environ for name in self.servers):
            for name, value in self.defaults.items():
                os.environ.setdefault(name, value)
        return self.begin(run)
