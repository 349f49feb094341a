"""Hessians and Gauss-Newton matrices against closed forms and torch's own differentiation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from wnrl.instruments.curvature.coordinates import Coordinates, gains_and_vectors, weights
from wnrl.instruments.curvature.products import Products, gradient_at

Loss = Callable[[nn.Module], Tensor]
CLOSE = {"rtol": 1e-6, "atol": 1e-9}


def dense(product: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """The matrix (D, D) whose products are given."""
    return torch.stack([product(unit) for unit in torch.eye(size, dtype=torch.float64)])


def matrices(network: nn.Module, loss: Loss, coordinates: Coordinates) -> tuple[Tensor, Tensor]:
    """The Hessian and the Gauss-Newton matrix."""
    products = Products(network, loss, coordinates)
    size = len(products.gradient)
    return dense(products.hessian, size), dense(products.gauss_newton, size)


@pytest.fixture
def regression() -> tuple[nn.Linear, Tensor, Tensor, Loss]:
    """Least squares of a linear layer with 3 inputs and 1 output on 4 rows."""
    network = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, -2.0, 2.0]]))
    x = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [1, 1, 0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [0.0], [2.0], [1.0]], dtype=torch.float64)
    return network, x, y, lambda net: (net(x) - y).square().mean()


def test_least_squares_has_the_hessian_2_x_x_over_n(
    regression: tuple[nn.Linear, Tensor, Tensor, Loss],
) -> None:
    network, _, _, loss = regression
    hessian, gauss_newton = matrices(network, loss, weights(network))
    by_hand = torch.tensor([[1.0, 0.5, 0.0], [0.5, 2.5, 0.0], [0.0, 0.0, 4.5]]).double()
    torch.testing.assert_close(hessian, by_hand, **CLOSE)
    torch.testing.assert_close(gauss_newton, by_hand, **CLOSE)


def test_the_gradient_is_that_of_the_loss(
    regression: tuple[nn.Linear, Tensor, Tensor, Loss],
) -> None:
    network, x, y, loss = regression
    by_hand = (2 / 4 * x.T @ (x @ network.weight.T - y)).flatten()
    torch.testing.assert_close(Products(network, loss, weights(network)).gradient, by_hand, **CLOSE)
    named = gradient_at(network, loss, weights(network))
    torch.testing.assert_close(named["weight"].flatten(), by_hand, **CLOSE)


@pytest.mark.parametrize(("norm", "sign"), [(0.5, 1.0), (3.0, -1.0)])
def test_in_g_and_v_the_hessian_is_that_of_the_written_out_loss(
    regression: tuple[nn.Linear, Tensor, Tensor, Loss], norm: float, sign: float
) -> None:
    network, x, y, loss = regression
    one = torch.ones(1, dtype=torch.float64)
    coordinates = gains_and_vectors(network, {"": (sign * 3 * one, norm * one)})
    torch.testing.assert_close(
        coordinates.parameters(coordinates.point)["weight"], network.weight.detach(), **CLOSE
    )

    def written_out(gv: Tensor) -> Tensor:
        return (x @ (gv[0] * gv[1:] / gv[1:].square().sum().sqrt()) - y[:, 0]).square().mean()

    at = torch.cat([sign * 3 * one, sign * norm * network.weight.detach()[0] / 3])
    oracle = torch.autograd.functional.hessian(written_out, at)  # type: ignore[no-untyped-call]
    hessian, _ = matrices(network, loss, coordinates)
    torch.testing.assert_close(hessian, oracle, **CLOSE)


def test_without_vectors_v_begins_as_w(
    regression: tuple[nn.Linear, Tensor, Tensor, Loss],
) -> None:
    network, *_ = regression
    point = gains_and_vectors(network, {}).point
    assert point["weight_g"].tolist() == [[3.0]]
    torch.testing.assert_close(point["weight_v"], network.weight)


def test_a_row_of_zeros_has_finite_coordinates() -> None:
    network = nn.Linear(4, 1, bias=False).double()
    nn.init.zeros_(network.weight)
    coordinates = gains_and_vectors(network, {})
    assert coordinates.point["weight_v"].tolist() == [[0.5] * 4]
    assert coordinates.parameters(coordinates.point)["weight"].tolist() == [[0.0] * 4]


def test_logistic_regression_has_the_gauss_newton_matrix_x_p_x() -> None:
    network = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.5, -1.0]]))
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    y = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    hessian, gauss_newton = matrices(
        network,
        lambda net: functional.binary_cross_entropy_with_logits(net(x), y),
        weights(network),
    )
    p = torch.sigmoid(torch.tensor([-1.5, 2.5], dtype=torch.float64))
    by_hand = x.T @ torch.diag(p * (1 - p)) @ x / 2
    torch.testing.assert_close(gauss_newton, by_hand, **CLOSE)
    torch.testing.assert_close(hessian, by_hand, **CLOSE)


def test_gauss_newton_of_a_network_is_j_h_j_and_not_its_hessian() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    hessian, gauss_newton = matrices(
        network, lambda net: functional.cross_entropy(net(x), labels), weights(network)
    )
    names, values = zip(*network.named_parameters(), strict=True)

    def outputs(*parameters: Tensor) -> Tensor:
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(network, named, (x,)).flatten()

    parts = torch.autograd.functional.jacobian(outputs, values)  # type: ignore[no-untyped-call]
    jacobian = torch.cat([part.flatten(1) for part in parts], dim=1)  # (18, D)
    p = network(x).softmax(dim=1).detach()
    curved = torch.block_diag(*[(torch.diag(row) - torch.outer(row, row)) / 6 for row in p])
    torch.testing.assert_close(gauss_newton, jacobian.T @ curved @ jacobian, **CLOSE)
    assert (hessian - gauss_newton).abs().max() > 0.01


def test_a_loss_that_is_linear_in_the_network_has_no_gauss_newton_part() -> None:
    network = nn.Linear(2, 1).double()
    x = torch.ones(3, 2, dtype=torch.float64)
    hessian, gauss_newton = matrices(network, lambda net: net(x).mean(), weights(network))
    assert not hessian.any()
    assert not gauss_newton.any()


def test_a_loss_that_calls_the_network_twice_is_refused() -> None:
    network = nn.Linear(2, 1)
    x = torch.ones(3, 2)
    with pytest.raises(ValueError, match="called the network 2 times"):
        Products(network, lambda net: (net(x) * net(x)).mean(), weights(network))


def test_statistics_of_the_network_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    products = Products(network, lambda net: net(x).square().mean(), weights(network))
    products.hessian(products.gradient)
    torch.testing.assert_close(dict(network.named_buffers()), before, rtol=0, atol=0)


def test_where_v_is_w_the_gauss_newton_matrix_keeps_its_eigenvalues() -> None:
    """dw = (v / ||v||) dg + (g / ||v||) M_w dv turns w without stretching it where g = ||v||."""
    torch.manual_seed(2)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 0])

    def loss(net: nn.Module) -> Tensor:
        return functional.cross_entropy(net(x), labels)

    def spectrum(coordinates: Coordinates) -> Tensor:
        return torch.linalg.eigvalsh(matrices(network, loss, coordinates)[1])

    in_w, in_gv = spectrum(weights(network)), spectrum(gains_and_vectors(network, {}))
    assert len(in_gv) == len(in_w) + 6  # a gain per unit
    torch.testing.assert_close(in_gv[6:], in_w, **CLOSE)
    gain = torch.ones(4, dtype=torch.float64)
    longer = spectrum(gains_and_vectors(network, {"0": (gain, 5 * gain)}))
    assert (longer[6:] - in_w).abs().max() > 1e-3
