"""How much of the returns the values explain, over the rows that count."""

import math

import pytest
import torch

from wnrl.agents.on_policy import explained_variance
from wnrl.rl.rollout import RolloutBatch


def rollout(target: list[float], value: list[float], valid: list[bool]) -> RolloutBatch:
    zeros = torch.zeros(len(valid), 1)
    kept = {"return": torch.tensor([target]).T.float(), "value": torch.tensor([value]).T.float()}
    flags = torch.tensor([valid]).T
    return RolloutBatch(zeros, flags, zeros.long(), zeros, zeros, flags, kept)


def test_it_is_of_the_valid_rows() -> None:
    # Returns 1, 2, 6 have variance 14 / 3; what is left, 0, 1, 2, has 2 / 3.
    batch = rollout([1, 2, 6, 99], [1, 1, 4, -99], [True, True, True, False])
    assert explained_variance(batch).item() == pytest.approx(1 - 2 / 14)


def test_a_rollout_without_a_valid_row_has_none_and_warns_of_nothing() -> None:
    assert math.isnan(explained_variance(rollout([5], [3], [False])).item())
