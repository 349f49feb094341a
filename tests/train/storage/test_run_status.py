"""A run says how far it is, and readers see what a killed or an old run left."""

import json
from pathlib import Path

import pytest

from wnrl.train.storage.run_status import (
    STATUS,
    RunState,
    RunStatus,
    StatusFile,
    failure,
    read_status,
)
from wnrl.train.storage.train_log import TRAIN_LOG, last_line, tail

RUNNING = RunStatus(1_490, 4.0, 88.0, RunState.RUNNING, total_steps=5_000, episodes=7)


def checkpoint_at(folder: Path, step: int) -> None:
    (folder / "checkpoints" / f"step_{step:09d}").mkdir(parents=True)


def test_a_status_is_json_that_reads_back(tmp_path: Path) -> None:
    StatusFile(tmp_path).write(RUNNING)
    assert json.loads((tmp_path / STATUS).read_text()) == {
        "agent_steps": 1_490,
        "mean_return": 4.0,
        "steps_per_s": 88.0,
        "state": "running",
        "total_steps": 5_000,
        "episodes": 7,
        "error": "",
    }
    assert read_status(tmp_path, running=True) == RUNNING
    assert [path.name for path in tmp_path.iterdir()] == [STATUS]


def test_steps_after_the_checkpoint_count_only_while_a_process_works_on_the_run(
    tmp_path: Path,
) -> None:
    checkpoint_at(tmp_path, 1_000)
    status = StatusFile(tmp_path)
    status.write(RUNNING)
    assert read_status(tmp_path, running=True).agent_steps == 1_490
    killed = read_status(tmp_path)
    assert (killed.agent_steps, killed.mean_return, killed.steps_per_s) == (1_000, 4.0, None)
    checkpoint_at(tmp_path, 1_500)  # newer than the last status
    assert read_status(tmp_path, running=True).agent_steps == 1_500


def test_a_run_that_starts_again_keeps_its_return_and_forgets_speed_and_error(
    tmp_path: Path,
) -> None:
    status = StatusFile(tmp_path)
    status.write(RunStatus(1_490, 4.0, 88.0, RunState.FAILED, 5_000, 7, "no space left"))
    assert failure(tmp_path) == "no space left"
    status.start(1_000, 6_000)
    assert read_status(tmp_path, running=True) == RunStatus(
        1_000, 4.0, None, RunState.STARTING, 6_000, 7
    )
    assert failure(tmp_path) == ""


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (ValueError("bad\n   value"), RunState.FAILED, "bad value"),
        (MemoryError(), RunState.FAILED, "MemoryError"),
        (KeyboardInterrupt(), RunState.STOPPED, ""),
        (GeneratorExit(), RunState.STOPPED, ""),
    ],
)
def test_an_early_end_is_recorded_and_raised(
    tmp_path: Path, error: BaseException, state: RunState, text: str
) -> None:
    status = StatusFile(tmp_path)
    status.write(RUNNING)
    with pytest.raises(type(error)), status.recording_failure():
        raise error
    ended = read_status(tmp_path)
    assert (ended.state, ended.error, ended.episodes) == (state, text, 7)


def test_a_status_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / STATUS).mkdir()  # cannot be replaced by a file
    StatusFile(tmp_path).write(RUNNING)
    assert [path.name for path in tmp_path.iterdir()] == [STATUS]


def episodes(count: int) -> str:
    lines = [f"{10 * k},0,{float(k)},9,0\n" for k in range(1, count + 1)]
    return "agent_step,env,raw_return,length,wall_time_s\n" + "".join(lines)


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"state": "asleep"}', '{"state": "done"}'])
def test_without_a_status_checkpoints_and_episodes_say_how_far_a_run_is(
    tmp_path: Path, damaged: str
) -> None:
    assert read_status(tmp_path) == RunStatus(0, None, None)
    if damaged:
        (tmp_path / STATUS).write_text(damaged)
    checkpoint_at(tmp_path, 1_000)
    (tmp_path / "episodes.csv").write_text(episodes(150) + "1510,0,7")  # half a row
    recent = sum(range(52, 151)) / 99  # of the last 100 lines, the half one does not count
    assert read_status(tmp_path) == RunStatus(1_000, recent, None)


def test_without_a_status_the_log_says_why_a_run_failed(tmp_path: Path) -> None:
    assert failure(tmp_path) == ""
    log = tmp_path / TRAIN_LOG
    log.write_text("wnrl.train: no memory\n\n")
    assert failure(tmp_path) == last_line(log) == "wnrl.train: no memory"
    with log.open("a") as file:
        file.write("step 900 of 5,000 (18.0%), no episode yet, 77 steps/s, 0:00:53 left\n")
    assert failure(tmp_path) == ""
    assert last_line(log, log.stat().st_size) == ""


def test_the_tail_of_a_long_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_text("".join(f"line {k:06d}\n" for k in range(10_000)))
    lines = tail(file).splitlines()
    assert lines[0].startswith("line 00")
    assert len(lines[0]) == 11
    assert lines[-1] == "line 009999"
    assert tail(tmp_path / "none") == ""


def test_escape_codes_of_a_failed_run_are_written_out(tmp_path: Path) -> None:
    log = tmp_path / TRAIN_LOG
    log.write_bytes(b"fine\n\x1b]0;title\x07\x1b[31mE\xffrror\x1b[0m\r\n\n")
    assert failure(tmp_path) == last_line(log) == "\\x1b]0;title\\x07\\x1b[31mE\ufffdrror\\x1b[0m"
    StatusFile(tmp_path).write(RunStatus(0, None, None, RunState.FAILED, error="\x1b[2J\u202eno"))
    assert failure(tmp_path) == "\\x1b[2J\\u202eno"
