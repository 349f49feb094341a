"""Layers of other normalizations as plain layers: folded, or loaded from torch's checkpoints."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from wnrl.nn import (
    ProjectedConv2d,
    ProjectedLinear,
    SpectralConv2d,
    SpectralLinear,
    StandardizedConv2d,
    StandardizedLinear,
    fold_,
)

LAYERS: list[tuple[Any, type[nn.Module]]] = [
    (SpectralLinear, nn.Linear),
    (SpectralConv2d, nn.Conv2d),
    (StandardizedLinear, nn.Linear),
    (StandardizedConv2d, nn.Conv2d),
    (ProjectedLinear, nn.Linear),
    (ProjectedConv2d, nn.Conv2d),
]


def sizes(plain: type[nn.Module]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return ((4, 3), (2, 4)) if plain is nn.Linear else ((2, 3, 2), (2, 2, 4, 4))


@pytest.mark.parametrize(("kind", "plain"), LAYERS)
def test_a_folded_layer_computes_what_the_layer_did_in_acting(
    kind: Any, plain: type[nn.Module]
) -> None:
    arguments, shape = sizes(plain)
    net = nn.Sequential(kind(*arguments))
    net[0].bias.requires_grad_(False)
    x = torch.linspace(-1, 1, int(torch.Size(shape).numel())).reshape(shape)
    net(x)  # in training mode, which moves Spectral's u
    expected = net.eval()(x)
    net.train()
    layer = net[0]
    assert fold_(net)[0] is layer
    assert type(layer) is plain
    assert layer.training
    torch.testing.assert_close(net(x), expected)
    assert repr(layer) == repr(plain(*arguments))
    assert net.state_dict().keys() == nn.Sequential(plain(*arguments)).state_dict().keys()
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


@pytest.mark.parametrize("wrap", [torch.nn.utils.spectral_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize(("kind", "plain"), LAYERS[:2])
def test_torchs_spectral_checkpoints_load(
    kind: Any, plain: type[nn.Module], wrap: Callable[..., nn.Module]
) -> None:
    arguments, shape = sizes(plain)
    x = torch.linspace(-1, 1, int(torch.Size(shape).numel())).reshape(shape)
    theirs = nn.Sequential(wrap(plain(*arguments), n_power_iterations=50))
    theirs(x)  # u converges
    ours = nn.Sequential(kind(*arguments))
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
