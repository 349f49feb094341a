"""What `convert_` does not normalize: it says so, and breaks no tie."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from wnrl._settings import UsageError
from wnrl.nn import WNLinear, convert_
from wnrl.nn.weight_norm.layers import weight_norm_groups


class Subclass(nn.Linear):
    """Its forward might compute something else."""


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "GRU": lambda: nn.GRU(2, 3),
    "LSTMCell": lambda: nn.LSTMCell(2, 3),
    "Bilinear": lambda: nn.Bilinear(2, 2, 3),
    "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2),
    "ParametrizedLinear": lambda: parametrizations.weight_norm(nn.Linear(2, 3)),
    "LazyLinear": lambda: nn.LazyLinear(3),
    "LazyConv2d": lambda: nn.LazyConv2d(3, 2),
    "Subclass": lambda: Subclass(2, 3),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_layer_that_stays_plain_is_named(name: str) -> None:
    net = nn.Sequential(nn.Linear(2, 2), OTHERS[name]())
    kind = type(net[1])
    with pytest.warns(UserWarning, match=rf"convert_ leaves 1 \({name}\).* plain") as caught:
        convert_(net)
    assert "\n" not in str(caught[0].message)
    assert isinstance(net[0], WNLinear)
    assert type(net[1]) is kind


def test_layers_that_are_left_out_or_have_no_weights_are_not_named() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.LayerNorm(2), nn.Embedding(3, 2))
    net.append(Subclass(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert_(net, where=lambda name, layer: name != "4")
        convert_(net, where=lambda name, layer: name != "4")  # already normalized


class Tied(nn.Module):
    """An embedding, a linear layer with the same weight, and another linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5)
        self.other = nn.Linear(3, 5)
        self.head.weight = self.embedding.weight


def test_a_tie_to_a_layer_that_stays_plain_is_kept_or_refused() -> None:
    net = Tied()
    with pytest.raises(UsageError, match="'head' and 'embedding' share a weight"):
        convert_(net)
    assert type(net.head) is type(net.other) is nn.Linear  # nothing has changed
    convert_(net, storage="w")
    assert net.head.weight is net.embedding.weight
    net = Tied()
    convert_(net, where=lambda name, layer: name == "other")
    assert net.head.weight is net.embedding.weight
    net.other.weight_v  # noqa: B018  # converted


def test_a_tie_to_a_linear_layer_that_is_left_out_is_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    with pytest.raises(UsageError, match="'0' and '1' share a weight"):
        convert_(net, where=lambda name, layer: name == "0")


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [
        parametrizations.weight_norm,
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
        parametrizations.orthogonal,
    ],
)
def test_groups_do_not_take_a_layer_that_torch_reparametrizes(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    net = nn.Sequential(nn.Linear(3, 3), wrap(nn.Linear(3, 3)))
    with pytest.raises(UsageError, match="where selects '1', whose weight torch reparametrizes"):
        weight_norm_groups(net, where=lambda name, layer: True)
    groups = weight_norm_groups(net, where=lambda name, layer: name == "0")
    assert [len(group["params"]) for group in groups if group["weight_norm"]] == [1]
