"""The tracker of one folder: points gather here, and a thread hands them to the tracker.

A tracker may be slow, away or broken, and none of that may change or end a run. So its calls are
made in a thread, and the first exception ends the tracking with one line for the user.
"""

import queue
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wnrl.train.foreign_text import joined
from wnrl.train.tracking.catalogue import TRACKERS
from wnrl.train.tracking.identity import Identity, read_identity, write_identity
from wnrl.train.tracking.record import Point, TrackedRun, Tracker

_CLOSE_S = 60.0  # a tracker has this time to take what is left
_MOST_WAITING = 1_000  # groups of points; a tracker that is so far behind is given up
_LONGEST = 200  # characters of a tracker's own words

_Work = Callable[[], None]


class Tracking:
    """Writes the points of a run to its tracker, or to nowhere once that has failed."""

    def __init__(
        self,
        folder: Path,
        tracker: str,
        *,
        name: str,
        group: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Open the tracker's run: the one in tracker.json, or a new one.

        Args:
            folder: the folder that tracker.json is in.
            tracker: its name in the catalogue.
            name: of the run, for people.
            group: of runs that belong together; empty for none.
            config: every setting by name.
        """
        self._folder, self._name = folder, tracker
        self._points: list[Point] = []
        self._work: queue.Queue[_Work | None] = queue.Queue(_MOST_WAITING)
        self._error: Exception | None = None
        self._failed = False  # and the user knows
        self._thread = threading.Thread(target=self._do, name="wnrl tracker", daemon=True)
        self._tracker: Tracker | None = None
        self._done_steps = -1  # up to these the tracker has every point of earlier parts
        self._newest_steps = -1  # of the newest point
        known = read_identity(folder, tracker)
        try:
            run = TrackedRun(name, group, config or {}, None if known is None else known.id)
            self._tracker = TRACKERS[tracker].open(run)
            if known is not None and known.id == self._tracker.id:
                self._done_steps = known.agent_steps
            self._newest_steps = self._done_steps
            write_identity(folder, Identity(tracker, self._tracker.id, self._done_steps))
            self._thread.start()
        except Exception as error:  # a tracker may raise whatever it likes
            self._error = error

    def start(self, say: Callable[[str], None]) -> None:
        """Say where the tracker's run is, or why there is none.

        Args:
            say: takes a line for the user, now and later.
        """
        self._say = say
        if self._error is None and self._tracker is not None:
            say(f"  tracker   {self._name} run {self._tracker.id}, {self._tracker.place}")
        self._watch()

    def scalars(self, agent_step: int, values: Mapping[str, float]) -> None:
        """Keep scalars for the next `flush`.

        A resumed run repeats the steps since its checkpoint. What the tracker has of them for
        certain is left out.
        """
        if not self._failed and agent_step > self._done_steps:
            self._newest_steps = agent_step
            self._points.append(Point(agent_step, dict(values)))

    def flush(self) -> None:
        """Hand over what is kept, without waiting for the tracker."""
        tracker, points = self._tracker, self._points
        if tracker is not None and points and not self._failed:
            self._points = []
            self._put(lambda: tracker.log(points))
        self._watch()

    def attach(self, path: Path) -> None:
        """Hand over a file, of which the tracker keeps a copy."""
        tracker = self._tracker
        if tracker is not None and not self._failed:
            self._put(lambda: tracker.attach(path))

    def clip(self, agent_step: int, gif: bytes) -> None:
        """Hand over an encoded GIF of an evaluation, unless the tracker has it already."""
        tracker = self._tracker
        if tracker is not None and not self._failed and agent_step > self._done_steps:
            self._put(lambda: _show(tracker, agent_step, gif))

    def close(self, *, failed: bool = False) -> None:
        """Hand over what is kept and end the tracker's run. Harmless when repeated.

        Args:
            failed: the run ended with an error.
        """
        self.flush()
        tracker, self._tracker = self._tracker, None
        if tracker is None:
            return
        if not self._failed:
            self._put(lambda: self._end(tracker, failed=failed))
        self._put(None)
        if self._error is None:
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                self._error = TimeoutError(f"it did not take the last points in {_CLOSE_S:.0f} s")
        self._watch()

    def _end(self, tracker: Tracker, *, failed: bool) -> None:
        """End the tracker's run; only then it has all points, not just queued them."""
        tracker.close(failed=failed)
        # An error may leave a step without some of its points.
        steps = max(self._newest_steps - failed, self._done_steps)
        write_identity(self._folder, Identity(self._name, tracker.id, steps))

    def _put(self, work: _Work | None) -> None:
        try:
            self._work.put_nowait(work)
        except queue.Full:
            self._error = TimeoutError("it takes points too slowly")

    def _do(self) -> None:
        """Do the work of the thread; after an error the rest is left undone."""
        while (work := self._work.get()) is not None:
            if self._error is None:
                try:
                    work()
                except Exception as error:  # a tracker may raise whatever it likes
                    self._error = error

    def _watch(self) -> None:
        """Say once that the tracker failed."""
        if self._error is not None and not self._failed:
            self._failed = True
            self._points.clear()
            words = joined(f"{type(self._error).__name__}: {self._error}")[:_LONGEST]
            self._say(f"wnrl: {self._name} gets nothing more ({words}); nothing else is affected")


def _show(tracker: Tracker, agent_step: int, gif: bytes) -> None:
    """Give the tracker a file, which is what all of them take."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"step{agent_step}.gif"
        path.write_bytes(gif)
        tracker.clip(agent_step, path)
