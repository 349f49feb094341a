"""What was counted is told once, by whichever reading is taken."""

import pytest
import torch

from wnrl.instruments.counters import Counters

NO, YES = torch.tensor(False), torch.tensor(True)


def told(counts: Counters, gains: list[float]) -> tuple[float, float]:
    return float(counts.clipped_share()), float(counts.flips("layer", torch.tensor(gains)))


def test_what_comes_between_a_reading_and_its_taking_is_of_the_next_one() -> None:
    counts = Counters()
    counts.update(NO)
    assert told(counts, [1.0]) == (0.0, 0.0)
    counts.update(YES)
    counts.subtract_reported()
    counts.update(NO)
    assert told(counts, [-1.0]) == (0.5, 1.0)


@pytest.mark.parametrize("stopped", [False, True])
def test_counts_that_were_not_taken_are_continued(stopped: bool) -> None:
    counts = Counters()
    counts.update(YES)
    told(counts, [1.0, 1.0])
    counts.update(NO)
    told(counts, [-1.0, 1.0])
    if stopped:
        state, counts = counts.state_dict(), Counters()
        counts.load_state_dict(state)
    counts.update(NO)
    assert told(counts, [-1.0, -1.0]) == (pytest.approx(1 / 3), 2.0)
