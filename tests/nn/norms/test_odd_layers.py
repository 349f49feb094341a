"""Odd layers and networks: converted with the same function, left plain with a reason, or refused.

`CONVERTED` and `PLAIN` go through everything that people do with a network: copies, checkpoints,
other parameters, replicas, training, and back to plain layers.
"""

import copy
import pickle
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from wnrl._settings import UsageError
from wnrl.nn import (
    SpectralLinear,
    StandardizedConv2d,
    WNEmbedding,
    WNLinear,
    convert_,
    fold_,
    weight_norm_groups,
)
from wnrl.nn.weight_norm.parametrization import WeightNormalized
from wnrl.optim import WNAdam

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

STORAGES = ["gv", "w"]
# Sums of tens of terms, of which w is one rounding off; float16 and bfloat16 round g and v too.
PRECISION = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}


class Odd(NamedTuple):
    """A network, an input, and what becomes of it."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]  # of the input
    layers: int = 1  # that get weight normalization
    warning: str = ""  # of convert_
    learns: bool = True  # the output changes with a step
    refusal: str = ""  # of WNAdam


class Residual(nn.Module):
    """Containers inside containers, a matrix in a list of Parameters, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleDict({"fc": nn.Linear(3, 3)}) for _ in range(2)])
        self.scales = nn.ParameterList([torch.ones(3, 3), torch.ones(3)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block["fc"](x)  # type: ignore[index]  # a ModuleDict
        return x @ self.scales[0] * self.scales[1]


class Squared(nn.Linear):
    """A subclass of Linear with another forward."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.weight.square(), self.bias)


class Noisy(nn.Module):
    """A layer written by hand, as in Rainbow."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_mu = nn.Parameter(torch.full((3, 3), 0.1))
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.fc(x @ self.weight_mu.T)
        return output


class Language(nn.Module):
    """An embedding, with padding, whose weight is also the output layer's."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3, padding_idx=0)
        self.head = nn.Linear(3, 5)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.embedding((5 * x.abs()).long().clamp(max=4)))
        return output


class Attention(nn.Module):
    """Attention to itself between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        output: Tensor = self.last(self.attention(x, x, x)[0])
        return output


class Pairs(nn.Module):
    """A bilinear layer after a linear one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.pair = nn.Linear(3, 3), nn.Bilinear(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x)
        output: Tensor = self.pair(x, x)
        return output


class Bags(nn.Module):
    """Sums of embeddings before a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.fc = nn.EmbeddingBag(5, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.fc(self.bag((2 * x.abs()).long()))
        return output


def changed(layer: nn.Module, change: Callable[[Tensor], Any]) -> nn.Module:
    """Change a layer's weight in place."""
    with torch.no_grad():
        change(layer.weight)  # type: ignore[arg-type]  # a Tensor
    return layer


def frozen(layer: nn.Module) -> nn.Module:
    return layer.requires_grad_(False)


def shared() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer)


def tied() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3, bias=False))
    net[2].weight = net[0].weight
    return net


def with_strides_of_columns() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())
    return layer


def pruned(permanent: bool) -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 2))
    prune.l1_unstructured(net[0], "weight", 4)
    return nn.Sequential(prune.remove(net[0], "weight")) if permanent else net


def lazy(materialized: bool) -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 3), nn.LazyLinear(2))
    if materialized:
        net(torch.ones(1, 3))
    return net


def doubled(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return 2 * output


def hooked() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.register_forward_hook(doubled)
    return layer


CONVERTED: dict[str, Odd] = {
    "grouped": Odd(lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "depthwise": Odd(lambda: nn.Conv1d(3, 3, 2, groups=3), (2, 3, 5)),
    "dilated": Odd(lambda: nn.Conv2d(2, 3, 2, stride=2, dilation=2), (2, 2, 6, 6)),
    "same": Odd(lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 2, 4, 4)),
    "circular": Odd(lambda: nn.Conv1d(2, 3, 3, padding=1, padding_mode="circular"), (2, 2, 5)),
    "reflect": Odd(lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 2, 4, 4)),
    "replicate": Odd(
        lambda: nn.Conv3d(1, 2, 2, padding=1, padding_mode="replicate"), (2, 1, 2, 3, 2)
    ),
    "transposed": Odd(
        lambda: nn.ConvTranspose2d(4, 6, 2, 2, output_padding=1, groups=2), (2, 4, 3, 3)
    ),
    "channels_last": Odd(
        lambda: nn.Conv2d(2, 3, 2).to(memory_format=torch.channels_last), (2, 2, 4, 4)
    ),
    "one channel": Odd(lambda: nn.Conv2d(1, 1, 1), (2, 1, 3, 3)),
    "one unit": Odd(lambda: nn.Linear(1, 1), (4, 1)),
    "without batch": Odd(lambda: nn.Linear(3, 2), (3,)),
    "empty batch": Odd(lambda: nn.Linear(3, 2), (0, 3), learns=False),
    "without bias": Odd(lambda: nn.Linear(3, 2, bias=False), (4, 3)),
    "frozen": Odd(lambda: frozen(nn.Linear(3, 2)), (4, 3), learns=False),
    "shared module": Odd(shared, (4, 3)),
    "tied": Odd(tied, (4, 3), layers=2),
    "embedding": Odd(lambda: Language(tied=False), (2, 4), layers=2),
    "tied embedding": Odd(lambda: Language(tied=True), (2, 4), layers=2),
    "zero row": Odd(lambda: changed(nn.Linear(3, 2), lambda w: w[1].zero_()), (4, 3)),
    "zeros": Odd(lambda: changed(nn.Linear(3, 2), lambda w: w.zero_()), (4, 3)),
    "columns": Odd(
        with_strides_of_columns, (4, 3), refusal=r"units must be one after another in memory"
    ),
    "double": Odd(lambda: nn.Linear(3, 2).double(), (4, 3)),
    "bfloat16": Odd(lambda: nn.Linear(3, 2).bfloat16(), (4, 3)),
    "half": Odd(lambda: nn.Linear(3, 2).half(), (4, 3), refusal=r"float16: .*use autocast"),
    "nested": Odd(
        lambda: nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(3, 3))), nn.Linear(3, 2)),
        (4, 3),
        layers=2,
    ),
    "layer norm": Odd(
        lambda: nn.Sequential(nn.Linear(3, 3), nn.LayerNorm((4, 3)), nn.BatchNorm1d(3)).eval(),
        (4, 3),
    ),
    "lazy, made": Odd(lambda: lazy(True), (4, 3), layers=2),
    "pruned, removed": Odd(lambda: pruned(True), (4, 3)),
    "hooked": Odd(hooked, (4, 3)),
    "projected LSTM": Odd(lambda: nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), (5, 2, 3)),
    "cell": Odd(lambda: nn.GRUCell(3, 4, bias=False), (2, 3)),
}
FORM, LIKE = "has no normalized form here", "and may compute something else"
PLAIN: dict[str, Odd] = {
    "containers": Odd(
        Residual, (4, 3), layers=2, warning="convert_ leaves scales.0 (Parameter) plain: a Param"
    ),
    "subclass": Odd(
        lambda: nn.Sequential(nn.Linear(3, 3), Squared(3, 2)), (4, 3), warning=f"Linear {LIKE}"
    ),
    "by hand": Odd(Noisy, (4, 3), warning=f"the module (Noisy) plain: Noisy {FORM}"),
    "attention": Odd(Attention, (2, 5, 4), layers=2, warning=f"MultiheadAttention {FORM}"),
    "transformer": Odd(
        lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, dropout=0.0),
        (2, 5, 4),
        layers=2,
        warning="self_attn (MultiheadAttention), self_attn.out_proj (NonDyn",
    ),
    "bilinear": Odd(Pairs, (4, 3), warning=f"pair (Bilinear) plain: Bilinear {FORM}"),
    "bags": Odd(Bags, (4, 3), warning=f"bag (EmbeddingBag) plain: EmbeddingBag {FORM}"),
    "RNN": Odd(lambda: nn.RNN(3, 2), (4, 2, 3), layers=0, warning=f"RNN {FORM}"),
    "spectral": Odd(
        lambda: nn.Sequential(nn.Linear(3, 3), SpectralLinear(3, 2)).eval(),
        (4, 3),
        warning=f"SpectralLinear is a subclass of Linear {LIKE}",
    ),
    "standardized": Odd(
        lambda: StandardizedConv2d(2, 3, 2), (2, 2, 4, 4), layers=0, warning=f"Conv2d {LIKE}"
    ),
}
ODD = {**CONVERTED, **PLAIN}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network, always the same, and its input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ODD[name].make()
    x = torch.linspace(-1, 1, torch.Size(ODD[name].shape).numel()).reshape(ODD[name].shape)
    return net, x.to(next(net.parameters()).dtype)


def converted(name: str, storage: str) -> tuple[nn.Module, Tensor]:
    """Return the network with weight normalization, after the warning that is expected."""
    net, x = made(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        convert_(net, storage=storage)
    assert [ODD[name].warning in str(warning.message) for warning in caught] == (
        [True] if ODD[name].warning else []
    )
    return net, x


def output(net: nn.Module, x: Tensor) -> Tensor:
    result = net(x)
    first: Tensor = result[0] if isinstance(result, tuple) else result
    return first


def assert_same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=PRECISION.get(other.dtype, 0))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ODD)
def test_an_odd_network_computes_the_same_when_converted_and_folded(
    name: str, storage: str
) -> None:
    plain, x = made(name)
    net, expected = converted(name, storage)[0], output(plain, x)
    assert sum(isinstance(layer, WeightNormalized) for layer in net.modules()) == ODD[name].layers
    assert_same(output(net, x), expected)
    assert [p.requires_grad for p in net.parameters()].count(False) == (
        {"gv": 3, "w": 2}[storage] if name == "frozen" else 0
    )
    assert repr(fold_(net)) == repr(fold_(plain))
    assert_same(output(net, x), expected)
    for key, value in plain.state_dict().items():
        assert_same(net.state_dict()[key], value)
        assert torch.equal(net.state_dict()[key] == 0, value == 0), key  # rows of zeros


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ODD)
def test_an_odd_network_is_copied_pickled_loaded_and_called_with_other_parameters(
    name: str, storage: str
) -> None:
    net, x = converted(name, storage)
    with torch.no_grad():  # attention rounds otherwise where a gradient is needed
        expected = output(net, x)
        loaded = converted(name, storage)[0]
        for parameter in loaded.parameters():
            parameter.add_(1.0)
        given = dict(net.named_parameters())
        called = torch.func.functional_call(loaded, given, (x,), tie_weights=True)
        assert torch.equal(called[0] if isinstance(called, tuple) else called, expected)
        loaded.load_state_dict(net.state_dict())
        for other in (loaded, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(output(other, x), expected)
            assert len(list(other.parameters())) == len(list(net.parameters()))  # ties hold


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ODD)
def test_replicas_of_data_parallel_compute_the_same(
    name: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broadcast(tensors: list[Tensor], devices: list[int], detach: bool) -> Any:
        return [[tensor.clone() for tensor in tensors] for _ in devices]

    module = import_module("torch.nn.parallel.replicate")
    monkeypatch.setattr(module, "_broadcast_coalesced_reshape", broadcast)
    net, x = converted(name, storage)
    for replica in module.replicate(net, [0, 1]):
        assert replica is not net
        result = output(replica, x)
        assert torch.equal(result, output(net, x))
    if ODD[name].learns:  # gradients arrive at the Parameters
        result.float().square().sum().backward()
        assert any(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ODD)
def test_an_odd_network_learns(
    name: str, storage: str, choose_backend: Callable[[str], None]
) -> None:
    choose_backend("aten")
    case, (net, x) = ODD[name], converted(name, storage)
    if case.refusal and storage == "w":
        with pytest.raises(ValueError, match=case.refusal):
            WNAdam(weight_norm_groups(net))
        return
    optimizer: torch.optim.Optimizer
    if storage == "w":
        optimizer = WNAdam(weight_norm_groups(net), 0.1)
    else:
        optimizer = torch.optim.Adam(net.parameters(), 0.1)
    before = output(net, x)
    if before.requires_grad:
        (before.float() - 1).square().sum().backward()
    optimizer.step()
    after = output(net, x)
    assert torch.isfinite(after).all()
    assert torch.equal(after, before) != case.learns


@pytest.mark.parametrize("name", ["grouped", "transposed", "embedding", "projected LSTM", "cell"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_network_on_meta_is_converted_and_loaded(name: str, storage: str) -> None:
    plain, x = made(name)
    with torch.device("meta"):
        net = convert_(ODD[name].make(), storage=storage)
    net.to_empty(device="cpu")
    net.load_state_dict(plain.state_dict())
    assert_same(output(net, x), output(plain, x))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "complex": (
        lambda: nn.Linear(3, 2, dtype=torch.complex64),
        r"weight of layer '1' is \(2, 3\) torch.complex64: .*real floating-point type; keep",
    ),
    "no units": (lambda: nn.Linear(3, 0), r"'1' is \(0, 3\) torch.float32: .*one element"),
    "no inputs": (lambda: nn.Linear(0, 3), r"'1' is \(3, 0\) torch.float32: .*one element"),
    "no channels": (lambda: nn.Conv2d(0, 3, 2), r"'1' is \(3, 0, 2, 2\) torch.float32"),
    "pruned": (lambda: pruned(False), r"'1.0' has no Parameter weight: .*prune\.remove"),
    "torch's weight norm": (
        lambda: parametrizations.weight_norm(nn.Linear(3, 2)),
        r"'1' .*normalized twice: first remove that",
    ),
    "torch's weight norm of an embedding": (
        lambda: parametrizations.weight_norm(nn.Embedding(3, 2)),
        r"'1' .*normalized twice: first remove that",
    ),
    "sparse": (lambda: nn.Embedding(3, 2, sparse=True), "has sparse=True"),
}


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_normalized_is_refused_and_nothing_changes(name: str, storage: str) -> None:
    make, words = REFUSED[name]
    net = nn.Sequential(nn.Linear(3, 3), make())
    kinds, parameters = [type(layer) for layer in net.modules()], list(net.parameters())
    with pytest.raises(UsageError, match=words) as refusal:
        convert_(net, storage=storage)
    assert "\n" not in str(refusal.value)
    assert [type(layer) for layer in net.modules()] == kinds
    assert list(map(id, net.parameters())) == list(map(id, parameters))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert_(net, storage=storage, where=lambda name, layer: not name.startswith("1"))
    assert isinstance(net[0], WeightNormalized)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op:UserWarning")
def test_a_layer_is_not_built_with_a_weight_that_has_no_norm() -> None:
    for make, words in (
        (lambda: WNLinear(3, 0), r"weight of a WNLinear is \(0, 3\) torch.float32: "),
        (lambda: WNEmbedding(0, 3), r"weight of a WNEmbedding is \(0, 3\) torch.float32: "),
        (lambda: WNLinear(3, 2, dtype=torch.complex64), r"weight of a WNLinear is .*complex64: "),
    ):
        with pytest.raises(UsageError, match=words + ".*needs at least one element and a real"):
            make()


@pytest.mark.parametrize("storage", STORAGES)
def test_a_tie_of_a_convolution_to_a_transposed_one_is_refused(storage: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ConvTranspose2d(4, 3, 2))
    net[1].weight = net[0].weight
    words = r"'0' and '1' share a weight, whose output channels are on axis 0 in the first and 1"
    with pytest.raises(UsageError, match=words):
        convert_(net, storage=storage)
    with pytest.raises(UsageError, match=r"'1' shares the weight \(4, 3, 2, 2\) of another layer"):
        weight_norm_groups(net, where=lambda name, layer: True)
    convert_(net, storage="w", where=lambda name, layer: name == "0")
    assert [group["weight_norm"] for group in weight_norm_groups(net)] == [True, False]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.ao.quantization
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, .* are deprecated:UserWarning")
def test_a_quantized_network_stays_and_a_folded_one_is_quantized() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    quantized, x = torch.ao.quantization.quantize_dynamic(net), torch.ones(2, 3)
    expected, kinds = quantized(x), [type(layer) for layer in quantized]
    with pytest.warns(
        UserWarning, match=r"0 \(DynamicQuantizedLinear\), 2 .*plain: its weights are"
    ):
        assert [type(layer) for layer in convert_(quantized)] == kinds
    assert torch.equal(quantized(x), expected)
    folded = torch.ao.quantization.quantize_dynamic(fold_(convert_(net)))
    assert [type(layer) for layer in folded] == kinds
    torch.testing.assert_close(folded(x), expected, rtol=0, atol=0.01)  # steps of 8 bits


@pytest.mark.slow
def test_a_tied_language_model_compiles_in_one_graph() -> None:
    net = convert_(Language(tied=True))
    x = torch.linspace(0, 1, 8).reshape(2, 4)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), net(x))
