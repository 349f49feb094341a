"""The time left is near the truth from the first line on, where speeds differ by a factor."""

import pytest

from wnrl.train.log.time_left import TimeLeft
from wnrl.train.speed import Speed

WARMUP, TOTAL = 100_000, 1_000_000  # agent steps
WARMUP_S, LEARNING_S = 1 / 4_000, 1 / 100  # the run's true speeds: 25 s, then two and a half hours
LINE_S = 10.0


def errors(left: TimeLeft, pauses: frozenset[int] = frozenset()) -> list[float | None]:
    """Return the forecast over the true time left at each line but those of the last minute."""
    ends_s = WARMUP * WARMUP_S + (TOTAL - WARMUP) * LEARNING_S
    ratios: list[float | None] = []
    step, now_s, line = 0.0, 0.0, 0
    while now_s < ends_s - 60:
        line, before, now_s = line + 1, step, now_s + LINE_S
        if line in pauses:
            ends_s += LINE_S
        else:
            step += LINE_S / (WARMUP_S if step < WARMUP else LEARNING_S)
            if before < WARMUP < step:
                step = WARMUP + (step - WARMUP) * WARMUP_S / LEARNING_S
        left.add(round(before), round(step), LINE_S)
        forecast_s = left.seconds(round(step))
        ratios.append(None if forecast_s is None else forecast_s / (ends_s - now_s))
    return ratios


def test_a_calibrated_run_is_right_from_the_first_line() -> None:
    ratios = errors(TimeLeft(TOTAL, WARMUP, Speed(WARMUP_S, LEARNING_S)))
    assert ratios == pytest.approx([1.0] * len(ratios), abs=0.02)


def test_a_wrong_calibration_is_corrected_within_ten_minutes() -> None:
    ratios = errors(TimeLeft(TOTAL, WARMUP, Speed(WARMUP_S, LEARNING_S / 2)))
    assert ratios[0] == pytest.approx(0.5, abs=0.02)
    assert ratios[60:] == pytest.approx([1.0] * len(ratios[60:]), abs=0.1)


def test_without_a_calibration_nothing_is_said_until_learning_was_measured() -> None:
    ratios = errors(TimeLeft(TOTAL, WARMUP, None))
    assert ratios[:3] == [None] * 3  # the third line is half warm-up, half learning
    assert ratios[3:] == pytest.approx([1.0] * len(ratios[3:]), abs=0.02)


def test_the_pause_of_an_evaluation_moves_it_little() -> None:
    speed = Speed(WARMUP_S, LEARNING_S)
    ratios = errors(TimeLeft(TOTAL, WARMUP, speed), frozenset({400, 401, 402}))
    assert ratios == pytest.approx([1.0] * len(ratios), abs=0.1)


def test_a_run_without_warm_up_and_the_end_of_one() -> None:
    left = TimeLeft(1_000, 0, None)
    left.add(0, 100, 4.0)
    assert left.seconds(100) is None  # too little is known
    left.add(100, 200, 4.0)
    assert left.seconds(200) == pytest.approx(32.0)
    assert left.seconds(1_003) == 0.0
