"""Real signals to real commands, at every stage of a run."""

import os
import pty
import signal
from pathlib import Path

import pytest
from command_processes import (
    CommandProcess,
    draw_endlessly,
    ignore_hangup,
    save_slowly,
    take_terminal,
)

from wnrl.train import command
from wnrl.train.storage.checkpoint import Checkpoints
from wnrl.train.storage.run_folder import in_use
from wnrl.train.storage.run_status import RunState, read_status

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
ENDLESS = ["--env=toy/Catch", "--warmup-steps=200", "--eval-every-steps=0", "--steps=1e8"]
FAST = [*ENDLESS, "--no-calibrate"]
WAITING = ["--env=hanging_envs:Waiting-v0", "--agent=a2c", "--num-envs=2", "--steps=1e8"]
WAITING += ["--eval-every-steps=0", "--no-calibrate"]
PROMISE = "wnrl.train: stopping: writing a checkpoint; press again to end now\n"


def trains(run: Path) -> bool:
    table = run / "episodes.csv"
    return table.exists() and table.stat().st_size > 100


def goes_on(run: Path) -> None:
    """Resume the run for a few steps, and check that it has not begun again."""
    saved = Checkpoints(run).latest()
    assert saved is not None
    assert command.main(["--resume", str(run), "--steps", str(saved.step + 50)]) == 0


@pytest.mark.parametrize("signum", [INT, TERM, HUP])
def test_the_first_signal_is_acknowledged_and_ends_a_run_with_a_checkpoint(
    tmp_path: Path, signum: int
) -> None:
    run = tmp_path / "run"
    process = CommandProcess("train", *FAST, f"--run-dir={run}", folder=tmp_path)
    process.until(lambda: trains(run))
    process.send(signum)
    assert process.wait() == 128 + signum
    assert process.err.count(PROMISE) == 1
    assert "stopped at" in process.out
    assert read_status(run).state is RunState.STOPPED
    goes_on(run)


def test_a_hangup_that_was_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = CommandProcess(
        "train", *FAST, f"--run-dir={run}", folder=tmp_path, before=ignore_hangup
    )
    process.until(lambda: trains(run))
    process.send(HUP)
    size_bytes = (run / "episodes.csv").stat().st_size
    process.until(lambda: (run / "episodes.csv").stat().st_size > size_bytes)
    process.send(TERM)
    assert process.wait() == 128 + TERM


def test_a_run_whose_terminal_is_closed_ends_with_a_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    master, slave = pty.openpty()
    process = CommandProcess(
        "train",
        *FAST,
        f"--run-dir={run}",
        folder=tmp_path,
        before=take_terminal,
        TERMINAL=os.ttyname(slave),
    )
    os.close(slave)
    process.until(lambda: trains(run))
    os.close(master)  # SIGHUP, and every write fails from now on
    assert process.wait() == 128 + HUP
    goes_on(run)


@pytest.mark.parametrize("stage", ["calibration", "data-dependent initialization", "first reset"])
def test_before_a_run_has_begun_a_signal_ends_it_at_once_and_leaves_nothing(
    tmp_path: Path, stage: str
) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    wait.write_text("reset 1 deaf first" if stage == "first reset" else "step 1 deaf")
    flags = {"calibration": "--calibrate", "first reset": "--no-calibrate"}
    arguments = [*WAITING, flags.get(stage, "--init=data"), f"--run-dir={run}"]
    process = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    process.until((tmp_path / "waiting").exists)
    process.send(INT)
    assert process.wait() == 128 + INT
    assert process.err == "wnrl.train: stopped before the training began; nothing is lost\n"
    assert not run.exists()


def test_while_a_run_is_restored_a_signal_ends_it_at_once(tmp_path: Path) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    resume = ["--import=hanging_envs", "--resume", run, "--steps=120"]
    first = [*WAITING, "--steps=85", f"--run-dir={run}"]
    assert CommandProcess("train", *first, folder=tmp_path, WAIT_FILE=str(wait)).wait() == 0
    saved = Checkpoints(run).steps()
    wait.write_text("step 2 deaf")  # while the newest episodes are played again
    process = CommandProcess("train", *resume, folder=tmp_path, WAIT_FILE=str(wait))
    process.until((tmp_path / "waiting").exists)
    process.send(TERM)
    assert process.wait() == 128 + TERM
    assert Checkpoints(run).steps() == saved
    assert not in_use(run)
    wait.unlink()
    again = CommandProcess("train", *resume, folder=tmp_path, WAIT_FILE=str(wait))
    assert again.wait() == 0


def test_a_hung_environment_is_left_at_the_second_signal(tmp_path: Path) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    wait.write_text("step 100 deaf")  # after the check that the environment repeats
    arguments = [*WAITING, "--checkpoint-every-steps=20", f"--run-dir={run}"]
    process = CommandProcess("train", *arguments, folder=tmp_path, WAIT_FILE=str(wait))
    process.until((tmp_path / "waiting").exists)
    process.send(INT)
    process.until(lambda: PROMISE in process.err)
    process.send(INT)
    assert process.wait() == 128 + INT
    assert process.err.endswith("stopped at once; --resume continues from the last checkpoint\n")
    assert read_status(run).state is RunState.STOPPED
    wait.unlink()
    steps = Checkpoints(run).steps()[-1] + 20
    resume = ["--import=hanging_envs", "--resume", run, f"--steps={steps}"]
    assert CommandProcess("train", *resume, folder=tmp_path, WAIT_FILE=str(wait)).wait() == 0


def test_the_first_signal_ends_an_evaluation_and_saves(tmp_path: Path) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    wait.write_text("step 200")  # only the copies of the evaluation step so often
    arguments = [*WAITING, "--eval-every-steps=50", "--eval-episodes=1_000_000"]
    arguments += ["--checkpoint-every-steps=0"]
    process = CommandProcess(
        "train", *arguments, f"--run-dir={run}", folder=tmp_path, WAIT_FILE=str(wait)
    )
    process.until((tmp_path / "waiting").exists)
    process.send(INT)
    process.until(lambda: PROMISE in process.err)
    wait.unlink()
    assert process.wait() == 128 + INT
    assert [50 <= step < 60 for step in Checkpoints(run).steps()] == [True]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_checkpoint_is_completed_at_the_first_signal_and_given_up_at_the_second(
    tmp_path: Path, signals: int
) -> None:
    run, go_on = tmp_path / "run", tmp_path / "go_on"
    process = CommandProcess(
        "train",
        *FAST,
        "--checkpoint-every-steps=250",
        "--steps=100_000",  # it trains on until the signal comes
        f"--run-dir={run}",
        folder=tmp_path,
        before=save_slowly,
        SAVE_MAY_GO_ON=str(go_on),
    )
    process.until((tmp_path / "saving").exists)
    process.send(INT)
    process.until(lambda: PROMISE in process.err)
    if signals == 2:
        process.send(TERM)
        assert process.wait() == 128 + INT
        assert Checkpoints(run).latest() is None
    else:
        go_on.touch()
        assert process.wait() == 128 + INT
        saved = Checkpoints(run).latest()
        assert saved is not None
        assert 250 <= saved.step < 100_000
    assert "Traceback" not in process.err


def test_a_run_that_is_done_stays_done_if_a_signal_ends_its_picture(tmp_path: Path) -> None:
    run, drawing = tmp_path / "run", tmp_path / "drawing"
    arguments = [*FAST, "--steps=300", f"--run-dir={run}"]
    process = CommandProcess(
        "train", *arguments, folder=tmp_path, before=draw_endlessly, DRAWING=str(drawing)
    )
    process.until(drawing.exists)
    process.send(INT)
    assert process.wait() == 128 + INT
    assert read_status(run).state is RunState.DONE
    assert process.err.splitlines()[-1] == "wnrl.train: stopped; all that the run wrote stays"


def test_a_signal_ends_wnrl_evaluate_even_if_the_environment_hangs(tmp_path: Path) -> None:
    run, wait = tmp_path / "run", tmp_path / "wait"
    first = [*WAITING, "--steps=40", f"--run-dir={run}"]
    assert CommandProcess("train", *first, folder=tmp_path, WAIT_FILE=str(wait)).wait() == 0
    wait.write_text("step 3 deaf")
    process = CommandProcess(
        "evaluate", run, "--import=hanging_envs", folder=tmp_path, WAIT_FILE=str(wait)
    )
    process.until((tmp_path / "waiting").exists)
    process.send(HUP)
    assert process.wait() == 128 + HUP
    assert process.err.endswith("wnrl.evaluate: stopped without a result\n")
