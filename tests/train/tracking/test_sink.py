"""What a tracker gets, and that a broken one is given up with one line.

The tracker here records what it is given; `test_trackers.py` reads the stores of the real ones.
"""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import wnrl.train
from wnrl.config import make_config
from wnrl.train.flags import parse_train_flags
from wnrl.train.log import recorder
from wnrl.train.tracking import sink
from wnrl.train.tracking.attached_file import attach
from wnrl.train.tracking.catalogue import TRACKERS
from wnrl.train.tracking.identity import TRACKER, Identity, read_identity
from wnrl.train.tracking.record import Point, TrackedRun, TrackerRecord
from wnrl.train.tracking.sink import Tracking


class Recording:
    """A tracker that keeps everything."""

    place = "here"

    def __init__(self) -> None:
        self.id = "a1"
        self.opened: list[TrackedRun] = []
        self.points: list[tuple[int, dict[str, float]]] = []
        self.files: list[str] = []
        self.clips: list[tuple[int, str, bytes]] = []
        self.closed: list[bool] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None
        self.faults = 0

    def begin(self, run: TrackedRun) -> "Recording":
        self.opened.append(run)
        return self

    def log(self, points: Sequence[Point]) -> None:
        self.go_on.wait()
        if self.fault is not None:
            self.faults += 1
            raise self.fault
        self.points += [(point.agent_step, dict(point.values)) for point in points]

    def attach(self, path: Path) -> None:
        self.files.append(path.read_text())

    def clip(self, agent_step: int, path: Path) -> None:
        self.clips.append((agent_step, path.name, path.read_bytes()))

    def close(self, *, failed: bool) -> None:
        self.closed.append(failed)


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    recording = Recording()
    monkeypatch.setitem(
        TRACKERS, "wandb", TrackerRecord("wandb", "wandb", recording.begin, defaults={})
    )
    yield recording
    recording.go_on.set()


def started(folder: Path, lines: list[str]) -> Tracking:
    tracking = Tracking(folder, "wandb", name="run", group="g", config={"seed": 1})
    tracking.start(lines.append)
    return tracking


def test_points_arrive_in_order_and_the_run_is_closed_once(
    tmp_path: Path, tracker: Recording
) -> None:
    lines: list[str] = []
    tracking = started(tmp_path, lines)
    tracking.scalars(1, {"a": 1.0})
    tracking.scalars(1, {"a": 2.0, "b": 3.0})
    tracking.flush()
    tracking.scalars(4, {"a": 4.0})
    tracking.close()
    tracking.close()
    assert tracker.points == [(1, {"a": 1.0}), (1, {"a": 2.0, "b": 3.0}), (4, {"a": 4.0})]
    assert tracker.opened == [TrackedRun("run", "g", {"seed": 1}, None)]
    assert tracker.closed == [False]
    assert lines == ["  tracker   wandb run a1, here"]
    assert read_identity(tmp_path, "wandb") == Identity("wandb", "a1", 4)


def test_a_resumed_run_leaves_out_what_the_tracker_has(tmp_path: Path, tracker: Recording) -> None:
    first = started(tmp_path, [])
    first.scalars(10, {"a": 1.0})
    first.scalars(20, {"a": 2.0})
    first.close()
    again = started(tmp_path, [])  # from a checkpoint of step 10
    again.scalars(20, {"a": 2.0})
    again.scalars(30, {"a": 3.0})
    again.flush()
    again.scalars(30, {"b": 4.0})  # later in the same step
    again.close()
    assert [run.id for run in tracker.opened] == [None, "a1"]
    assert [step for step, _ in tracker.points] == [10, 20, 30, 30]
    assert tracker.closed == [False, False]


def test_after_a_kill_points_are_sent_again_because_some_may_only_have_been_queued(
    tmp_path: Path, tracker: Recording
) -> None:
    first = started(tmp_path, [])
    first.scalars(10, {"a": 1.0})
    first.close()
    second = started(tmp_path, [])
    second.scalars(20, {"a": 2.0})
    second.scalars(30, {"a": 3.0})
    second.flush()
    taken = threading.Event()
    second._put(taken.set)
    assert taken.wait(60)  # and the run is killed
    again = started(tmp_path, [])  # from a checkpoint of step 0
    for step in (10, 20, 30):
        again.scalars(step, {"a": 0.0})
    again.close()
    assert [step for step, _ in tracker.points] == [10, 20, 30, 20, 30]


def test_a_tracker_that_did_not_end_has_no_point_for_certain(
    tmp_path: Path, tracker: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*, failed: bool) -> None:
        raise OSError("away")

    first = started(tmp_path, [])
    first.scalars(10, {"a": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr(tracker, "close", fail)
        first.close()
    again = started(tmp_path, [])
    again.scalars(10, {"a": 1.0})
    again.close()
    assert [step for step, _ in tracker.points] == [10, 10]


def test_the_step_of_an_error_is_sent_again_because_it_may_lack_points(
    tmp_path: Path, tracker: Recording
) -> None:
    first = started(tmp_path, [])
    first.scalars(10, {"a": 1.0})
    first.scalars(20, {"a": 2.0})
    first.close(failed=True)
    again = started(tmp_path, [])  # from a checkpoint of step 0
    for step in (10, 20):
        again.scalars(step, {"a": 1.0, "evaluation": 2.0})
    again.close()
    assert [step for step, _ in tracker.points] == [10, 20, 20]
    assert tracker.closed == [True, False]


def test_how_often_the_screen_shows_progress_is_nothing_to_the_tracker(
    tmp_path: Path, tracker: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_TRACK_INTERVAL_S", math.inf)
    handed: list[int] = []
    monkeypatch.setattr(tracker, "log", lambda points: handed.append(len(points)))
    run = ["--env=toy/Catch", "--agent=a2c", "--steps=400", "--log-every-steps=20", "--track=wandb"]
    options = ["--no-calibrate", "--progress-every-s=0", f"--run-dir={tmp_path / 'run'}"]
    for _ in wnrl.train.train(make_config(parse_train_flags([*run, *options])[1])):
        pass
    assert sum(handed) > 20
    assert len(handed) == 2  # with the checkpoint at the end, and what is left after it


def test_a_clip_is_a_file_of_its_step_and_is_shown_once(tmp_path: Path, tracker: Recording) -> None:
    first = started(tmp_path, [])
    first.scalars(20, {"a": 1.0})
    first.clip(20, b"GIF of 20")
    first.close()
    again = started(tmp_path, [])  # from a checkpoint before step 20
    again.clip(20, b"GIF of 20")
    again.clip(30, b"GIF of 30")
    again.close()
    assert tracker.clips == [(20, "step20.gif", b"GIF of 20"), (30, "step30.gif", b"GIF of 30")]
    again.clip(40, b"too late")
    assert len(tracker.clips) == 2


def test_a_run_that_the_tracker_lost_gets_all_points_anew(
    tmp_path: Path, tracker: Recording
) -> None:
    first = started(tmp_path, [])
    first.scalars(20, {"a": 2.0})
    first.close()
    tracker.id = "another"
    again = started(tmp_path, [])
    again.scalars(20, {"a": 2.0})
    again.close()
    assert [step for step, _ in tracker.points] == [20, 20]
    assert read_identity(tmp_path, "wandb") == Identity("wandb", "another", 20)


def test_the_runs_of_other_trackers_and_damaged_files_are_not_continued(tmp_path: Path) -> None:
    assert read_identity(tmp_path, "wandb") is None
    (tmp_path / TRACKER).write_text('{"tracker": "mlflow", "id": "x", "agent_steps": 1}')
    assert read_identity(tmp_path, "wandb") is None
    assert read_identity(tmp_path, "mlflow") == Identity("mlflow", "x", 1)
    (tmp_path / TRACKER).write_text('{"tracker": "mlflow", "id":')
    assert read_identity(tmp_path, "mlflow") is None


def test_an_error_in_the_middle_is_one_line(tmp_path: Path, tracker: Recording) -> None:
    lines: list[str] = []
    tracking = started(tmp_path, lines)
    tracking.scalars(1, {"a": 1.0})
    tracking.flush()
    tracker.fault = OSError(28, "No space left on device\nand more")
    for step in range(2, 200):
        tracking.scalars(step, {"a": 1.0})
        tracking.flush()
    tracking.close()
    assert lines[1:] == [
        "wnrl: wandb gets nothing more (OSError: [Errno 28] No space left on device and more); "
        "nothing else is affected"
    ]
    assert tracker.faults == 1
    assert tracker.closed == []


def test_a_tracker_that_cannot_begin_is_one_line(
    tmp_path: Path, tracker: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: TrackedRun) -> Recording:
        raise RuntimeError("no key")

    monkeypatch.setitem(TRACKERS, "wandb", TrackerRecord("wandb", "wandb", refuse, defaults={}))
    lines: list[str] = []
    tracking = started(tmp_path, lines)
    tracking.scalars(1, {"a": 1.0})
    tracking.flush()
    tracking.close()
    assert lines == [
        "wnrl: wandb gets nothing more (RuntimeError: no key); nothing else is affected"
    ]


def test_a_tracker_that_hangs_holds_up_nothing_but_the_end(
    tmp_path: Path, tracker: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "_CLOSE_S", 0.05)
    lines: list[str] = []
    tracking = started(tmp_path, lines)
    tracker.go_on.clear()
    for step in range(10):
        tracking.scalars(step, {"a": 1.0})
        tracking.flush()
    assert tracker.points == []
    tracking.close()
    assert len(lines) == 2
    assert "did not take the last points" in lines[1]


def test_points_that_a_tracker_does_not_take_do_not_fill_the_memory(
    tmp_path: Path, tracker: Recording
) -> None:
    lines: list[str] = []
    tracking = started(tmp_path, lines)
    tracker.go_on.clear()
    for step in range(sink._MOST_WAITING + 10):
        tracking.scalars(step, {"a": 1.0})
        tracking.flush()
    assert len(lines) == 2
    assert "too slowly" in lines[1]
    tracking.close()


def test_a_file_is_attached_to_one_run_however_often(tmp_path: Path, tracker: Recording) -> None:
    report = tmp_path / "report.html"
    for text in ("one", "two"):
        report.write_text(text)
        attach(report, "wandb", "several", [].append)
    assert tracker.files == ["one", "two"]
    assert [(run.name, run.group, run.id) for run in tracker.opened] == [
        ("several report", "several", None),
        ("several report", "several", "a1"),
    ]


def test_defaults_are_set_unless_the_user_names_a_server(
    tracker: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TrackedRun("", "", {}, None)
    record = TrackerRecord("x", "x", tracker.begin, {"WNRL_A": "1", "WNRL_B": "2"}, ("WNRL_AT",))
    monkeypatch.setenv("WNRL_A", "")
    monkeypatch.delenv("WNRL_A")  # and restore what `open` sets
    monkeypatch.setenv("WNRL_B", "theirs")
    monkeypatch.setenv("WNRL_AT", "https://example.org")
    record.open(run)
    assert "WNRL_A" not in os.environ
    monkeypatch.delenv("WNRL_AT")
    record.open(run)
    assert (os.environ["WNRL_A"], os.environ["WNRL_B"]) == ("1", "theirs")
