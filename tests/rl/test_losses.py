import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wnrl.rl.losses import (
    clipped_surrogate,
    double_q_learning_td,
    entropy,
    huber,
    log_probabilities,
    masked_mean,
    normalized,
    policy_gradient,
    q_learning_td,
    squared,
)

# Every wrong reading of this table (another action, sum for max, no discount) gives other numbers.
Q_TM1 = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
A_TM1 = torch.tensor([2, 0])
R_T = torch.tensor([100.0, 200.0])
DISCOUNT_T = torch.tensor([0.5, 0.0])
Q_T = torch.tensor([[10.0, 70.0, 30.0], [50.0, 20.0, 90.0]])
SELECTOR = torch.tensor([[3.0, 1.0, 7.0], [9.0, 4.0, 2.0]])


def test_q_learning_bootstraps_from_the_best_next_value() -> None:
    # 100 + 0.5 * 70 - 4 and 200 + 0 - 8
    td = q_learning_td(Q_TM1, A_TM1, R_T, DISCOUNT_T, Q_T)
    assert td.tolist() == [131.0, 192.0]


def test_double_q_learning_values_what_the_selector_prefers() -> None:
    # 100 + 0.5 * 30 - 4: the selector's best is action 2, whose value is neither 70 nor 7
    td = double_q_learning_td(Q_TM1, A_TM1, R_T, DISCOUNT_T, Q_T, SELECTOR)
    assert td.tolist() == [111.0, 192.0]


def test_double_q_learning_with_one_network_is_q_learning() -> None:
    double = double_q_learning_td(Q_TM1, A_TM1, R_T, DISCOUNT_T, Q_T, Q_T)
    assert torch.equal(double, q_learning_td(Q_TM1, A_TM1, R_T, DISCOUNT_T, Q_T))


def test_targets_carry_no_gradient_and_predictions_carry_minus_one_at_the_action_taken() -> None:
    q_tm1, q_t, selector = (q.clone().requires_grad_() for q in (Q_TM1, Q_T, SELECTOR))
    for td in (
        q_learning_td(q_tm1, A_TM1, R_T, DISCOUNT_T, q_t),
        double_q_learning_td(q_tm1, A_TM1, R_T, DISCOUNT_T, q_t, selector),
    ):
        inputs = (q_tm1, q_t, selector)
        prediction, *targets = torch.autograd.grad(td.sum(), inputs, allow_unused=True)
        assert targets == [None, None]
        assert prediction.tolist() == [[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]]


def bad_arguments() -> list[tuple[str, Tensor, type[Exception]]]:
    return [
        ("q_tm1", Q_TM1[0], ValueError),
        ("q_tm1", Q_TM1.long(), TypeError),
        ("a_tm1", A_TM1[:, None], ValueError),
        ("a_tm1", A_TM1[:1], ValueError),
        ("a_tm1", A_TM1.int(), TypeError),
        ("r_t", R_T[:, None], ValueError),
        ("r_t", R_T[:1], ValueError),
        ("r_t", R_T.long(), TypeError),
        ("discount_t", DISCOUNT_T[:1], ValueError),
        ("discount_t", DISCOUNT_T > 0, TypeError),
        ("q_t", Q_T[:1], ValueError),
        ("q_t", Q_T[:, :2], ValueError),
    ]


@pytest.mark.parametrize(("name", "value", "error"), bad_arguments())
def test_q_learning_refuses_what_would_broadcast_or_cast(
    name: str, value: Tensor, error: type[Exception]
) -> None:
    arguments = {"q_tm1": Q_TM1, "a_tm1": A_TM1, "r_t": R_T, "discount_t": DISCOUNT_T, "q_t": Q_T}
    with pytest.raises(error, match=r"must (be|have|all be)|and actions"):
        q_learning_td(**(arguments | {name: value}))


@pytest.mark.parametrize("name", ["q_t_value", "q_t_selector"])
def test_double_q_learning_refuses_a_next_value_of_another_shape(name: str) -> None:
    arguments = {"q_t_value": Q_T, "q_t_selector": SELECTOR} | {name: Q_T[:, :2]}
    with pytest.raises(ValueError, match=rf"{name} must have q_tm1's shape \(2, 3\), not \(2, 2\)"):
        double_q_learning_td(Q_TM1, A_TM1, R_T, DISCOUNT_T, **arguments)


def test_huber_is_a_parabola_inside_delta_and_a_line_outside() -> None:
    # 0.5 * 1; 0.5 * 4; 2 * (6 - 1)
    assert huber(torch.tensor([1.0, -2.0, 6.0]), delta=2.0).tolist() == [0.5, 2.0, 10.0]


def test_hubers_gradient_is_the_clipped_error() -> None:
    td = torch.tensor([-3.0, -1.0, -0.25, 0.0, 0.25, 1.0, 3.0], requires_grad=True)
    (grad,) = torch.autograd.grad(huber(td).sum(), td)
    assert grad.tolist() == [-1.0, -1.0, -0.25, 0.0, 0.25, 1.0, 1.0]


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_huber_equals_torchs_huber_loss(delta: float) -> None:
    td = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = F.huber_loss(td, torch.zeros_like(td), reduction="none", delta=delta)
    torch.testing.assert_close(huber(td, delta), expected)


def test_huber_at_delta_one_equals_smooth_l1_of_prediction_and_target() -> None:
    prediction, target = torch.linspace(-5, 5, 101), torch.linspace(3, -1, 101)
    expected = F.smooth_l1_loss(prediction, target, reduction="none")
    torch.testing.assert_close(huber(target - prediction), expected)


def test_squared_is_half_of_mse_and_its_gradient_is_the_error() -> None:
    td = torch.tensor([3.0, -4.0], requires_grad=True)
    loss = squared(td)
    assert loss.tolist() == [4.5, 8.0]
    torch.testing.assert_close(
        2 * loss.mean(), F.mse_loss(td, torch.zeros_like(td)), msg="half of torch's"
    )
    (grad,) = torch.autograd.grad(loss.sum(), td)
    assert grad.tolist() == [3.0, -4.0]


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_huber_refuses_a_delta_not_above_zero(delta: float) -> None:
    with pytest.raises(ValueError, match="delta must be above 0"):
        huber(torch.zeros(1), delta)


def test_losses_refuse_integers() -> None:
    for loss in (huber, squared):
        with pytest.raises(TypeError, match="td must be floating point"):
            loss(torch.zeros(1, dtype=torch.int64))


LOGITS = torch.tensor([[0.0, math.log(2), math.log(5)], [math.log(9), 0.0, math.log(10)]])
# Shares 1, 2, 5 of 8 and 9, 1, 10 of 20.


def test_log_probabilities_are_the_logarithms_of_the_shares() -> None:
    log_prob = log_probabilities(LOGITS, torch.tensor([2, 0]))
    torch.testing.assert_close(log_prob.exp(), torch.tensor([5 / 8, 9 / 20]))


def test_entropy_is_log_a_where_nothing_is_known_and_0_where_all_is() -> None:
    logits = torch.tensor([[3.0, 3.0, 3.0, 3.0], [0.0, 200.0, 0.0, 0.0]])
    torch.testing.assert_close(entropy(logits), torch.tensor([math.log(4), 0.0]))


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_probabilities_entropies_and_their_gradients_equal_torchs_categorical(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(50, 6, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    actions = torch.randint(6, (50,), generator=generator)
    weights = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    policy = torch.distributions.Categorical(logits=logits)
    pairs = (
        (log_probabilities(logits, actions), policy.log_prob(actions), weights[0]),
        (entropy(logits), policy.entropy(), weights[1]),
    )
    for ours, torchs, weight in pairs:
        torch.testing.assert_close(ours, torchs)
        grads = [torch.autograd.grad(x @ weight, logits, retain_graph=True) for x in (ours, torchs)]
        torch.testing.assert_close(*grads)


def test_policy_gradient_pulls_by_the_advantage_and_leaves_it_alone() -> None:
    log_prob = torch.tensor([-1.0, -2.0], requires_grad=True)
    advantage = torch.tensor([3.0, -5.0], requires_grad=True)
    loss = policy_gradient(log_prob, advantage)
    assert loss.tolist() == [3.0, -10.0]
    grads = torch.autograd.grad(loss.sum(), (log_prob, advantage), allow_unused=True)
    assert grads[0].tolist() == [-3.0, 5.0]
    assert grads[1] is None


# Ratio, advantage, loss at clip 0.25, gradient by log_prob. The bound binds only where the policy
# would gain by going further: up with a good action, down with a bad one.
SURROGATE = [
    (1.0, 8.0, -8.0, -8.0),
    (1.125, 8.0, -9.0, -9.0),
    (2.0, 8.0, -10.0, 0.0),
    (0.5, 8.0, -4.0, -4.0),
    (1.0, -8.0, 8.0, 8.0),
    (2.0, -8.0, 16.0, 16.0),
    (0.5, -8.0, 6.0, 0.0),
    (0.875, -8.0, 7.0, 7.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "loss", "gradient"), SURROGATE)
def test_the_surrogate_is_clipped_and_flat_on_the_side_that_would_gain(
    ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    old = torch.tensor([-3.0], dtype=torch.float64, requires_grad=True)
    new = (old.detach() + math.log(ratio)).requires_grad_()
    gain = torch.tensor([advantage], dtype=torch.float64, requires_grad=True)
    losses = clipped_surrogate(new, old, gain, 0.25)
    assert losses.item() == pytest.approx(loss, rel=1e-12)
    grads = torch.autograd.grad(losses.sum(), (new, old, gain), allow_unused=True)
    assert grads[0].item() == pytest.approx(gradient, rel=1e-12)
    assert grads[1:] == (None, None)


def test_a_clip_of_0_leaves_only_what_would_lose() -> None:
    ratio = torch.tensor([2.0, 0.5, 2.0, 0.5])
    losses = clipped_surrogate(ratio.log(), torch.zeros(4), torch.tensor([8.0, 8, -8, -8]), 0.0)
    assert losses.tolist() == pytest.approx([-8, -4, 16, 8])


def test_the_surrogate_equals_equation_7() -> None:
    generator = torch.Generator().manual_seed(0)
    new, old, advantage = torch.randn(3, 200, generator=generator, dtype=torch.float64)
    losses = clipped_surrogate(new, old, advantage, 0.2)
    for theta, theta_old, a, loss in zip(
        new.tolist(), old.tolist(), advantage.tolist(), losses.tolist(), strict=True
    ):
        r = math.exp(theta) / math.exp(theta_old)
        clipped = min(max(r, 1 - 0.2), 1 + 0.2)
        assert loss == pytest.approx(-min(r * a, clipped * a), rel=1e-12)


def test_masked_mean_counts_what_is_valid_only() -> None:
    x = torch.tensor([[1.0, 4.0, math.nan], [math.inf, 7.0, 100.0]], requires_grad=True)
    valid = torch.tensor([[True, True, False], [False, True, False]])
    mean = masked_mean(x, valid)
    assert mean.item() == 4.0
    (grad,) = torch.autograd.grad(mean, x)
    torch.testing.assert_close(grad, valid / 3)


def test_masked_mean_of_nothing_is_0() -> None:
    assert masked_mean(torch.full((3,), math.nan), torch.zeros(3, dtype=torch.bool)).item() == 0.0


def test_normalized_equals_stable_baselines3s_formula_on_valid_rows() -> None:
    advantage = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    valid = torch.arange(40) % 3 != 1
    counted = advantage[valid]
    expected = (counted - counted.mean()) / (counted.std() + 1e-8)
    result = normalized(torch.where(valid, advantage, math.nan), valid)
    torch.testing.assert_close(result[valid], expected, rtol=1e-12, atol=1e-14)
    assert (result[~valid] == 0).all()


@pytest.mark.parametrize(
    ("valid", "expected"),
    [([False, True, False], [0.0, 7.0, 0.0]), ([False] * 3, [0.0] * 3)],
)
def test_a_single_advantage_is_left_as_it_is(valid: list[bool], expected: list[float]) -> None:
    result = normalized(torch.tensor([math.nan, 7.0, 9.0]), torch.tensor(valid))
    assert result.tolist() == expected


def test_equal_advantages_become_0() -> None:
    result = normalized(torch.full((3,), 7.0), torch.tensor([True, True, False]))
    assert result.tolist() == [0.0, 0.0, 0.0]


B = torch.zeros(3)
BOOL = torch.zeros(3, dtype=torch.bool)
REFUSED: list[tuple[Callable[..., Tensor], tuple[Any, ...], type[Exception]]] = [
    (log_probabilities, (B, BOOL.long()), ValueError),
    (log_probabilities, (LOGITS, torch.tensor([[0], [1]])), ValueError),
    (log_probabilities, (LOGITS, torch.tensor([0, 1], dtype=torch.int32)), TypeError),
    (log_probabilities, (LOGITS.long(), torch.tensor([0, 1])), TypeError),
    (entropy, (B,), ValueError),
    (entropy, (LOGITS.long(),), TypeError),
    (policy_gradient, (B, B[:1]), ValueError),
    (policy_gradient, (B[:, None], B[:, None]), ValueError),
    (policy_gradient, (B, BOOL), TypeError),
    (clipped_surrogate, (B, B, B[:, None], 0.1), ValueError),
    (clipped_surrogate, (B, B[:1], B, 0.1), ValueError),
    (clipped_surrogate, (B, B.long(), B, 0.1), TypeError),
    (clipped_surrogate, (B, B, B, -0.1), ValueError),
    (clipped_surrogate, (B, B, B, math.nan), ValueError),
    (masked_mean, (B, BOOL[:1]), ValueError),
    (masked_mean, (B, B), TypeError),
    (masked_mean, (BOOL, BOOL), TypeError),
    (normalized, (B, BOOL[:1]), ValueError),
    (normalized, (B[:, None], BOOL[:, None]), ValueError),
    (normalized, (B, B), TypeError),
    (normalized, (B.long(), BOOL), TypeError),
]


@pytest.mark.parametrize(("function", "arguments", "error"), REFUSED)
def test_policy_losses_refuse_what_would_broadcast_or_cast(
    function: Callable[..., Tensor], arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"must (be|have)"):
        function(*arguments)
