"""Held rows are written as they were, however many rows are added meanwhile."""

import io
import threading
import time
from typing import Any

import numpy as np
import pytest

from wnrl.rl import npy_rows
from wnrl.rl.row_store import RowRing

NO, YES = np.zeros(2, np.bool_), np.ones(2, np.bool_)
LIMIT_S = 20.0


def add(ring: RowRing) -> None:
    """Add a row of 2 environments whose every number is the row's."""
    row = ring.total_rows
    frame = np.full((2, 3), row % 251, np.uint8)
    first = YES if row == 0 else NO
    ring.add(frame, np.full(2, row), np.full(2, row * 1.0), np.full(2, row * 0.5), first, YES)


def ring_of(capacity_rows: int, rows: int) -> RowRing:
    ring = RowRing(capacity_rows, 2, (3,), "uint8")
    for _ in range(rows):
        add(ring)
    return ring


def content(file: io.BytesIO) -> list[Any]:
    file.seek(0)
    return [np.load(file)[:, 0].reshape(-1).tolist() for _ in range(6)]


class GatedFile(io.BytesIO):
    """A file that takes so many writes, and the next one only once the gate opens."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes
        self.reached, self.gate = threading.Event(), threading.Event()

    def write(self, data: Any) -> int:
        self.left -= 1
        if self.left < 0:
            self.reached.set()
            assert self.gate.wait(LIMIT_S)
        return super().write(data)


@pytest.fixture(autouse=True)
def one_row_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_rows, "CHUNK_BYTES", 6)


def test_add_waits_for_the_one_row_that_it_overwrites(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = ring_of(4, 6)  # rows 2 to 5
    held = ring.hold_rows(2, 6)
    file = GatedFile(3)  # the prefix, the header and row 2
    writing = threading.Thread(target=lambda: held.write(file), daemon=True)
    writing.start()
    assert file.reached.wait(LIMIT_S)
    add(ring)  # in the place of row 2, which is written
    adding = threading.Thread(target=lambda: add(ring), daemon=True)  # in the place of row 3
    adding.start()
    adding.join(0.2)
    assert adding.is_alive()
    assert ring.total_rows == 7
    file.gate.set()
    adding.join(LIMIT_S)
    writing.join(LIMIT_S)
    assert ring.total_rows == 8
    frames, actions, *_ = content(file)
    assert actions == [2, 3, 4, 5]
    assert frames == [row for row in (2, 3, 4, 5) for _ in range(3)]
    assert [int(row) for row in ring.rows(4, 8)[0].action[:, 0]] == [4, 5, 6, 7]


def test_rows_that_are_not_held_are_overwritten_at_once() -> None:
    ring = ring_of(4, 6)
    ring.hold_rows(4, 6)  # and never written
    for _ in range(2):
        add(ring)  # in the place of rows 2 and 3
    assert ring.total_rows == 8


def test_rows_that_were_given_up_are_overwritten() -> None:
    ring = ring_of(4, 4)
    with pytest.raises(OSError, match="full"), ring.hold_rows(0, 4):
        raise OSError("full")
    adding = threading.Thread(target=lambda: [add(ring) for _ in range(9)], daemon=True)
    adding.start()
    adding.join(LIMIT_S)
    assert ring.total_rows == 13


def test_no_rows_cannot_be_held() -> None:
    with pytest.raises(ValueError, match=r"no rows to hold in \[4, 4\)"):
        ring_of(4, 4).hold_rows(4, 4)


@pytest.mark.parametrize("slower", ["reader", "writer"])
def test_a_ring_that_wraps_again_and_again_is_written_as_it_was(slower: str) -> None:
    ring = ring_of(50, 73)
    for _ in range(10):
        held, oldest, total = ring.hold_rows(ring.oldest_row, ring.total_rows), 0, 0
        oldest, total = ring.oldest_row, ring.total_rows

        class Slow(io.BytesIO):
            def write(self, data: Any) -> int:
                if slower == "writer":
                    time.sleep(1e-4)
                return super().write(data)

        file = Slow()

        def write(held: Any = held, file: Any = file) -> None:
            with held:
                held.write(file)

        writing = threading.Thread(target=write)
        writing.start()
        for _ in range(120):
            add(ring)
            if slower == "reader":
                time.sleep(1e-5)
        writing.join(LIMIT_S)
        frames, actions, rewards, *_ = content(file)
        rows = list(range(oldest, total))
        assert frames == [row % 251 for row in rows for _ in range(3)]
        assert actions == rows
        assert rewards == rows
