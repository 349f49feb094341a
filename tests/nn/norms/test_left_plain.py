"""What `convert_` does not normalize: it says so, and breaks no tie."""

import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from wnrl._settings import UsageError
from wnrl.nn import WNConv2d, WNLinear, convert_
from wnrl.nn.weight_norm.layers import weight_norm_groups
from wnrl.optim import WNAdam


class Subclass(nn.Linear):
    """Its forward might compute something else."""


class Noisy(nn.Module):
    """A layer written by hand, with a matrix that is not called a weight and two single rows."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.ones(2, 3))
        self.positions = nn.Parameter(torch.ones(1, 2, 3))
        self.log_std = nn.Parameter(torch.ones(1, 3))


OTHERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "RNN": (lambda: nn.RNN(2, 3), "RNN has no normalized form here"),
    "Bilinear": (lambda: nn.Bilinear(2, 2, 3), "Bilinear has no normalized form here"),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(4, 2),
        "MultiheadAttention has no normalized form here; NonDynamicallyQuantizableLinear is a "
        "subclass of Linear and may compute something else",
    ),
    "LazyLinear": (lambda: nn.LazyLinear(3), "LazyLinear has no weights before its first forward"),
    "LazyConv2d": (
        lambda: nn.LazyConv2d(3, 2),
        "LazyConv2d has no weights before its first forward",
    ),
    "Subclass": (
        lambda: Subclass(2, 3),
        "Subclass is a subclass of Linear and may compute something else",
    ),
    "Linear": (
        lambda: torch.jit.trace(nn.Linear(2, 3), torch.ones(1, 2)),
        "torch.jit has compiled it; normalize the network before that",
    ),
    "ParametrizedBilinear": (
        lambda: parametrizations.orthogonal(nn.Bilinear(2, 2, 3)),
        "torch computes the weight of ParametrizedBilinear already",
    ),
}


@pytest.mark.filterwarnings("ignore:.torch.jit.trace(_method)?. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", OTHERS)
def test_a_layer_that_stays_plain_is_named_with_the_reason(name: str) -> None:
    make, reason = OTHERS[name]
    net = nn.Sequential(nn.Linear(2, 2), make())
    kind = type(net[1])
    with pytest.warns(UserWarning, match=rf"^convert_ leaves 1 \({name}\).* plain: {reason}$"):
        convert_(net)
    assert isinstance(net[0], WNLinear)
    assert type(net[1]) is kind


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.ao.quantization
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, .* are deprecated:UserWarning")
@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Linear(2, 3), "1 (DynamicQuantizedLinear)"),
        (nn.LSTM(2, 3), "1 (DynamicQuantizedLSTM)"),
        (nn.GRUCell(2, 3), "1 (DynamicQuantizedGRUCell)"),
    ],
)
def test_a_quantized_layer_is_named(layer: nn.Module, name: str) -> None:
    kinds = {type(layer)}
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Tanh(), layer), kinds)
    words = "its weights are quantized; normalize the network before that"
    with pytest.warns(UserWarning, match=rf"^convert_ leaves {re.escape(name)} plain: {words}$"):
        convert_(quantized)


def test_a_matrix_outside_of_a_layer_is_named_but_no_single_row() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Noisy(), nn.ParameterList([torch.ones(2, 2)]))
    with pytest.warns(
        UserWarning,
        match=r"^convert_ leaves 1\.mu \(Parameter\), 2\.0 \(Parameter\) plain: "
        r"a Parameter outside torch's layers has no normalized form$",
    ):
        convert_(net)


def test_many_layers_that_stay_plain_are_one_line_with_each_reason_once() -> None:
    net = nn.ModuleList([*(nn.RNN(2, 3) for _ in range(4)), Subclass(2, 3)])
    with pytest.warns(
        UserWarning,
        match=r"leaves 0 \(RNN\), 1 \(RNN\), 2 \(RNN\) and 2 more plain: RNN has no "
        r"normalized form here; Subclass is a subclass of Linear and may compute something else$",
    ):
        convert_(net)


@pytest.mark.parametrize("storage", ["gv", "w"])
def test_a_lazy_layer_is_converted_after_its_first_forward(storage: str) -> None:
    net = nn.Sequential(nn.LazyConv2d(3, 2), nn.Flatten(), nn.LazyLinear(2))
    x = torch.ones(2, 1, 3, 3)
    expected = net(x)
    convert_(net, storage=storage)
    assert [type(layer) for layer in net] == [WNConv2d, nn.Flatten, WNLinear]
    assert torch.allclose(net(x), expected)


def test_layers_that_are_left_out_or_have_no_weights_are_not_named() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.LayerNorm((2, 2)), nn.RMSNorm((2, 2)))
    net.extend([nn.LazyBatchNorm2d(), nn.PReLU(2)])
    net.append(Subclass(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert_(net, where=lambda name, layer: name != "6")
        convert_(net, where=lambda name, layer: name != "6")  # already normalized


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
    for plain, other in (("embedding", "head"), ("head", "embedding")):

        def where(name: str, layer: nn.Module, plain: str = plain) -> bool:
            return name != plain

        with pytest.raises(UsageError, match=f"'{other}' and '{plain}' share a weight"):
            convert_(net, where=where)
        assert type(net.head) is type(net.other) is nn.Linear  # nothing has changed
        assert type(net.embedding) is nn.Embedding
    convert_(net, storage="w", where=lambda name, layer: name != "embedding")
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


WRAPPED = [
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    parametrizations.orthogonal,
    torch.nn.utils.weight_norm,
    torch.nn.utils.spectral_norm,
]
hooks_are_deprecated = pytest.mark.filterwarnings(
    "ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning"
)


@hooks_are_deprecated
@pytest.mark.parametrize("storage", ["gv", "w"])
@pytest.mark.parametrize("make", [lambda: nn.Linear(3, 3), lambda: nn.ConvTranspose1d(3, 3, 2)])
@pytest.mark.parametrize("wrap", WRAPPED)
def test_a_layer_that_torch_reparametrizes_is_not_converted(
    wrap: Callable[[nn.Module], nn.Module], make: Callable[[], nn.Module], storage: str
) -> None:
    net = nn.Sequential(nn.Linear(3, 3), wrap(make()))
    kinds = [type(layer) for layer in net]
    with pytest.raises(UsageError, match=r"the weight of layer '1' .*normalized twice: .*remove"):
        convert_(net, storage=storage)
    assert [type(layer) for layer in net] == kinds
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert_(net, storage=storage, where=lambda name, layer: name == "0")
    assert type(net[0]) is WNLinear


@hooks_are_deprecated
@pytest.mark.parametrize("wrap", WRAPPED)
def test_optimizers_and_groups_do_not_take_a_layer_that_torch_reparametrizes(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    net = nn.Sequential(nn.Linear(3, 3), wrap(nn.Linear(3, 3)))
    with pytest.raises(UsageError, match="where selects '1', whose weight torch reparametrizes"):
        weight_norm_groups(net, where=lambda name, layer: True)
    groups = weight_norm_groups(net, where=lambda name, layer: name == "0")
    assert [len(group["params"]) for group in groups if group["weight_norm"]] == [1]
    WNAdam(groups)
    with pytest.raises(UsageError, match=r"WNAdam got .*normalized twice: use torch's optimizer"):
        WNAdam(net.parameters())
