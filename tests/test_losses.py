import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wnrl.losses import double_q_learning_td, huber, q_learning_td, squared

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
