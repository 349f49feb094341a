import pytest

from wnrl.schedules import epsilon, linear


def test_linear_is_exact_at_start_middle_end_and_beyond() -> None:
    values = [linear(step, 1.0, 0.2, 8) for step in (0, 2, 4, 8, 9, 1_000_000)]
    assert values == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2, 0.2], rel=1e-12)
    assert linear(8, 1.0, 0.1, 8) == 0.1  # exactly, not 1.0 + (0.1 - 1.0)


def test_linear_goes_up_as_well_as_down() -> None:
    assert [linear(step, 0.0, 4.0, 4) for step in range(6)] == [0.0, 1.0, 2.0, 3.0, 4.0, 4.0]


def test_linear_of_duration_zero_is_its_end_from_the_first_step() -> None:
    assert [linear(step, 1.0, 0.1, 0) for step in (0, 1)] == [0.1, 0.1]


@pytest.mark.parametrize(("step", "duration_steps"), [(-1, 10), (0, -10)])
def test_linear_refuses_negative_steps(step: int, duration_steps: int) -> None:
    with pytest.raises(ValueError, match="must be at least 0, not"):
        linear(step, 1.0, 0.0, duration_steps)


def test_epsilon_waits_then_falls_then_stays() -> None:
    values = [
        epsilon(step, start=1.0, end=0.5, duration_steps=10, wait_steps=100)
        for step in (0, 99, 100, 105, 109, 110, 111, 10_000)
    ]
    assert values == [1.0, 1.0, 1.0, 0.75, 0.55, 0.5, 0.5, 0.5]


def test_epsilon_without_a_wait_is_linear() -> None:
    for step in (0, 3, 7, 10, 11):
        assert epsilon(step, start=1.0, end=0.05, duration_steps=10) == linear(step, 1.0, 0.05, 10)


def test_epsilon_of_duration_zero_jumps_after_the_wait() -> None:
    values = [
        epsilon(step, start=1.0, end=0.1, duration_steps=0, wait_steps=2) for step in range(4)
    ]
    assert values == [1.0, 1.0, 0.1, 0.1]


@pytest.mark.parametrize(("start", "end"), [(1.5, 0.1), (1.0, -0.1), (float("nan"), 0.1)])
def test_epsilon_refuses_what_is_no_probability(start: float, end: float) -> None:
    with pytest.raises(ValueError, match=r"must be a probability in \[0, 1\]"):
        epsilon(0, start=start, end=end, duration_steps=1)


@pytest.mark.parametrize(("step", "wait_steps"), [(-1, 0), (0, -1)])
def test_epsilon_refuses_negative_steps(step: int, wait_steps: int) -> None:
    with pytest.raises(ValueError, match="must be at least 0, not"):
        epsilon(step, start=1.0, end=0.1, duration_steps=1, wait_steps=wait_steps)
