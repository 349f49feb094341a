"""The table of runs on a terminal, and its lines elsewhere."""

import io
from pathlib import Path

from wnrl.compare.grid import make_grid
from wnrl.compare.jobs.runner import Run, State
from wnrl.compare.jobs.table import Row, Screen, format_counts, format_rows
from wnrl.train.storage.run_status import RunStatus

ROWS = [
    Row("Breakout/dqn-none/seed1", State.DONE, 0, RunStatus(5_000, 2.25, None), 5_000),
    Row("Breakout/dqn-weight/seed1", State.RUNNING, 0, RunStatus(1_000, None, 20.0), 5_000),
    Row("Breakout/dqn-none/seed2", State.RUNNING, 2, RunStatus(4_000, -1.0, None), 5_000),
    Row("Breakout/dqn-weight/seed2", State.FAILED, 4, RunStatus(0, None, None), 5_000),
    Row("Breakout/dqn-none/seed3", State.WAITING, 0, RunStatus(0, None, None), 5_000),
]


def test_the_table_shows_state_steps_return_speed_and_time_left() -> None:
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


def test_a_line_of_the_log_leaves_out_what_is_unknown() -> None:
    assert ROWS[1].sentence() == (
        "Breakout/dqn-weight/seed1: 1,000 agent steps, 20 steps/s, 0:03:20 left"
    )
    assert ROWS[2].sentence() == "Breakout/dqn-none/seed2: 4,000 agent steps, return -1.0"


def test_counts_name_only_the_states_that_there_are() -> None:
    assert format_counts(ROWS[:1]) == "1 done"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, tmp_path: Path) -> str:
    planned = make_grid(
        {"steps": 100}, envs=["toy/Catch"], norms=["none"], sweep={}, seeds=[1], out=tmp_path
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
    screen.print_line("something happened")
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


def test_escape_codes_in_names_and_messages_are_written_out(tmp_path: Path) -> None:
    row = ROWS[1]._replace(name="\x1b[31ma\nb")
    assert row.sentence().startswith("\\x1b[31ma\\nb: 1,000 agent steps")
    assert all(line.isprintable() for line in format_rows([row], 100, 20))
    stream = io.StringIO()
    screen = Screen({}, lambda run: RunStatus(0, None, None), interval_s=10.0, stream=stream)
    screen.print_line("runs/a failed: \x1b[2J\r")
    assert stream.getvalue() == "runs/a failed: \\x1b[2J\\r\n"
