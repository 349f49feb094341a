import pytest

from wnrl.rl.schedules import linear


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
