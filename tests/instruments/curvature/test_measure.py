"""Whole measurements: what they read, what they leave alone, and what they are invariant to."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from wnrl.instruments.curvature import Effort, Problem, measure
from wnrl.nn.exports import WNLinear
from wnrl.nn.norms.catalogue import NORMS

SMALL = Effort(iterations=8, small_rows=8)


def squared_error(network: nn.Module, inputs: tuple[Tensor, Tensor]) -> Tensor:
    """The mean squared error of the network on (x, y)."""
    x, y = inputs
    loss: Tensor = (network.train()(x) - y).square().mean()
    return loss


def problem(rows: int = 32) -> Problem:
    """Rows of 3 random numbers, and targets that depend on them."""
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(7)).double()
    return Problem(squared_error, (x, x.sum(dim=1, keepdim=True).sin()), rows)


def mlp(*between: nn.Module) -> nn.Sequential:
    """Two layers with a ReLU."""
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 6), *between, nn.ReLU(), nn.Linear(6, 1)).double()


def test_least_squares_reads_as_it_is_by_hand() -> None:
    network = nn.Sequential(nn.Linear(2, 1, bias=False)).double()
    x = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double()
    rows = Problem(squared_error, (x, torch.ones(2, 1).double()), 2)
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 3.0]]))
    read = measure(network, rows, {}, Effort(iterations=5, small_rows=1))
    assert read["hessian_largest/w"] == pytest.approx(4.0, abs=1e-6)  # diag(4, 1)
    assert read["hessian_smallest/w"] == pytest.approx(1.0, abs=1e-6)
    assert read["gauss_newton_condition/w"] == pytest.approx(4 / 2.5, abs=1e-6)
    assert read["adaptive_sharpness/w"] == pytest.approx(9.0, abs=1e-6)  # diag(1, 3) H diag(1, 3)
    # Rows' gradients (4, 0) and (0, 4): mean square 16, of the mean 8; tr 16, |G|^2 0.
    assert read["noise_trace/0"] == pytest.approx(16.0, abs=1e-6)
    assert read["gradient_squared/all"] == pytest.approx(0.0, abs=1e-6)
    assert read["covariance_top_w/0"] == pytest.approx(16.0, abs=1e-6)
    # The difference (4, -4) has the part (4 - 12) / 10 (1, 3) along w: a fifth of its square.
    assert read["covariance_removed/0"] == pytest.approx(0.2, abs=1e-6)


def test_adaptive_sharpness_ignores_factors_between_relu_layers_and_sharpness_does_not() -> None:
    network = mlp()
    scaled = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in scaled[0].parameters():
            parameter.mul_(4)
        scaled[2].weight.div_(4)
    before, after = (measure(net, problem(), {}, Effort(40, 8)) for net in (network, scaled))
    assert after["adaptive_sharpness/w"] == pytest.approx(before["adaptive_sharpness/w"], rel=1e-6)
    assert after["hessian_largest/w"] > 1.5 * before["hessian_largest/w"]


def test_storages_of_weight_norm_read_alike_in_w_and_longer_vectors_are_flatter() -> None:
    torch.manual_seed(4)
    network = nn.Sequential(WNLinear(3, 6), nn.ReLU(), nn.Linear(6, 1)).double()
    plain = mlp()
    plain.load_state_dict({**plain.state_dict(), **network[2].state_dict(prefix="2.")})
    with torch.no_grad():
        plain[0].weight.copy_(network[0].weight)
        plain[0].bias.copy_(network[0].bias)
    gain = torch.linalg.vector_norm(plain[0].weight.detach(), dim=1)
    reads = [
        measure(net, problem(), {"0": (gain, n * gain)}, Effort(60, 8))
        for net, n in ((network, 1.0), (plain, 1.0), (plain, 10.0))
    ]
    assert reads[0] == pytest.approx(reads[1], rel=1e-6, nan_ok=True)
    assert reads[2]["hessian_largest/w"] == reads[1]["hessian_largest/w"]
    assert reads[2]["covariance_top_v/0"] == pytest.approx(
        reads[1]["covariance_top_v/0"] / 100, rel=1e-6
    )


def test_nothing_changes_neither_weights_nor_statistics_nor_random_numbers() -> None:
    network = mlp(nn.BatchNorm1d(6)).eval()
    before = copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    measure(network, problem(), {}, SMALL)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_measurement_repeats() -> None:
    assert measure(mlp(), problem(), {}, SMALL) == measure(mlp(), problem(), {}, SMALL)


@pytest.mark.parametrize("name", NORMS)
def test_every_normalization_can_be_read(name: str) -> None:
    norm = NORMS[name]
    torch.manual_seed(0)
    activation = norm.activation((128,))
    between = [] if activation is None else [activation]
    network = nn.Sequential(norm.linear(3, 128), *between, nn.ReLU(), nn.Linear(128, 1))
    rows = problem()
    floats = Problem(rows.loss, tuple(x.float() for x in rows.inputs), rows.rows)
    read = measure(network, floats, {}, SMALL)
    assert read["hessian_largest/w"] > 0
    assert all(math.isfinite(value) for tag, value in read.items() if "condition" in tag)


def test_too_small_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="it must be from 1 to 8"):
        measure(mlp(), problem(16), {}, Effort(3, small_rows=9))


def test_chunks_are_a_partition() -> None:
    rows = Problem(squared_error, {"x": torch.arange(10), "scale": torch.tensor(2.0)}, 10)
    parts = rows.chunks(4, torch.Generator().manual_seed(0))
    seen = torch.cat([part.inputs["x"] for part in parts]).tolist()
    assert [part.rows for part in parts] == [4, 4]
    assert len(set(seen)) == 8
    assert parts[0].inputs["scale"] == 2.0
