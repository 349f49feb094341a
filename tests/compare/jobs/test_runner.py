"""Jobs of a grid are started, retried, waited for and ended. The commands here are fakes."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wnrl.compare.grid import PlannedRun, make_grid
from wnrl.compare.jobs.process import ExitStatus, local_launch, tethered
from wnrl.compare.jobs.runner import MAX_RETRIES, Runner, State, train_command
from wnrl.train.storage.run_folder import RunDirectory
from wnrl.train.storage.run_status import saved_steps

LIMIT_S = 30
STEPS = 100


def grid(out: Path, seeds: int = 1) -> list[PlannedRun]:
    settings = {"steps": STEPS}
    return make_grid(
        settings, envs=["toy/Catch"], norms=["none"], sweep={}, seeds=range(1, seeds + 1), out=out
    )


def saving(steps: int, then: str = "") -> Callable[[PlannedRun], list[str]]:
    """Return a command that adds a checkpoint this many steps later and then runs more code."""

    def command(planned: PlannedRun) -> list[str]:
        step = saved_steps(planned.folder) + steps
        folder = planned.folder / "checkpoints" / f"step_{step:09d}"
        code = f"import os, sys, time, signal; os.makedirs({str(folder)!r}, exist_ok=True); {then}"
        return ["-c", code]

    return command


def until(runner: Runner, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < deadline
        runner.poll()
        time.sleep(0.02)


def lines_with(word: str, lines: list[str]) -> int:
    return sum(word in line for line in lines)


def test_the_runs_of_a_grid_draw_no_picture_each(tmp_path: Path) -> None:
    assert "--no-curve" in train_command(grid(tmp_path)[0])


def test_so_many_run_at_a_time_and_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    planned = grid(tmp_path, seeds=4)
    (planned[0].folder / "checkpoints" / f"step_{STEPS:09d}").mkdir(parents=True)
    runner = Runner(planned, 2, command=saving(STEPS, "time.sleep(0.3)"))
    assert [run.state for run in runner.runs] == [State.DONE, *[State.WAITING] * 3]
    runner.poll()
    states = [State.DONE, State.RUNNING, State.RUNNING, State.WAITING]
    assert [run.state for run in runner.runs] == states
    until(runner, lambda: runner.finished)
    assert {run.state for run in runner.runs} == {State.DONE}
    assert not (planned[0].folder / "train.log").exists()


def test_a_run_that_gets_nowhere_fails_with_its_last_line(tmp_path: Path) -> None:
    lines: list[str] = []
    broken = saving(0, "print('wnrl.train: no room'); sys.exit(1)")
    runner = Runner(grid(tmp_path), 1, command=broken, report=lines.append)
    until(runner, lambda: runner.finished)
    run = runner.runs[0]
    assert (run.state, run.retries) == (State.FAILED, MAX_RETRIES)
    assert run.error == "wnrl.train: no room"
    assert lines_with("started", lines) == 1 + MAX_RETRIES
    assert lines[-1].endswith("failed: wnrl.train: no room")


def test_a_run_that_says_that_it_cannot_be_is_not_repeated(tmp_path: Path) -> None:
    unusable = saving(0, "print('wnrl.train: wrong'); sys.exit(2)")
    runner = Runner(grid(tmp_path), 1, command=unusable)
    until(runner, lambda: runner.finished)
    assert (runner.runs[0].retries, runner.runs[0].error) == (0, "wnrl.train: wrong")


def test_a_run_whose_folder_was_claimed_and_freed_in_the_meantime_is_started_again(
    tmp_path: Path,
) -> None:
    claimed = tmp_path / "claimed"
    once = f"there = os.path.exists({str(claimed)!r}); open({str(claimed)!r}, 'w'); "
    runner = Runner(
        grid(tmp_path), 1, command=saving(STEPS // 2, once + "sys.exit(0 if there else 5)")
    )
    until(runner, lambda: runner.finished)
    assert (runner.runs[0].state, runner.runs[0].retries) == (State.DONE, 0)


def test_a_run_that_diverged_is_counted_and_not_repeated(tmp_path: Path) -> None:
    lines: list[str] = []
    diverged = saving(STEPS // 10, "print('wnrl.train: train/loss is nan'); sys.exit(4)")
    runner = Runner(grid(tmp_path), 1, command=diverged, report=lines.append)
    until(runner, lambda: runner.finished)
    run = runner.runs[0]
    assert (run.state, run.retries) == (State.DIVERGED, 0)
    assert lines[-1].endswith("diverged: wnrl.train: train/loss is nan")


def test_a_run_that_hung_is_repeated(tmp_path: Path) -> None:
    hung = saving(STEPS // 2, "print('wnrl.train: hung'); sys.exit(3)")
    runner = Runner(grid(tmp_path), 1, command=hung)
    until(runner, lambda: runner.finished)
    assert (runner.runs[0].state, runner.runs[0].retries) == (State.DONE, 1)


def test_progress_gives_a_run_its_retries_back(tmp_path: Path) -> None:
    killed = saving(STEPS // 10, "os.kill(os.getpid(), signal.SIGKILL)")
    runner = Runner(grid(tmp_path), 1, command=killed)
    until(runner, lambda: runner.finished)
    run = runner.runs[0]
    assert run.state is State.DONE
    assert run.retries == 9 > MAX_RETRIES
    assert run.error == "killed by SIGKILL"


def test_a_folder_that_cannot_be_written_is_a_failed_run(tmp_path: Path) -> None:
    planned = grid(tmp_path, seeds=2)
    planned[0].folder.parent.mkdir(parents=True)
    planned[0].folder.write_text("not a folder")
    runner = Runner(planned, 1, command=saving(STEPS))
    until(runner, lambda: runner.finished)
    assert [run.state for run in runner.runs] == [State.FAILED, State.DONE]
    assert "File exists" in runner.runs[0].error


def test_a_folder_in_use_is_waited_for_while_others_run(tmp_path: Path) -> None:
    planned, lines = grid(tmp_path, seeds=2), list[str]()
    runner = Runner(planned, 1, command=saving(STEPS), report=lines.append)
    with RunDirectory(planned[0].folder):
        until(runner, lambda: runner.runs[1].state is State.DONE)
        assert runner.runs[0].state is State.IN_USE
        assert lines_with("in use by another process", lines) == 1
    until(runner, lambda: runner.finished)
    assert runner.runs[0].state is State.DONE


def test_to_stop_asks_each_process_once_and_waits_for_it(tmp_path: Path) -> None:
    slow = "signal.signal(15, lambda *_: (time.sleep(0.5), print('saved'), sys.exit(143)));"
    runner = Runner(
        grid(tmp_path, seeds=2),
        2,
        command=saving(1, f"{slow} print(os.getpgrp(), flush=True); time.sleep(60)"),
    )
    logs = [run.folder / "train.log" for run in runner.runs]
    until(runner, lambda: all(log.exists() and log.read_text() for log in logs))
    groups = {int(log.read_text()) for log in logs}
    assert len(groups - {os.getpgid(0)}) == 2  # a terminal's Ctrl-C would ask them a second time
    runner.stop()
    assert [log.read_text().splitlines()[1:] for log in logs] == [["saved"]] * 2
    assert {run.state for run in runner.runs} == {State.WAITING}


def test_each_run_goes_to_the_gpu_with_the_fewest_and_sees_no_other(tmp_path: Path) -> None:
    launch, go_on = local_launch(["3", "5"]), tmp_path / "go on"
    wait = f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.02)"
    show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    logs = [tmp_path / f"{k}.log" for k in range(4)]
    endless = launch(["-c", f"{show}\n{wait}"], logs[0])
    for log in logs[1:3]:
        launch(["-c", show], log).wait()  # beside the first; 5 is free again each time
    go_on.touch()
    endless.wait()
    launch(["-c", show], logs[3]).wait()
    assert [log.read_text() for log in logs] == ["3\n", "5\n", "5\n", "3\n"]


class Elsewhere:
    """A cluster's job whose state the test sets."""

    def __init__(self) -> None:
        self.started = False
        self.status: ExitStatus | None = None

    def has_started(self) -> bool:
        return self.started

    def poll(self) -> ExitStatus | None:
        return self.status

    def request_stop(self) -> None:
        self.status = ExitStatus(143)

    def kill(self) -> None:
        self.status = ExitStatus(-9)

    def wait(self) -> None:
        assert self.status is not None


def test_a_run_that_is_handed_over_is_queued_until_it_begins(tmp_path: Path) -> None:
    jobs = [Elsewhere(), Elsewhere()]
    handed_over = iter(jobs)
    runner = Runner(grid(tmp_path, seeds=3), 2, launch=lambda *_: next(handed_over))
    runner.poll()
    jobs[1].started = True
    runner.poll()
    assert [run.state for run in runner.runs] == [State.QUEUED, State.RUNNING, State.WAITING]
    runner.stop()
    assert {run.state for run in runner.runs} == {State.WAITING}


def test_a_run_lost_from_sight_is_repeated_once_nobody_holds_its_folder(tmp_path: Path) -> None:
    planned, jobs, lines = grid(tmp_path), [Elsewhere(), Elsewhere()], list[str]()
    handed_over = iter(jobs)
    runner = Runner(planned, 1, launch=lambda *_: next(handed_over), report=lines.append)
    runner.poll()
    jobs[0].status = ExitStatus(None, "lost: its node")
    with RunDirectory(planned[0].folder):  # its process still writes a checkpoint
        runner.poll()
        assert runner.runs[0].retries == 0
        (planned[0].folder / "checkpoints" / "step_000000007").mkdir(parents=True)
    runner.poll()
    assert runner.runs[0].retries == 1
    assert lines[-2].endswith("ended early: lost: its node")
    assert lines[-1].endswith("queued again (retry 1) from agent step 7")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_tethered_command_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = (
        "import subprocess, time; from wnrl.compare.jobs.process import tethered; "
        f"subprocess.Popen(tethered([{sys.executable!r}, '-c', {child!r}])); time.sleep(60)"
    )
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", parent])
    deadline = time.monotonic() + LIMIT_S
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while is_alive(int(note.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_command_whose_parent_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    command = tethered([sys.executable, "-c", f"open({str(tmp_path / 'started')!r}, 'w')"])
    command[3] = "1"  # as if another process had started it
    assert os.spawnv(os.P_WAIT, command[0], command) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_elsewhere_a_command_is_run_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert tethered(["python", "-c", ""]) == ["python", "-c", ""]
