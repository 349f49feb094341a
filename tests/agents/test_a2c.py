"""A2C's loss on hand numbers."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from wnrl.agents.a2c import Loss, a2c_loss
from wnrl.nn.networks.heads import PolicyValue
from wnrl.rl.rollout import RolloutBatch

# Three rows of two actions, the last one not valid.
#   pi(0), a, advantage    -log pi(a) A
#   1/2    0   2            2 log 2
#   1/4    1  -3            3 log 3/4
PI_0 = [0.5, 0.25, 0.75]
ACTION = [0, 1, 1]
ADVANTAGE = [2.0, -3.0, 50.0]
VALUE = [0.0, 1.0, 3.0]
RETURN = [1.0, 4.0, 40.0]
VALID = [True, True, False]
POLICY = (2 * math.log(2) + 3 * math.log(0.75)) / 2
ENTROPY = (math.log(2) + 0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / 2


def learnt(
    pi_0: float = PI_0[2],
    value: float = VALUE[2],
    action: int = ACTION[2],
    kept: float = 50.0,
    normalize_advantage: bool = False,
) -> tuple[Loss, PolicyValue]:
    """The loss, its gradients in its output; the arguments are the last row's."""
    p = torch.tensor([*PI_0[:2], pi_0])
    logits = (torch.stack((p, 1 - p), dim=1).log() - 2.0).requires_grad_()  # (B, 2)
    output = PolicyValue(logits, torch.tensor([*VALUE[:2], value], requires_grad=True))
    advantage, target = torch.tensor([*ADVANTAGE[:2], kept]), torch.tensor([*RETURN[:2], kept])
    nothing, no = torch.zeros(3), torch.zeros(3, dtype=torch.bool)
    rows = RolloutBatch(
        obs=nothing[:, None],
        first=no,
        action=torch.tensor([*ACTION[:2], action]),
        reward=nothing,
        discount=nothing,
        valid=torch.tensor(VALID),
        extras={"value": nothing, "advantage": advantage, "return": target},
    )
    loss = a2c_loss(
        output,
        rows,
        value_coef=0.5,
        entropy_coef=0.25,
        normalize_advantage=normalize_advantage,
    )
    loss.total.backward()
    return Loss(*(part.detach() for part in loss)), output


def test_the_loss_is_that_of_hand_numbers() -> None:
    loss, _ = learnt()
    assert float(loss.policy) == pytest.approx(POLICY)
    assert float(loss.value) == pytest.approx((1 + 9) / 2)
    assert float(loss.entropy) == pytest.approx(ENTROPY)
    assert float(loss.total) == pytest.approx(POLICY + 0.5 * 5 - 0.25 * ENTROPY)


def test_its_gradient_raises_the_probability_of_what_was_better_than_expected() -> None:
    _, output = learnt()
    assert output.logits.grad is not None
    assert output.value.grad is not None
    # d policy / d logits = (pi - one_hot(a)) A / 2, and the entropy's is 0 at the uniform row.
    assert output.logits.grad[0].tolist() == pytest.approx([-0.5, 0.5])
    assert output.logits.grad[1, 1] > 0
    # d (0.5 mean (G - v)^2) / dv = -0.5 (G - v)
    assert output.value.grad.tolist() == pytest.approx([-0.5, -1.5, 0.0])


def test_advantages_are_normalized_over_the_valid_rows() -> None:
    loss, _ = learnt(normalize_advantage=True)
    advantage = np.array(ADVANTAGE[:2])
    a, b = (advantage - advantage.mean()) / advantage.std(ddof=1)
    assert float(loss.policy) == pytest.approx((a * math.log(2) - b * math.log(0.75)) / 2)


@pytest.mark.parametrize("normalize_advantage", [False, True])
def test_a_row_that_is_not_valid_changes_neither_the_loss_nor_a_gradient(
    normalize_advantage: bool,
) -> None:
    def numbers(**last: Any) -> list[Any]:
        loss, output = learnt(normalize_advantage=normalize_advantage, **last)
        assert output.logits.grad is not None
        assert output.value.grad is not None
        return [[float(x) for x in loss], output.logits.grad.tolist(), output.value.grad.tolist()]

    expected = numbers()
    assert numbers(pi_0=0.01, value=-1e4, action=0, kept=-1e6) == expected
    assert numbers(pi_0=0.99, value=1e6, action=1, kept=1e6) == expected
    assert expected[1][2] == [0.0, 0.0]
