"""Parameters whose rows are not the weights of an output unit, which WNAdam must not take."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from wnrl._settings import UsageError
from wnrl.nn import WNConv2d, WNLinear, weight_norm_groups
from wnrl.optim import WNSGD, WNAdam

LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(3, 2),
    lambda: nn.Linear(1, 2, bias=False),
    lambda: nn.Conv2d(3, 2, 2),
]


def trained(net: nn.Module, example: torch.Tensor) -> nn.Module:
    """Take a step, after which a gain is no longer the norm of its vector."""
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    net(example).square().sum().backward()
    optimizer.step()
    return net


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("wrap", [torch.nn.utils.weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("steps", [0, 1])
def test_torch_s_own_weight_norm_is_not_normalized_twice(
    wrap: Callable[..., nn.Module], dim: int | None, steps: int
) -> None:
    for make, example in zip(LAYERS, ((4, 3), (4, 1), (4, 3, 2, 2)), strict=True):
        net = nn.Sequential(wrap(make(), dim=dim))
        if steps:
            trained(net, torch.rand(example))
        with pytest.raises(UsageError, match=r"WNAdam got a gain of shape .* normalized twice"):
            WNAdam(net.parameters())


def test_a_gain_is_known_by_its_values_if_its_layer_is_gone() -> None:
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    alone = [nn.Parameter(parameter.detach()) for parameter in layer.parameters()]
    with pytest.raises(UsageError, match=r"got a gain of shape \(2, 1\)"):
        WNAdam(alone)


TRANSPOSED: list[nn.Module] = [
    nn.ConvTranspose2d(3, 5, 2),
    nn.ConvTranspose2d(4, 4, 2),
    nn.ConvTranspose2d(3, 5, 2, bias=False),
    nn.ConvTranspose1d(4, 4, 2, groups=2),
]


@pytest.mark.parametrize("layer", TRANSPOSED, ids=str)
def test_the_kernel_of_a_transposed_convolution_is_refused(layer: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"WNSGD got the weight .* of a transposed convolution"):
        WNSGD(layer.parameters())
    for group in WNAdam(weight_norm_groups(layer)).param_groups:  # as the message says
        assert not group["weight_norm"]


def test_ordinary_layers_are_taken() -> None:
    nets: list[nn.Module] = [
        nn.Sequential(nn.Linear(1, 4, bias=False), nn.Linear(4, 4, bias=False)),
        nn.Conv2d(4, 4, 2),
        nn.Conv2d(3, 5, 2, bias=False),
        nn.LSTM(1, 2, bias=False),
        nn.Sequential(WNLinear(3, 2, storage="w"), WNConv2d(2, 2, 2, storage="w")),
        nn.Sequential(nn.Linear(1, 4, bias=False), nn.Linear(4, 4, bias=False)),
    ]
    for parameter in nets[-1].parameters():
        nn.init.zeros_(parameter)  # every norm is 0, and so is what stands before it
    for net in nets:
        assert len(WNAdam(net.parameters()).param_groups) == 1
    everything = itertools.chain.from_iterable(net.parameters() for net in nets)
    WNAdam(everything)
    with torch.device("meta"):
        WNAdam(nets[0].to("meta").parameters())
