"""The line on the screen says what the numbers say."""

import io

import pytest

from wnrl.envs.vector import Episode
from wnrl.train.log.episodes import RecentEpisodes
from wnrl.train.log.progress import Progress, StepRate, format_bar, format_progress, format_seconds


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def means(*returns: float) -> RecentEpisodes:
    recent = RecentEpisodes()
    for raw_return in returns:
        recent.add(Episode(0, raw_return, 1, False))
    return recent


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0:00:00"),
        (59.6, "0:01:00"),
        (3723.0, "1:02:03"),
        (86_399.0, "23:59:59"),
        (2 * 86_400 + 3_661.0, "2 d 1:01:01"),
    ],
)
def test_seconds_read_as_a_clock(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("step", "total", "mean_return", "rate", "left_s", "line"),
    [
        (
            1_250_000,
            10_000_000,
            34.56,
            4_000.4,
            2_187.3,
            "step 1,250,000 of 10,000,000 (12.5%), return 34.6, 4,000 steps/s, about 36 min left",
        ),
        (0, 100, None, 0.0, None, "step 0 of 100 (0.0%), no episode yet, 0 steps/s"),
        (
            9_999,
            10_000,
            0.0,
            1.0,
            1.0,
            "step 9,999 of 10,000 (99.9%), return 0.0, 1 steps/s, about 1 s left",
        ),
        (102, 100, -1.0, 50.0, 0.0, "step 102 of 100 (100.0%), return -1.0, 50 steps/s"),
    ],
)
def test_the_line_on_hand_numbers(
    step: int,
    total: int,
    mean_return: float | None,
    rate: float,
    left_s: float | None,
    line: str,
) -> None:
    assert format_progress(step, total, mean_return, rate, left_s) == line


def test_the_bar_is_full_at_the_end_only_and_cut_to_the_terminal() -> None:
    assert format_bar(0, 100, "x", 80) == "[....................] x"
    assert format_bar(25, 100, "x", 80) == "[#####...............] x"
    assert format_bar(99, 100, "x", 80) == "[###################.] x"
    assert format_bar(104, 100, "x", 80) == "[####################] x"
    assert format_bar(50, 100, "x" * 10, 19) == "[###...] xxxxxxxxxx"
    assert format_bar(50, 100, "x" * 10, 15) == "xxxxxxxxxx"
    assert format_bar(50, 100, "x" * 80, 24) == "x" * 24


def test_a_terminal_of_80_columns_shows_the_time_left() -> None:
    line = format_progress(5_039, 10_000_000, 69.8, 651.0, 15_353.0)
    assert format_bar(5_039, 10_000_000, line, 79).endswith("4.3 h left")


def test_the_rate_is_of_the_steps_since_the_last_reading() -> None:
    clock = Clock()
    rate = StepRate(1000, clock)
    assert rate.read(1000) == 0.0
    clock.seconds += 4.0
    assert rate.elapsed_s == 4.0
    assert rate.read(1200) == 50.0
    clock.seconds += 2.0
    assert rate.read(1220) == 10.0


def test_a_file_gets_one_line_per_interval() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(1000, step=100, interval_s=10.0, stream=stream, now=clock)
    for step in range(100, 350, 10):  # one second each
        progress.update(step, means(1.0, 2.0))
        clock.seconds += 1.0
    progress.finish(350, means(3.0))
    assert stream.getvalue().splitlines() == [
        "step 200 of 1,000 (20.0%), return 1.5, 10 steps/s, about 80 s left",
        "step 300 of 1,000 (30.0%), return 1.5, 10 steps/s, about 70 s left",
        "step 350 of 1,000 (35.0%), return 3.0, 10 steps/s, about 65 s left",
    ]


def test_the_last_line_is_written_once() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(100, interval_s=10.0, stream=stream, now=clock)
    clock.seconds += 10.0
    progress.update(100, means(1.0))
    progress.finish(100, means(1.0))
    assert stream.getvalue() == "step 100 of 100 (100.0%), return 1.0, 10 steps/s\n"


def test_a_terminal_gets_one_line_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    clock, stream = Clock(), Terminal()
    progress = Progress(100, interval_s=10.0, stream=stream, now=clock)
    clock.seconds += 1.0
    progress.update(50, means(1.0))
    progress.say("wnrl: a warning")
    clock.seconds += 1.0
    progress.update(99, means(1.0))
    clock.seconds += 1.0
    progress.finish(100, means(2.0))
    bar_1 = "[##########..........] step 50 of 100 (50.0%), return 1.0, 50 steps/s"
    bar_2 = "[###################.] step 99 of 100 (99.0%), return 1.0, 49 steps/s"
    bar_3 = "[####################] step 100 of 100 (100.0%), return 2.0, 1 steps/s"
    assert stream.getvalue() == (
        f"\r{bar_1}\nwnrl: a warning\n\r{bar_2}\r{bar_3.ljust(len(bar_2))}\n"
    )


def test_a_run_of_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="came 0"):
        Progress(0)
