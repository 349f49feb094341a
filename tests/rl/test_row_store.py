"""The ring of rows: what it holds, refuses, and writes to segments and restores."""

import io
import itertools
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from naive_replay import EVENTS, FRAME, Episodes

from wnrl.rl.row_store import RowRing


def make_ring(
    rows: int = 20,
    num_envs: int = 2,
    frame_shape: tuple[int, ...] = FRAME,
    frame_dtype: str = "uint8",
) -> RowRing:
    return RowRing(rows, num_envs, frame_shape, frame_dtype)


def filled(rows_added: int) -> RowRing:
    """A ring of 20 rows and 2 environments after that many rows with random episode ends."""
    ring, episodes, generator = make_ring(), Episodes(2, FRAME, "uint8"), np.random.default_rng(5)
    for _ in range(rows_added):
        ring.add(*episodes.next_row(generator.choice(EVENTS, size=2).tolist()))
    return ring


def segments_of(ring: RowRing, bounds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    segments = []
    for start, stop in itertools.pairwise(bounds):
        file = io.BytesIO()
        with ring.hold_rows(start, stop) as held:
            held.write(file)
        segments.append((start, stop, file.getvalue()))
    return segments


def loaded(ring: RowRing) -> RowRing:
    restored = make_ring()
    restored.load_state_dict(ring.state_dict())
    return restored


def test_rows_that_are_not_valid_store_neither_reward_nor_discount() -> None:
    ring = make_ring(8, 1, (1,), "float32")
    ring.add(
        np.ones((1, 1), np.float32),
        np.array([0]),
        np.array([np.nan], np.float32),
        np.array([0.5], np.float32),
        np.array([True]),
        np.array([False]),
    )
    (row,) = ring.rows(0, 1)
    assert (row.reward.tolist(), row.discount.tolist()) == ([[0.0]], [[0.0]])


def test_counters_tell_the_rows_added_and_the_oldest_held() -> None:
    counters = [(r.total_rows, r.oldest_row) for r in (filled(n) for n in (0, 20, 21, 70))]
    assert counters == [(0, 0), (20, 0), (21, 1), (70, 50)]


def test_bytes_are_known_exactly_beforehand() -> None:
    for capacity, num_envs in ((100, 1), (103, 4), (1000, 7)):
        ring = make_ring(capacity // num_envs, num_envs, (5, 6))
        assert ring.nbytes == RowRing.bytes_needed(capacity, num_envs, (5, 6), "uint8")
    # 84 * 84 + 8 + 4 + 4 + 1 + 1
    assert RowRing.bytes_needed(1_000_000, 8, (84, 84), "uint8") == 7_074_000_000
    assert RowRing.bytes_needed(10, 1, (4,), "float32") == 340


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
def test_all_memory_is_taken_at_construction() -> None:
    program = """if True:
        from wnrl.doctor.memory import resident_bytes
        from wnrl.rl.row_store import RowRing
        before = resident_bytes()
        ring = RowRing(10_000, 1, (84, 84), "uint8")
        print(resident_bytes() - before, ring.nbytes)
    """  # in another process: this one may hold freed memory
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    taken, held = map(int, printed.stdout.split())
    assert taken > 0.9 * held


def test_a_segment_is_a_row_of_npy_arrays() -> None:
    ring = filled(30)  # rows 10 to 30 are held, and 20 is where the ring wraps
    ((_, _, content),) = segments_of(ring, [15, 28])
    file = io.BytesIO(content)
    before, after = ring.rows(15, 28)
    for name in before._fields:
        expected = np.concatenate([getattr(before, name), getattr(after, name)])
        np.testing.assert_array_equal(np.load(file, allow_pickle=False), expected)
    assert file.read() == b""


def test_rows_that_are_not_held_are_refused() -> None:
    ring = filled(30)
    for start, stop in ((9, 12), (25, 31), (20, 15)):
        with pytest.raises(ValueError, match=r"not all held: the ring has \[10, 30\)"):
            ring.hold_rows(start, stop)
    assert ring.rows(30, 30) == []


def test_segments_with_a_gap_or_beyond_the_state_are_refused() -> None:
    ring = filled(30)
    for start, stop in ((11, 20), (10, 31), (20, 10)):
        with pytest.raises(ValueError, match="expected a range from 10 or before, up to 30"):
            loaded(ring).read_rows(io.BytesIO(), start, stop)


def test_a_segment_cut_short_or_of_another_replay_is_refused() -> None:
    ring = filled(30)
    ((start, stop, content),) = segments_of(ring, [10, 30])
    with pytest.raises(ValueError, match="the file ends 1 bytes too early"):
        loaded(ring).read_rows(io.BytesIO(content[:-1]), start, stop)
    with pytest.raises(ValueError, match=r"the file holds .*\(20, 2, 2, 3\).*expected .*\(21, 2,"):
        loaded(ring).read_rows(io.BytesIO(content), start - 1, stop)
    float_ring = make_ring(frame_dtype="float32")
    float_ring.load_state_dict(ring.state_dict())
    with pytest.raises(ValueError, match=r"the file holds .*u1.*expected .*f4"):
        float_ring.read_rows(io.BytesIO(content), start, stop)


def test_a_state_of_another_size_is_refused() -> None:
    state = filled(30).state_dict()
    with pytest.raises(ValueError, match="capacity_rows 20, this one has 21"):
        make_ring(21, 2).load_state_dict(state)
    with pytest.raises(ValueError, match="num_envs 2, this one has 1"):
        make_ring(20, 1).load_state_dict(state)


@pytest.mark.parametrize(
    ("index", "value", "error"),
    [
        (0, np.zeros((2, 3, 2), np.uint8), ValueError),
        (0, np.zeros((2, 2, 3), np.float32), TypeError),
        (1, np.zeros(2, np.float32), TypeError),
        (1, np.zeros((2, 1), np.int64), ValueError),
        (2, np.zeros(1, np.float32), ValueError),
        (4, np.ones(2, np.int64), TypeError),
        (5, np.ones(2, np.uint8), TypeError),
    ],
)
def test_a_field_of_another_shape_or_type_is_refused_and_nothing_is_stored(
    index: int, value: npt.NDArray[Any], error: type[Exception]
) -> None:
    ring = make_ring()
    row = list(Episodes(2, FRAME, "uint8").next_row(["go", "go"]))
    row[index] = value
    with pytest.raises(error, match="must be"):
        ring.add(*row)
    assert ring.total_rows == 0


@pytest.mark.parametrize(("was_valid", "is_first"), [(True, True), (False, False)])
def test_an_episode_that_begins_elsewhere_than_after_a_final_row_is_refused(
    was_valid: bool, is_first: bool
) -> None:
    ring = make_ring(8, 2, (1,), "float32")
    frame, zeros, yes = np.ones((2, 1), np.float32), np.zeros(2, np.float32), np.ones(2, np.bool_)
    action = np.zeros(2, np.int64)
    ring.add(frame, action, zeros, zeros, yes, np.array([True, was_valid]))
    with pytest.raises(ValueError, match=r"environments \[1\] at row 1"):
        ring.add(frame, action, zeros, zeros, np.array([False, is_first]), yes)
