"""What is seen of the runs: read from their files, and drawn."""

import io
from pathlib import Path

import pytest

from wnrl.compare.grid import make_grid
from wnrl.compare.jobs.runner import Run, State
from wnrl.compare.jobs.table import Row, Screen, format_counts, format_rows
from wnrl.train.log.progress import format_progress, parse_progress
from wnrl.train.storage.run_status import RunStatus, last_line, read_status, tail


@pytest.mark.parametrize(
    ("step", "mean_return", "rate"), [(0, None, 0.0), (1_234, -3.5, 1_024.0), (5_000, 0.0, 9.0)]
)
def test_a_progress_line_can_be_read_back(
    step: int, mean_return: float | None, rate: float
) -> None:
    line = format_progress(step, 5_000, mean_return, rate)
    assert parse_progress(line) == (step, mean_return, rate)
    assert parse_progress(f"evaluation at {line}") is None


def episodes(count: int) -> str:
    lines = [f"{10 * k},0,{float(k)},9,0\n" for k in range(1, count + 1)]
    return "agent_step,env,raw_return,length,wall_time_s\n" + "".join(lines)


def test_a_run_is_read_from_its_own_files(tmp_path: Path) -> None:
    assert read_status(tmp_path, 0) == RunStatus(0, None, None)
    (tmp_path / "checkpoints" / "step_000001000").mkdir(parents=True)
    (tmp_path / "episodes.csv").write_text(episodes(150) + "1510,0,7")  # a line half written
    earlier = format_progress(900, 5_000, 4.0, 77.0) + "\n"
    log = tmp_path / "train.log"
    log.write_text(earlier)
    recent = sum(range(52, 151)) / 99  # the last 100 lines, the cut one among them
    assert read_status(tmp_path, len(earlier)) == RunStatus(1_500, recent, None)
    with log.open("a") as file:
        file.write(format_progress(1_490, 5_000, 4.0, 88.0) + "\nevaluation at step 3\n")
    assert read_status(tmp_path, len(earlier)) == RunStatus(1_500, recent, 88.0)
    assert read_status(tmp_path) == RunStatus(1_000, recent, None)
    assert last_line(log) == "evaluation at step 3"


def test_the_tail_of_a_long_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "long"
    file.write_text("".join(f"line {k:06d}\n" for k in range(10_000)))
    lines = tail(file).splitlines()
    assert lines[0].startswith("line 00")
    assert len(lines[0]) == 11
    assert lines[-1] == "line 009999"
    assert tail(tmp_path / "none") == ""


ROWS = [
    Row("Breakout/dqn-none/seed1", State.DONE, 0, RunStatus(5_000, 2.25, None), 5_000),
    Row("Breakout/dqn-weight/seed1", State.RUNNING, 0, RunStatus(1_000, None, 20.0), 5_000),
    Row("Breakout/dqn-none/seed2", State.RUNNING, 2, RunStatus(4_000, -1.0, None), 5_000),
    Row("Breakout/dqn-weight/seed2", State.FAILED, 4, RunStatus(0, None, None), 5_000),
    Row("Breakout/dqn-none/seed3", State.WAITING, 0, RunStatus(0, None, None), 5_000),
]


def test_the_table_says_state_steps_return_speed_and_time_left() -> None:
    assert format_rows(ROWS, 100, 20) == [
        "run                        state      agent steps  return  steps/s     left",
        "Breakout/dqn-none/seed1    done             5,000     2.2        -        -",
        "Breakout/dqn-weight/seed1  running          1,000       -       20  0:03:20",
        "Breakout/dqn-none/seed2    retried 2        4,000    -1.0        -        -",
        "Breakout/dqn-weight/seed2  failed               0       -        -        -",
        "Breakout/dqn-none/seed3    waiting              0       -        -        -",
        "1 failed, 1 done, 2 running, 1 waiting",
    ]


def test_where_room_is_short_names_are_cut_and_running_and_failed_runs_stay() -> None:
    lines = format_rows(ROWS, 64, 5)
    assert [line.split()[0] for line in lines[1:4]] == [
        "…ut/dqn-weight/seed1",
        "…out/dqn-none/seed2",
        "…ut/dqn-weight/seed2",
    ] or all(line.startswith("…") for line in lines[1:4])
    assert [line.split()[1] for line in lines[1:4]] == ["running", "retried", "failed"]
    assert len(lines) == 5
    assert max(map(len, lines)) <= 64
    assert len(format_rows(ROWS, 20, 1)) <= 2


def test_counts_name_only_the_states_that_there_are() -> None:
    assert format_counts(ROWS[:1]) == "1 done"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, tmp_path: Path) -> str:
    planned = make_grid(
        {"steps": 100}, envs=["toy/Catch"], norms=["none"], sweep={}, seeds=1, out=tmp_path
    )
    clock_s = 0.0
    runs = [Run(planned[0], State.RUNNING)]
    screen = Screen(
        {str(planned[0].folder): "the run"},
        lambda run: RunStatus(50, 1.0, 10.0),
        interval_s=10.0,
        stream=stream,
        now=lambda: clock_s,
    )
    for clock_s in (5.0, 5.5, 11.0, 15.0):  # noqa: B007
        screen.update(runs)
    screen.say("something happened")
    return stream.getvalue()


def test_without_a_terminal_running_runs_are_lines_at_intervals(tmp_path: Path) -> None:
    assert shown(io.StringIO(), tmp_path).splitlines() == [
        "the run: 50 agent steps, return 1.0, 10 steps/s, 0:00:05 left",
        "1 running",
        "something happened",
    ]


def test_on_a_terminal_the_table_is_drawn_over_the_one_before(tmp_path: Path) -> None:
    text = shown(Terminal(), tmp_path)
    assert text.count("the run") == 3
    assert text.count("\x1b[3A\x1b[J") == 3
    assert text.endswith("\x1b[3A\x1b[Jsomething happened\n")
