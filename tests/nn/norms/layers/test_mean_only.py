"""Mean-only batch normalization: hand numbers, the centred gradient, and the running mean."""

import pytest
import torch
from torch import nn

from wnrl.nn.norms.layers.mean_only import MeanOnlyBatchNorm
from wnrl.nn.weight_norm.layers import WNLinear

ROUNDING_64 = 1e-12  # float64 sums of tens of terms


def test_hand_numbers_in_training_and_in_eval_mode() -> None:
    layer = MeanOnlyBatchNorm(2, momentum=0.25)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 10.0]))
    t = torch.tensor([[0.0, 4.0], [8.0, 4.0]])
    assert torch.equal(layer(t), torch.tensor([[-3.0, 10.0], [5.0, 10.0]]))
    assert torch.equal(layer.running_mean, torch.tensor([1.0, 1.0]))  # a quarter of (4, 4)
    layer.eval()
    assert torch.equal(layer(t), torch.tensor([[0.0, 13.0], [8.0, 13.0]]))
    assert torch.equal(layer.running_mean, torch.tensor([1.0, 1.0]))
    layer.reset_parameters()
    assert torch.equal(layer(t), t)


def test_the_gradient_is_centred() -> None:
    t = torch.zeros(4, 1, requires_grad=True)
    upstream = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    layer = MeanOnlyBatchNorm(1)
    layer(t).backward(upstream)
    assert torch.equal(t.grad, upstream - 3.0)  # type: ignore[arg-type]  # it was made
    assert torch.equal(layer.bias.grad, torch.tensor([12.0]))  # type: ignore[arg-type]  # as above


def test_images_have_one_mean_per_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    x = x.to(memory_format=torch.channels_last)
    y = MeanOnlyBatchNorm(2, dtype=torch.float64)(x)
    assert torch.allclose(y.mean(dim=(0, 2, 3)), torch.zeros(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(y - x, (y - x)[:1, :, :1, :1].expand_as(x), rtol=ROUNDING_64)
    assert y.stride() == x.stride()


def test_means_are_torchs_batch_norms() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours, theirs = MeanOnlyBatchNorm(3).double(), nn.BatchNorm1d(3, eps=1e-15).double()
    for batch in (x, 2 * x + 1):
        y, standard = ours(batch), theirs(batch)
        assert torch.allclose(y / batch.std(0, correction=0), standard, rtol=1e-9)
    assert torch.allclose(ours.running_mean, theirs.running_mean, rtol=ROUNDING_64)  # type: ignore[arg-type]  # tracked


def test_with_weight_norm_the_output_has_deviation_g_on_white_inputs() -> None:
    # Section 4: for whitened inputs t = w.x has variance g^2, so nothing is left to divide by.
    x = torch.eye(4, dtype=torch.float64).repeat(2, 1) * 2
    x[4:] *= -1  # mean 0, covariance the identity
    layer = WNLinear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_g.copy_(torch.tensor([[0.5], [2.0], [3.0]]))
        layer.bias.fill_(7.0)  # the mean takes it away
    y = MeanOnlyBatchNorm(3).double()(layer(x))
    expected = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    assert torch.allclose(y.mean(0), torch.zeros(3, dtype=torch.float64), atol=ROUNDING_64)
    assert torch.allclose(y.std(0, correction=0), expected, rtol=1e-9)


def test_shapes_single_values_and_momenta_that_cannot_be_raise() -> None:
    layer = MeanOnlyBatchNorm(3)
    with pytest.raises(ValueError, match=r"\(2, 4\).*3"):
        layer(torch.ones(2, 4))
    with pytest.raises(ValueError, match="two or more values"):
        layer(torch.ones(1, 3))
    assert layer.eval()(torch.ones(1, 3)).shape == (1, 3)
    with pytest.raises(ValueError, match="momentum is 0"):
        MeanOnlyBatchNorm(3, momentum=0)
