"""Layer normalization over channels: flax's on NHWC, which is not CleanRL's over the whole map."""

import pytest
import torch
from torch import nn

from wnrl.nn.norms.layers.channel_norm import ChannelLayerNorm


def test_each_position_is_normalized_by_itself_on_hand_numbers() -> None:
    x = torch.tensor([[[[1.0, 10.0]], [[3.0, 30.0]]]])  # (1, 2, 1, 2): channels (1, 3) and (10, 30)
    layer = ChannelLayerNorm(2, eps=1e-12)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.0, 5.0]))
    assert layer(x).tolist() == [[[[-1.0, -1.0]], [[7.0, 7.0]]]]
    whole = nn.LayerNorm((2, 1, 2), eps=1e-12)(x)
    assert not torch.allclose(whole[..., 0], whole[..., 1])


def test_it_has_flaxs_epsilon_and_an_affine_per_channel() -> None:
    layer = ChannelLayerNorm(3)
    assert (layer.eps, layer.weight.shape, layer.bias.shape) == (1e-6, (3,), (3,))
    x = torch.full((1, 3), 2.0)
    x[0, 0] = 2.001  # variance 2.2e-7, below epsilon
    centred = x - x.mean()
    assert torch.allclose(layer(x), centred / (centred.square().mean() + 1e-6).sqrt(), rtol=1e-4)


def test_vectors_are_torchs_layer_norm_and_maps_keep_channels_last() -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ChannelLayerNorm(6)(x), nn.LayerNorm(6, eps=1e-6)(x))
    maps = torch.randn(2, 6, 3, 5).to(memory_format=torch.channels_last)
    output = ChannelLayerNorm(6)(maps)
    assert output.shape == maps.shape
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_gradients_in_float64() -> None:
    layer = ChannelLayerNorm(3).double()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


def test_another_number_of_channels_raises() -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\): expected \(B, 3\)"):
        ChannelLayerNorm(3)(torch.zeros(2, 4))
