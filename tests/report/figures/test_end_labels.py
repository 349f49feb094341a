import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnrl.report.figures.end_labels import spread

POSITIONS = st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], []),
        ([5.0], [5.0]),
        ([2.0, 7.0], [2.0, 7.0]),  # far enough apart already
        ([5.0, 5.0], [5.5, 4.5]),  # the first on top
        ([4.0, 4.4, 9.0], [3.7, 4.7, 9.0]),
        ([5.0, 5.0, 5.0], [6.0, 5.0, 4.0]),
        ([9.9, 9.9], [10.0, 9.0]),  # no higher than 10
        ([0.0, 0.2, 0.6], [0.0, 1.0, 2.0]),  # no lower than 0
    ],
)
def test_labels_are_as_close_to_their_points_as_possible(
    wanted: list[float], expected: list[float]
) -> None:
    assert spread(wanted, 1.0, low=0.0, high=10.0) == pytest.approx(expected)


@given(POSITIONS)
def test_labels_are_a_pitch_apart_and_within_the_ends(wanted: list[float]) -> None:
    found = np.array(spread(wanted, 0.8, low=0.0, high=10.0))
    assert np.all(np.diff(np.sort(found)) >= 0.8 - 1e-9)
    assert found.min() >= -1e-9
    assert found.max() <= 10 + 1e-9
    for a in range(len(wanted)):
        for b in range(len(wanted)):
            assert found[a] < found[b] or wanted[a] >= wanted[b]  # in the order of their points


@given(POSITIONS, st.integers(0, 11), st.floats(-0.5, 0.5))
def test_moving_a_label_brings_it_no_closer(wanted: list[float], which: int, by: float) -> None:
    def distance(positions: list[float]) -> float:
        return sum((p - w) ** 2 for p, w in zip(positions, wanted, strict=True))

    found = spread(wanted, 0.8, low=0.0, high=10.0)
    moved = list(found)
    moved[which % len(moved)] += by
    apart = np.diff(np.sort(moved)).min(initial=1.0) >= 0.8
    if (
        apart
        and min(moved) >= 0
        and max(moved) <= 10
        and np.argsort(moved).tolist() == np.argsort(found).tolist()
    ):
        assert distance(moved) >= distance(found) - 1e-9
