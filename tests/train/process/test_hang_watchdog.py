"""Environments that hang, are slow, or are stopped with their process."""

import json
import signal
import time
from pathlib import Path

import pytest
from command_processes import CommandProcess

from wnrl.envs.call_order import Heartbeat
from wnrl.train.exit_codes import ExitCode
from wnrl.train.process.hang_watchdog import Patience, dump_stacks
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_folder import in_use
from wnrl.train.storage.run_status import RunState, read_status

WAITING = ["--env=hanging_envs:Waiting-v0", "--agent=a2c", "--num-envs=2", "--no-calibrate"]
WAITING += ["--eval-every-steps=0", "--checkpoint-every-steps=20"]
LATER = "step 100"  # after the check that the environment repeats, which takes 64 steps


def looks(patience: Patience, number: int) -> list[bool]:
    return [patience.look() for _ in range(number)]


def test_time_without_a_beat_is_a_hang_once_it_is_longer_than_the_timeout() -> None:
    heart = Heartbeat()
    patience = Patience(3.0, 1.0, heart)
    assert looks(patience, 4) == [False, False, False, True]
    heart.beat()
    assert looks(patience, 1) == [False]
    assert looks(patience, 4) == [False, False, False, True]


def test_an_environment_may_take_twenty_times_its_slowest_step() -> None:
    heart = Heartbeat()
    patience = Patience(3.0, 1.0, heart)
    heart.beat()
    looks(patience, 3)  # the first shows the beat, two are silent
    heart.beat()
    assert looks(patience, 1) == [False]
    assert looks(patience, 41) == [False] * 40 + [True]


def test_a_slow_step_before_a_pause_counts_too() -> None:
    heart = Heartbeat()
    patience = Patience(3.0, 1.0, heart)
    heart.beat()
    looks(patience, 3)
    heart.beat()
    with heart.paused():
        looks(patience, 5)
    assert looks(patience, 41) == [False] * 40 + [True]


def test_the_time_before_the_first_step_does_not_count_as_one() -> None:
    heart = Heartbeat()
    patience = Patience(3.0, 1.0, heart)
    looks(patience, 3)
    heart.beat()
    looks(patience, 1)
    assert looks(patience, 4) == [False, False, False, True]


def test_while_no_beat_is_expected_nothing_is_a_hang() -> None:
    heart = Heartbeat()
    patience = Patience(3.0, 1.0, heart)
    with heart.paused():
        assert not any(looks(patience, 100))
    assert looks(patience, 4) == [False, False, False, True]


@pytest.mark.parametrize("how", ["", " deaf"])
def test_a_run_that_hangs_ends_with_its_stacks_and_its_last_checkpoint(
    tmp_path: Path, how: str
) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    wait.write_text(LATER + how)
    arguments = [*WAITING, "--steps=260", "--hang-timeout-s=0.5", f"--run-dir={run}"]
    process = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    assert process.wait() == ExitCode.HUNG
    line = process.err.splitlines()[-1]
    assert line.startswith("wnrl.train: hanging_envs:Waiting-v0 hangs: no step for ")
    assert "after agent step 1" in line  # 180 or so: step 100 of one copy, without its resets
    assert f"stacks are in {run}/hang.txt; --resume {run} continues from the checkpoint" in line
    stacks = (run / "hang.txt").read_text()
    assert "_wait" in stacks
    assert "hang_watchdog" in stacks  # all threads
    status = read_status(run)
    assert status.state is RunState.FAILED
    assert status.error in line
    assert not in_use(run)
    wait.unlink()
    resume = ["--import=hanging_envs", "--resume", run, "--hang-timeout-s=60"]
    assert CommandProcess("train", *resume, folder=tmp_path, WAIT_FILE=str(wait)).wait() == 0
    assert (run / "hang.txt").exists()


def test_a_run_that_hangs_before_it_begins_leaves_the_run_that_it_would_replace(
    tmp_path: Path,
) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    arguments = [*WAITING, "--steps=60", "--hang-timeout-s=0.5", f"--run-dir={run}"]
    wait.write_text("reset 1")
    new = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    assert new.wait() == ExitCode.HUNG
    assert "before its first step" in new.err
    assert "reset" in (run / "hang.txt").read_text()
    wait.unlink()
    patient = [*arguments, "--hang-timeout-s=60"]
    again = CommandProcess("train", *patient, folder=tmp_path, WAIT_FILE=str(wait))
    assert again.wait() == 0  # the folder holds no run
    status = (run / "status.json").read_bytes()
    wait.write_text("reset 1")
    other = CommandProcess("train", *arguments, "--overwrite", folder=tmp_path, WAIT_FILE=str(wait))
    assert other.wait() == ExitCode.HUNG
    assert (run / "status.json").read_bytes() == status
    assert Checkpoints(run).latest() is not None


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "hang.txt"
    other.write_text("mine")
    link.symlink_to(other)
    dump_stacks(link)
    assert other.read_text() == "mine"
    assert "test_a_link_is_not_written_through" in link.read_text()


@pytest.mark.slow
def test_a_stop_of_the_process_is_no_hang(tmp_path: Path) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    wait.write_text(LATER)
    arguments = [*WAITING, "--steps=260", "--hang-timeout-s=2", f"--run-dir={run}"]
    process = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    process.until((tmp_path / "waiting").exists)
    time.sleep(0.5)  # so that the last beat has been seen
    process.send(signal.SIGSTOP)
    time.sleep(6.0)
    process.send(signal.SIGCONT)
    time.sleep(0.5)
    assert not process.ended
    wait.unlink()
    assert process.wait() == 0


@pytest.mark.slow
def test_an_environment_that_was_slow_may_be_slow_again(tmp_path: Path) -> None:
    run, wait, next_wait = tmp_path / "run", tmp_path / "wait", tmp_path / "next"
    wait.write_text(LATER)
    arguments = [*WAITING, "--steps=260", "--hang-timeout-s=2", f"--run-dir={run}"]
    process = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    process.until((tmp_path / "waiting at step 100").exists)
    time.sleep(1.0)
    next_wait.write_text("step 110")
    next_wait.replace(wait)
    process.until((tmp_path / "waiting at step 110").exists)
    time.sleep(4.0)  # more than the timeout, less than twenty times the second
    assert not process.ended
    wait.unlink()
    assert process.wait() == 0


@pytest.mark.slow
def test_without_a_timeout_nothing_is_a_hang(tmp_path: Path) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    wait.write_text(LATER)
    arguments = [*WAITING, "--steps=260", "--hang-timeout-s=0", f"--run-dir={run}"]
    process = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    process.until((tmp_path / "waiting").exists)
    time.sleep(1.0)
    assert not process.ended
    wait.unlink()
    assert process.wait() == 0
    assert json.loads((run / "config.json").read_text())["run"]["hang_timeout_s"] == 0
