"""A claim on a run's folder holds while its process lives, and no longer."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_calls import FileCalls

from wnrl._settings import UsageError
from wnrl.config import make_config
from wnrl.train.storage.run_folder import RunDirectory, in_use, read_config

OWNER = """
import sys, time
from pathlib import Path
from wnrl.train.storage.run_folder import RunDirectory

with RunDirectory(Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


def test_a_claim_ends_with_its_process_even_if_that_is_killed(
    tmp_path: Path, owner: "subprocess.Popen[str]"
) -> None:
    assert in_use(tmp_path)
    with (
        pytest.raises(UsageError, match=f"in use by process {owner.pid} on"),
        RunDirectory(tmp_path),
    ):
        pass
    assert in_use(tmp_path)  # the failed claim has not released the other one
    owner.kill()
    owner.wait()
    assert not in_use(tmp_path)
    with RunDirectory(tmp_path):
        assert in_use(tmp_path)


def test_looking_at_a_folder_leaves_it_as_it_is(tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    assert not in_use(tmp_path / "missing")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_others_look_at_can_be_claimed(tmp_path: Path) -> None:
    stop = threading.Event()
    (tmp_path / "config.json").touch()
    with RunDirectory(tmp_path):  # which leaves a lock file to look at
        pass

    def look() -> None:
        while not stop.is_set():
            in_use(tmp_path)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            with RunDirectory(tmp_path):
                pass
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_folder_made_for_a_run_that_could_not_begin_is_removed(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "new") as folder:
        assert not folder.holds_run
    assert not (tmp_path / "new").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "episodes.csv").touch()
    with RunDirectory(tmp_path / "run") as folder:
        assert folder.holds_run
    assert (tmp_path / "run" / "episodes.csv").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "run"
    with pytest.raises(UsageError, match=r"file/run: Not a directory; choose another folder"):
        RunDirectory(path).__enter__()


def test_a_power_cut_loses_neither_the_folder_nor_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = FileCalls(tmp_path, monkeypatch)
    with RunDirectory(tmp_path / "runs" / "seed1") as folder:
        assert calls.index("sync", ".") < calls.index("sync", "runs")
        folder.write_config(make_config(env="toy/Catch"), {}, 0)
    calls.check_arrival("runs/seed1/config.json")
    assert read_config(tmp_path / "runs/seed1").run.env == "toy/Catch"


def test_what_a_kill_before_the_configuration_left_is_no_run(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as folder:
        folder.status.start(0, 100)
        assert (tmp_path / "status.json").exists()
        assert not folder.holds_run
