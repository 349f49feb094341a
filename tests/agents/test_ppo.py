"""PPO's loss on hand numbers, and what is its own in learning."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import built, configured, ticks, until_learnt

from wnrl.agents import ppo
from wnrl.agents.ppo import Loss, ppo_loss
from wnrl.nn.networks.heads import PolicyValue
from wnrl.rl.rollout import RolloutBatch

# Four rows of two actions, the last one not valid. pi is the policy now, old what it was.
#   pi(0), a, old pi(a), advantage    ratio   min(ratio A, clipped A) at clip 0.2
#   1/2    0  0.4         2           1.25     min(2.5, 2.4)   =  2.4
#   1/4    1  0.5        -2           1.5      min(-3, -2.4)   = -3
#   1/2    1  0.5         1           1         1
PI_0 = [0.5, 0.25, 0.5, 0.75]
ACTION = [0, 1, 1, 1]
OLD = [0.4, 0.5, 0.5, 0.25]
ADVANTAGE = [2.0, -2.0, 1.0, 50.0]
VALUE = [0.0, 1.0, 2.0, 3.0]
RETURN = [1.0, 3.0, 2.0, 40.0]
VALID = [True, True, True, False]
ENTROPY = (2 * math.log(2) + 0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / 3


def output_of(pi_0: list[float], value: list[float]) -> PolicyValue:
    p = torch.tensor(pi_0)
    logits = torch.stack((p, 1 - p), dim=1).log() + 7.0  # (B, 2); a constant changes nothing
    return PolicyValue(logits.requires_grad_(), torch.tensor(value, requires_grad=True))


def rows_of(**changes: Any) -> RolloutBatch:
    size = len(ACTION)
    kept = {
        "log_prob": torch.tensor(OLD).log(),
        "advantage": torch.tensor(ADVANTAGE),
        "return": torch.tensor(RETURN),
        "value": torch.zeros(size),
    }
    action = changes.pop("action", torch.tensor(ACTION))
    nothing = torch.zeros(size)
    no = torch.zeros(size, dtype=torch.bool)
    valid = torch.tensor(VALID)
    return RolloutBatch(nothing[:, None], no, action, nothing, nothing, valid, {**kept, **changes})


def loss_of(output: PolicyValue, rows: RolloutBatch, normalize_advantage: bool = False) -> Loss:
    loss = ppo_loss(
        output,
        rows,
        clip=0.2,
        value_coef=0.5,
        entropy_coef=0.25,
        normalize_advantage=normalize_advantage,
    )
    loss.total.backward()
    return Loss(*(part.detach() for part in loss))


def test_the_loss_is_that_of_hand_numbers() -> None:
    loss = loss_of(output_of(PI_0, VALUE), rows_of())
    assert float(loss.policy) == pytest.approx(-(2.4 - 3.0 + 1.0) / 3)
    assert float(loss.value) == pytest.approx((1.0 + 4.0 + 0.0) / 3)
    assert float(loss.entropy) == pytest.approx(ENTROPY)
    total = -0.4 / 3 + 0.5 * 5 / 3 - 0.25 * ENTROPY
    assert float(loss.total) == pytest.approx(total)


def test_what_it_tells_of_the_ratio_is_that_of_hand_numbers() -> None:
    loss = loss_of(output_of(PI_0, VALUE), rows_of())
    kl = (0.25 - math.log(1.25) + 0.5 - math.log(1.5)) / 3
    assert float(loss.approx_kl) == pytest.approx(kl, rel=1e-5)
    assert float(loss.clip_fraction) == pytest.approx(2 / 3)
    assert float(loss.ratio_gap) == pytest.approx(0.75 / 3, rel=1e-5)


def test_advantages_are_normalized_over_the_valid_rows() -> None:
    loss = loss_of(output_of(PI_0, VALUE), rows_of(), normalize_advantage=True)
    advantage = np.array(ADVANTAGE[:3])
    a, b, c = (advantage - advantage.mean()) / advantage.std(ddof=1)
    assert (a > 0, b < 0, c > 0) == (True, True, True)
    assert float(loss.policy) == pytest.approx(-(1.2 * a + 1.5 * b + c) / 3)


@pytest.mark.parametrize("normalize_advantage", [False, True])
def test_a_row_that_is_not_valid_changes_neither_the_loss_nor_a_gradient(
    normalize_advantage: bool,
) -> None:
    def learnt(pi_0: float, value: float, action: int, kept: float) -> tuple[Any, ...]:
        output = output_of([*PI_0[:3], pi_0], [*VALUE[:3], value])
        last = torch.tensor([False, False, False, True])
        own = {
            name: torch.where(last, kept, x)
            for name, x in rows_of().extras.items()
            if name in ("advantage", "return", "log_prob")
        }
        rows = rows_of(action=torch.tensor([*ACTION[:3], action]), **own)
        loss = loss_of(output, rows, normalize_advantage)
        gradients = (output.logits.grad, output.value.grad)
        return ([float(part) for part in loss], *(g.tolist() for g in gradients if g is not None))

    parts, logits, value = learnt(0.75, 3.0, 1, 0.0)
    assert learnt(0.01, -1e4, 0, -20.0) == (parts, logits, value)
    assert learnt(0.99, 1e6, 1, 20.0) == (parts, logits, value)
    assert (logits[3], value[3]) == ([0.0, 0.0], 0.0)
    assert all(g != 0.0 for g in value[:2])


# One matrix product of 8 rows and one of a minibatch round differently.
ROUNDING = 1e-5


def gaps(norm: str) -> list[float]:
    """The first minibatch's |ratio - 1| of each rollout."""
    config = configured("ppo", norm=norm, epochs=2, minibatches=4, learning_rate=3e-3)
    env, learner = built(config)
    env.reset()
    return [float(m["train/first_ratio_gap"]) for m in until_learnt(env, learner, 6)]


@pytest.mark.parametrize("norm", ["none", "weight", "layer"])
def test_the_ratio_starts_at_1_where_a_network_learns_as_it_acts(norm: str) -> None:
    assert max(gaps(norm)) < ROUNDING


def test_batch_statistics_move_the_ratio_before_anything_is_learnt() -> None:
    seen = gaps("batch")
    assert min(seen) > 10 * ROUNDING
    assert max(seen) > 0.01


def test_the_clip_range_falls_in_a_line_to_0_at_the_schedules_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[float] = []

    def noting(*arguments: Any, clip: float, **others: Any) -> Loss:
        used.append(clip)
        return ppo_loss(*arguments, clip=clip, **others)

    monkeypatch.setattr(ppo, "ppo_loss", noting)
    changes = {"num_envs": 3, "rollout_steps": 4, "epochs": 2, "minibatches": 2}
    env, learner = built(configured("ppo", steps=400, clip_range=0.4, **changes))
    env.reset()
    seen: dict[int, float] = {}
    for tick in ticks(env, learner, 0, 480):
        if tick.metrics is not None:
            seen[tick.agent_steps] = used[-1]
            assert set(used[-4:]) == {used[-1]}
            assert learner.scalars()["train/clip_range"] == used[-1]
    for wanted in (12, 200, 390):
        step = min(seen, key=lambda n, to=wanted: abs(n - to))
        assert seen[step] == pytest.approx(0.4 * (1 - step / 400))
    assert seen[max(seen)] == 0.0
