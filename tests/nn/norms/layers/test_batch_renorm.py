"""Batch renormalization: Algorithm 1 on hand numbers, its warm-up, and what it converges to."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from wnrl.nn.norms.layers.batch_renorm import BatchRenorm, RenormLimits

AT_ONCE = RenormLimits(start_updates=0, r_end_updates=0, d_end_updates=0)
X = torch.tensor([[1.0], [3.0]])  # mu_B = 2, sigma_B = 1


def renorm(momentum: float = 0.01, **options: float) -> BatchRenorm:
    """One unit without a warm-up, whose running mean is 0 and deviation 0.5."""
    limits = dataclasses.replace(AT_ONCE, **options)  # type: ignore[arg-type]  # counts
    layer = BatchRenorm(1, 1e-12, momentum, limits)
    layer.running_var.fill_(0.25)
    layer.num_batches_tracked.fill_(1)
    return layer


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"r_max": 3.0, "d_max": 5.0}, [2.0, 6.0]),  # r = 1 / 0.5, d = (2 - 0) / 0.5: not clipped
        ({"r_max": 1.5, "d_max": 5.0}, [2.5, 5.5]),
        ({"r_max": 3.0, "d_max": 3.0}, [1.0, 5.0]),
        ({"r_max": 1.0, "d_max": 0.0}, [-1.0, 1.0]),  # batch norm
    ],
)
def test_algorithm_1_on_hand_numbers(limits: dict[str, float], expected: list[float]) -> None:
    assert renorm(**limits)(X).flatten().tolist() == pytest.approx(expected)


def test_r_is_bounded_from_below_and_d_too() -> None:
    layer = renorm(r_max=2.0, d_max=1.0)
    layer.running_var.fill_(100.0)  # r = 0.1 -> 0.5
    layer.running_mean.fill_(32.0)  # d = -3 -> -1
    assert layer(X).flatten().tolist() == pytest.approx([-1.5, -0.5])


def test_without_clipping_training_computes_what_acting_will() -> None:
    layer = renorm()
    acting = copy.deepcopy(layer).eval()
    assert torch.allclose(layer(X), acting(X))


def test_scale_and_shift_come_last() -> None:
    layer = renorm()
    with torch.no_grad():
        layer.weight.fill_(10.0)
        layer.bias.fill_(0.5)
    assert layer(X).flatten().tolist() == pytest.approx([20.5, 60.5])


def test_running_statistics_take_the_batchs_mean_and_biased_variance() -> None:
    layer = renorm(momentum=0.25)
    layer(X)
    assert layer.running_mean.item() == pytest.approx(0.5)
    assert layer.running_var.item() == pytest.approx(0.25 + 0.25 * (1.0 - 0.25))
    assert layer.num_batches_tracked.item() == 2


def test_it_is_batch_norm_until_its_start_and_then_grows_along_two_lines() -> None:
    layer = renorm(start_updates=2, r_end_updates=6, d_end_updates=4, momentum=1e-9)
    layer.num_batches_tracked.zero_()
    # r would be 2 and d 4; r_max = 1 + 2 (n - 2) / 4 and d_max = 5 (n - 2) / 2.
    seen = [layer(X).flatten().tolist() for _ in range(6)]
    assert seen[:3] == [pytest.approx([-1.0, 1.0])] * 3  # n = 0, 1, 2
    assert seen[3] == pytest.approx([2.5 - 1.5, 2.5 + 1.5])  # r_max 1.5, d_max 2.5
    assert seen[4] == pytest.approx([4.0 - 2.0, 4.0 + 2.0])  # r_max 2, d_max 5
    assert seen[5] == pytest.approx([2.0, 6.0])


def test_lines_of_no_length_are_a_switch_at_the_start() -> None:
    layer = renorm(start_updates=1, r_end_updates=1, d_end_updates=1, momentum=1e-9)
    layer.num_batches_tracked.zero_()
    assert layer(X).flatten().tolist() == pytest.approx([-1.0, 1.0])
    assert layer(X).flatten().tolist() == pytest.approx([2.0, 6.0])  # r 2 and d 4, as above


@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 5, 2)])
def test_before_its_start_it_is_torchs_batch_norm(shape: tuple[int, ...]) -> None:
    ours = BatchRenorm(3, eps=1e-5, momentum=0.1).double()
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3).double()
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    assert torch.allclose(ours.running_mean, theirs.running_mean)  # type: ignore[arg-type]


def test_gradients_take_r_and_d_for_constants() -> None:
    layer = renorm(r_max=1.5, d_max=3.0).double()  # both clipped, so that they are constants
    x = torch.tensor([[1.0], [3.0], [4.0]], dtype=torch.float64, requires_grad=True)
    start = copy.deepcopy(layer.state_dict())

    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        layer.load_state_dict(start)
        output: Tensor = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))
        return output

    inputs = (x, *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    assert torch.autograd.gradcheck(forward, inputs)


def test_acting_changes_no_buffer_and_a_state_round_trip_goes_on() -> None:
    layer = renorm()
    layer(X)
    kept = copy.deepcopy(layer.state_dict())
    layer.eval()(X + 5)
    assert all(torch.equal(kept[name], value) for name, value in layer.state_dict().items())
    other = BatchRenorm(1, eps=1e-12, limits=AT_ONCE)
    other.load_state_dict(kept)
    assert torch.equal(other(X), layer.train()(X))
    other.reset_parameters()
    assert other.running_var.item() == 1
    assert other.num_batches_tracked.item() == 0


def test_what_cannot_be_raises() -> None:
    with pytest.raises(ValueError, match="momentum is 0"):
        BatchRenorm(1, momentum=0)
    with pytest.raises(ValueError, match=r"r_max is 0\.5"):
        RenormLimits(r_max=0.5)
    for limits in ({"r_max": math.inf}, {"d_max": math.inf}, {"r_max": math.nan}):
        with pytest.raises(ValueError, match=r"(inf|nan).* must be finite"):  # they gave 0 * inf
            RenormLimits(**limits)
    with pytest.raises(ValueError, match="at least start_updates, 5"):
        RenormLimits(start_updates=5, r_end_updates=4)
    with pytest.raises(ValueError, match=r"expected \(B, 3, ...\)"):
        BatchRenorm(3)(torch.zeros(2, 4))
