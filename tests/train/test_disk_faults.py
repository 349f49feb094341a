"""A run outlives a disk that is full, read-only or away, and loses no episode that it counted."""

import contextlib
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_disk import SmallDisk, small_disk
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wnrl.config import Config, make_config
from wnrl.train import command
from wnrl.train.process import training
from wnrl.train.run import train
from wnrl.train.storage.atomic_files import StorageError
from wnrl.train.storage.checkpoint import CheckpointError, Checkpoints
from wnrl.train.storage.run_status import RunState, read_status

SETTINGS: dict[str, Any] = {
    "env": "toy/Catch",
    "agent": "a2c",
    "steps": 800,
    "calibrate": False,
    "wall_time": False,
    "eval_every_steps": 200,
    "eval_episodes": 2,
    "log_every_steps": 50,
    "checkpoint_every_steps": 100,
    "progress_every_s": 1e-6,  # so each step tries again to write
}
TABLES = ("episodes.csv", "evaluations.csv")


def configured(run_dir: Path, **changes: Any) -> Config:
    return make_config({**SETTINGS, **changes}, run_dir=str(run_dir))


def flags(**changes: Any) -> list[str]:
    """SETTINGS on the command line."""
    given = {**SETTINGS, **changes}
    words = [(name.replace("_", "-"), value) for name, value in given.items()]
    return [f"--no-{name}" if value is False else f"--{name}={value}" for name, value in words]


def run_with(config: Config, faults: dict[int, Callable[[], None]]) -> None:
    """Run to the end; each fault happens once the run has done so many agent steps."""
    left = dict(faults)
    for tick in train(config):
        for step in [step for step in left if tick.agent_steps >= step]:
            left.pop(step)()
    assert not left


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that met no fault."""
    run_dir = tmp_path_factory.mktemp("whole")
    run_with(configured(run_dir), {})
    return run_dir


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "64m") as mounted:
        yield mounted


def points(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0})
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(tag)]


def check_equal(run_dir: Path, whole: Path) -> None:
    """The tables, the weights and the curves are those of the run that met no fault."""
    for table in TABLES:
        assert (run_dir / table).read_bytes() == (whole / table).read_bytes()
    newest = [Checkpoints(folder).latest() for folder in (run_dir, whole)]
    networks = [(saved.path / "network.pt").read_bytes() for saved in newest if saved is not None]
    assert len(networks) == 2
    assert networks[0] == networks[1]
    for tag in ("train/policy_loss", "charts/episodic_return", "eval/mean_reward"):
        assert points(run_dir, tag) == points(whole, tag)


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about files, without those about single checkpoints."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wnrl")]
    assert all(len(line) <= 300 + len(os.environ.get("TMPDIR", "/tmp")) for line in lines)
    return [line for line in lines if "could not write checkpoint" not in line]


@pytest.mark.parametrize("leave_bytes", [0, 4096])
@pytest.mark.parametrize("fault_step", [110, 345])
def test_a_run_that_met_a_full_disk_is_byte_for_byte_one_that_did_not(
    whole: Path,
    disk: SmallDisk,
    capsys: pytest.CaptureFixture[str],
    fault_step: int,
    leave_bytes: int,
) -> None:
    run_dir = disk.path / "run"

    def fill() -> None:
        for thread in threading.enumerate():  # a checkpoint that is being written would make room
            if thread.name == "wnrl checkpoint":
                thread.join()
        disk.fill(leave_bytes)

    faults = {fault_step: fill, 620: disk.make_room}
    run_with(configured(run_dir), faults)
    check_equal(run_dir, whole)
    lines = said(capsys)
    # A checkpoint that failed in its thread may leave room for every row.
    assert lines or leave_bytes
    for full, again in zip(lines[::2], lines[1::2], strict=True):
        assert full.startswith(f"wnrl: cannot write {run_dir}/")
        assert "No space left on device; training goes on" in full
        assert again == f"wnrl: {run_dir} can be written again; no row is missing"
    assert read_status(run_dir).state is RunState.DONE


def test_a_run_that_met_a_read_only_folder_is_byte_for_byte_one_that_did_not(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        faults = {210: lambda: immutable(tmp_path, "+i"), 620: lambda: immutable(tmp_path, "-i")}
        run_with(configured(tmp_path), faults)
    finally:
        immutable(tmp_path, "-i")
    check_equal(tmp_path, whole)
    full, _ = said(capsys)
    assert "Operation not permitted; training goes on" in full


def immutable(folder: Path, change: str) -> None:
    """Let nobody write what is in a folder, not even root; skip where that is impossible."""
    done = subprocess.run(
        ["chattr", "-R", change, str(folder)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"chattr {change} needs root and a file system that has it: {done.stderr}")


def test_a_run_that_met_too_many_open_files_is_byte_for_byte_one_that_did_not(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    files = contextlib.ExitStack()

    def exhaust() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_now, limits[1]))
        with contextlib.suppress(OSError):
            while True:
                files.callback(os.close, os.open(os.devnull, os.O_RDONLY))

    def release() -> None:
        files.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    try:
        run_with(configured(tmp_path), {210: exhaust, 620: release})
    finally:
        release()
    check_equal(tmp_path, whole)
    full, *_, again = said(capsys)  # more often if the thread of a checkpoint closed a file
    assert again.endswith("can be written again; no row is missing")
    assert "Too many open files; training goes on" in full


def remove_folder(disk: SmallDisk) -> None:
    shutil.rmtree(disk.path / "run")


def vanish(disk: SmallDisk) -> None:
    disk.vanish()


@pytest.mark.parametrize("fault", [remove_folder, vanish])
def test_a_folder_that_vanished_is_not_made_again_and_the_run_goes_on_to_its_end(
    disk: SmallDisk, capsys: pytest.CaptureFixture[str], fault: Callable[[SmallDisk], None]
) -> None:
    run_dir = disk.path / "run"
    gone = r"_000000800: No such .* is gone; bring the folder back, then finish with --resume"
    with pytest.raises(CheckpointError, match=gone):
        run_with(configured(run_dir), {250: lambda: fault(disk)})
    full, *_ = said(capsys)
    assert "No such file or directory; training goes on" in full
    assert list(disk.path.iterdir()) == []


def test_a_disk_that_stays_full_ends_with_exit_code_1_and_how_to_finish(
    whole: Path, disk: SmallDisk, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(disk.path.parent)
    run_dir = Path(disk.path.name) / "a  run"  # short: a long line is cut in the middle
    monkeypatch.setattr(training, "train", filling_at(360, disk))
    assert command.main([*flags(), f"--run-dir={run_dir}"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"wnrl.train: could not write checkpoint {run_dir}/checkpoints/step_")
    kept = Checkpoints(run_dir).steps()[-1]
    assert kept < 800  # the last one; an earlier one may have found room
    assert last.endswith(
        f"No space left on device; the checkpoint of agent step {kept} is kept; make room, then "
        f"finish with --resume '{run_dir}'"
    )
    disk.make_room()
    assert command.main(["--resume", str(run_dir)]) == 0
    check_equal(run_dir, whole)


def filling_at(step: int, disk: SmallDisk) -> Callable[..., Any]:
    """`train`, with a disk that fills up on the way."""

    def filling(*arguments: Any, **more: Any) -> Any:
        for tick in train(*arguments, **more):
            if tick.agent_steps >= step and not list(disk.path.glob("filler")):
                disk.fill()
            yield tick

    return filling


def test_a_disk_that_is_full_from_the_start_is_one_line_and_exit_code_1(
    disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.fill()
    run_dir = disk.path / "run"
    assert command.main([*flags(), f"--run-dir={run_dir}"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device" in err
    disk.make_room()
    assert command.main([*flags(), "--overwrite", f"--run-dir={run_dir}"]) == 0


def test_rows_that_are_missing_at_the_end_are_named(tmp_path: Path) -> None:
    """The last checkpoint is written, then a table goes away."""
    run_dir = tmp_path / "a  run"
    config = configured(run_dir, checkpoint_every_steps=0, steps=790)  # not a log interval
    said = rf"the newest rows of timings\.csv in .* finish with --resume '{run_dir}'$"
    with pytest.raises(StorageError, match=said):
        run_with(config, {790: (run_dir / "timings.csv").unlink})
    assert Checkpoints(run_dir).steps() == [792]
    assert read_status(run_dir).state is RunState.FAILED
