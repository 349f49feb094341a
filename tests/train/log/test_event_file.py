"""TensorBoard shows every point of a resumed run once, whatever the clock and the disk did."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from small_disk import small_disk
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from wnrl.compare.mean_event_file import is_newest, start_file
from wnrl.config import make_config
from wnrl.train.log.event_file import EventFile, histogram_edges
from wnrl.train.run import resume, train

accumulator: Any = EventAccumulator


def points(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    events = accumulator(str(run_dir), {"scalars": 0})
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(tag)]


def write(run_dir: Path, steps: range, value: float, purge_step: int | None = None) -> Path:
    events = EventFile(run_dir, purge_step)
    for step in steps:
        events.scalars(step, {"loss": value})
    events.file.flush()
    return events.file.path


@pytest.mark.parametrize("back_s", [0.0, 3_600.0, 1e9])
def test_a_clock_set_back_does_not_change_the_order_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back_s: float
) -> None:
    now = time.time()
    paths = []
    for part in range(3):
        monkeypatch.setattr(time, "time", lambda part=part: now - part * back_s)
        paths.append(write(tmp_path, range(10 * part, 10 * part + 20), part, 10 * part))
    assert sorted(paths) == paths
    values = [0.0] * 10 + [1.0] * 10 + [2.0] * 20
    assert points(tmp_path, "loss") == list(enumerate(values))


def test_a_clock_set_back_does_not_make_a_mean_curve_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_file(tmp_path, "a mean", ["Pong"])
    monkeypatch.setattr(time, "time", lambda: 1e9)
    second = start_file(tmp_path, "a mean", ["Pong"])
    assert (is_newest(first), is_newest(second)) == (False, True)


def test_names_that_are_no_times_are_ignored(tmp_path: Path) -> None:
    for name in ("nan", "9" * 400, "-1", "later"):
        (tmp_path / f"events.out.tfevents.{name}"[:200]).touch()
        (tmp_path / f"events.out.tfevents.{name[:100]}.x").touch()
    path = write(tmp_path, range(3), 1.0)
    assert float(path.name.split(".")[3]) == pytest.approx(time.time(), abs=60)


def test_histograms_have_the_edges_of_summary_writer(tmp_path: Path) -> None:
    ours, theirs = histogram_edges(), SummaryWriter(str(tmp_path)).default_bins
    assert len(ours) == len(theirs)
    assert all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(ours, theirs, strict=True))


def test_points_that_found_no_room_in_memory_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wnrl.train.log.event_file._MOST_PENDING_BYTES", 1_000)
    with small_disk(tmp_path / "disk", "64k") as disk:
        events = EventFile(disk.path)
        disk.fill()
        for step in range(1_000):
            events.scalars(step, {"loss": 1.0})
            events.file.flush()
        assert events.lost_points > 800
        disk.make_room()
        events.file.flush()
        events.scalars(1_000, {"loss": 1.0})
        events.file.flush()
        written = points(disk.path, "loss")
        assert len(written) == 1_001 - events.lost_points
        assert written[-1] == (1_000, 1.0)


SETTINGS: dict[str, Any] = {
    "env": "toy/Catch",
    "agent": "a2c",
    "calibrate": False,
    "eval_every_steps": 0,
    "checkpoint_every_steps": 20,
}


def test_no_point_is_doubled_or_missing_where_a_run_was_killed(tmp_path: Path) -> None:
    """One environment and a point at each step, so that an off-by-one shows."""
    settings = {**SETTINGS, "num_envs": 1, "log_every_steps": 1, "steps": 60}
    for tick in train(make_config(settings, run_dir=str(tmp_path))):
        if tick.agent_steps == 33:
            break
    assert [step for step, _ in points(tmp_path, "time/fps")] == list(range(1, 34))
    for _ in resume(tmp_path):
        pass
    assert [step for step, _ in points(tmp_path, "time/fps")] == [*range(1, 61), 60]


def test_a_resumed_run_logs_the_metrics_of_the_last_update_before_its_checkpoint(
    tmp_path: Path,
) -> None:
    """An update every 64 agent steps, points every 8: most come from an earlier update."""
    settings = {**SETTINGS, "log_every_steps": 8, "num_envs": 8, "wall_time": False}
    for _ in train(make_config(settings, steps=200, run_dir=str(tmp_path / "whole"))):
        pass
    parts = tmp_path / "parts"
    for tick in train(make_config(settings, steps=200, run_dir=str(parts))):
        if tick.agent_steps == 88:  # the newest checkpoint is of step 80, 16 after an update
            break
    for _ in resume(parts):
        pass
    whole = points(tmp_path / "whole", "train/policy_loss")
    assert [step for step, _ in whole] == [*range(64, 201, 8), 200]
    assert points(parts, "train/policy_loss") == whole
