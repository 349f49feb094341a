"""Embeddings: one gain per row, padding that stays zero, and ties to an output layer."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from wnrl._settings import UsageError
from wnrl.nn import (
    WNEmbedding,
    WNLinear,
    convert_,
    export_gv,
    fold_,
    frozen_weights,
    shared_weights,
    to_gv_,
    to_w_,
    weight_norm_groups,
)
from wnrl.optim import WNSGD, WNAdam

STORAGES = ["gv", "w"]
ROUNDING_64 = 1e-12  # float64 sums of tens of terms
TRAJECTORY_64 = 1e-9  # rounding after a few updates, whose rules divide by small moments
PADDING = 1
INDICES = torch.tensor([[0, 1, 3], [3, 1, 4]])


def table(**options: Any) -> nn.Embedding:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Embedding(6, 4, dtype=torch.float64, **options)


def walk(layer: nn.Module, optimizer: Any, updates: int) -> Tensor:
    for _ in range(updates):
        optimizer.zero_grad()
        (layer(INDICES) - 1).square().sum().backward()
        optimizer.step()
    output: Tensor = layer(INDICES).detach()
    return output


@pytest.mark.parametrize("options", [{}, {"padding_idx": PADDING}, {"scale_grad_by_freq": True}])
def test_values_and_gradients_are_those_of_torchs_parametrization(options: Any) -> None:
    theirs = parametrizations.weight_norm(table(**options))
    parts: Any = theirs.parametrizations.weight  # type: ignore[union-attr]  # a ModuleList
    with torch.no_grad():  # gains and lengths that differ
        parts.original0.mul_(torch.linspace(-1.5, 2.0, 6).reshape(6, 1))
        parts.original1.mul_(0.7)
    ours = convert_(table(**options))
    assert type(ours) is WNEmbedding
    assert ours.weight_g.shape == (6, 1)
    ours.load_state_dict(theirs.state_dict())
    rows = [0, 3, 4]  # torch's gain of a row of zeros is 0 / 0
    results = [layer(INDICES) for layer in (theirs, ours)]
    for result in results:
        result[:, [0, 2]].square().sum().backward()
    assert torch.allclose(results[1][:, [0, 2]], results[0][:, [0, 2]], rtol=ROUNDING_64)
    for mine, other in ((ours.weight_g, parts.original0), (ours.weight_v, parts.original1)):
        assert mine.grad is not None
        assert torch.allclose(mine.grad[rows], other.grad[rows], rtol=ROUNDING_64)
        assert not mine.grad[[2, 5]].any()  # indices that did not occur


RULES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "adam": (lambda p: torch.optim.Adam(p, 0.05), lambda p: WNAdam(p, 0.05)),
    "momentum": (lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: WNSGD(p, 0.1, 0.9)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("backend", ["numba", "aten"])
def test_storage_w_walks_the_trajectory_of_storage_gv(
    backend: str, rule: str, choose_backend: Callable[[str], None]
) -> None:
    choose_backend(backend)
    truth, stored, plain = convert_(table()), convert_(table(), storage="w"), table()
    expected = walk(truth, RULES[rule][0](truth.parameters()), 6)
    for layer, where in ((stored, None), (plain, lambda name, layer: True)):
        optimizer = RULES[rule][1](weight_norm_groups(layer, where=where))
        assert torch.allclose(walk(layer, optimizer, 6), expected, rtol=TRAJECTORY_64)


@pytest.mark.parametrize("rule", RULES)
def test_padding_stays_zero_in_training_and_conversions(rule: str) -> None:
    layer = convert_(table(padding_idx=PADDING))
    optimizer = RULES[rule][0](layer.parameters())
    walk(layer, optimizer, 3)
    assert not layer.weight[PADDING].any()
    stored = to_w_(layer, optimizer)
    assert not layer.weight[PADDING].any()
    walk(layer, stored, 3)
    assert not layer.weight[PADDING].any()
    exported = export_gv(layer, stored)
    back = to_gv_(layer, stored)
    assert torch.equal(layer.weight_g, exported["weight_g"])
    walk(layer, back, 3)
    assert layer.weight[0].any()
    assert not layer.weight[PADDING].any()
    assert not fold_(layer).weight[PADDING].any()


@pytest.mark.parametrize("gain", ["linear", "log", "fixed"])
def test_padding_is_zero_with_any_gain_after_a_reset_and_a_load(gain: str) -> None:
    layer = WNEmbedding(6, 4, padding_idx=-5, gain=gain, dtype=torch.float64)
    assert layer.padding_idx == PADDING
    assert not layer(torch.tensor(PADDING)).any()
    layer.reset_parameters()
    assert not layer(torch.tensor(PADDING)).any()
    assert layer(torch.tensor(0)).any()
    plain = table(padding_idx=PADDING)
    layer.load_state_dict(plain.state_dict())
    torch.testing.assert_close(layer(INDICES), plain(INDICES))
    assert not layer(torch.tensor(PADDING)).any()


def test_a_padding_vector_that_is_not_zero_stays_as_it_is() -> None:
    plain = table(padding_idx=PADDING)
    with torch.no_grad():
        plain.weight[PADDING] = 2.0
    layer = convert_(plain)
    before = layer.weight[PADDING].clone()
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    walk(layer, optimizer, 2)
    assert torch.equal(layer.weight[PADDING], before)
    to_w_(layer, optimizer)
    assert torch.equal(layer.weight[PADDING], before)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_sparse_embedding_is_refused_before_anything_changes(storage: str) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Embedding(6, 4, sparse=True))
    words = r"Embedding\(6, 4\) has sparse=True, .*set sparse=False, or keep torch's layer"
    with pytest.raises(UsageError, match=words):
        convert_(net, storage=storage)
    assert [type(layer) for layer in net] == [nn.Linear, nn.Embedding]
    with pytest.raises(UsageError, match=words):
        WNEmbedding(6, 4, sparse=True, storage=storage)


def test_max_norm_shortens_rows_of_storage_w_and_is_refused_for_gv() -> None:
    words = r"Embedding\(6, 4\) has max_norm=0\.5, .*use storage='w' or max_norm=None"
    for make in (lambda: convert_(table(max_norm=0.5)), lambda: WNEmbedding(6, 4, max_norm=0.5)):
        with pytest.raises(UsageError, match=words):
            make()
    plain, layer = table(max_norm=0.5), convert_(table(max_norm=0.5), storage="w")
    assert torch.equal(layer(INDICES), plain(INDICES))
    assert torch.allclose(layer.weight[0].norm(), torch.tensor(0.5, dtype=torch.float64))
    optimizer = WNSGD(weight_norm_groups(layer), 0.1)
    output = walk(layer, optimizer, 3)  # a shorter w is a new gain; ||v|| stays
    assert (output.norm(dim=-1) <= 0.5 + ROUNDING_64).all()
    with pytest.raises(UsageError, match=words):
        to_gv_(layer, optimizer)
    assert layer.storage == "w"


@pytest.mark.parametrize("freeze", [True, False])
def test_a_pretrained_table_is_frozen_if_torchs_is(freeze: bool) -> None:
    weight = table().weight.detach()
    layer = WNEmbedding.from_pretrained(weight, freeze=freeze)
    assert type(layer) is WNEmbedding
    assert torch.equal(layer.weight, weight)
    assert [p.requires_grad for p in layer.parameters()] == [not freeze] * 2


class Tied(nn.Module):
    """An embedding and an output layer with the same weight."""

    def __init__(self, padding: int | None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4, padding)
        self.head = nn.Linear(4, 6)
        self.head.weight = self.embedding.weight

    def forward(self, indices: Tensor) -> Tensor:
        output: Tensor = self.head(torch.tanh(self.embedding(indices)))
        return output


def tied(padding: int | None) -> Tied:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Tied(padding).double()


@pytest.mark.parametrize("padding", [None, PADDING])
def test_a_tie_to_an_output_layer_holds_through_every_conversion(padding: int | None) -> None:
    net, expected = tied(padding), tied(padding)(INDICES)
    convert_(net)
    assert [type(net.embedding), type(net.head)] == [WNEmbedding, WNLinear]
    assert net.head.weight_g is net.embedding.weight_g
    assert net.head.weight_v is net.embedding.weight_v
    assert torch.allclose(net(INDICES), expected, rtol=ROUNDING_64)
    whole = copy.deepcopy(net)
    truth = walk(whole, torch.optim.Adam(whole.parameters(), 0.05), 9)
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    walk(net, optimizer, 3)
    stored = to_w_(net, optimizer)
    assert net.head.weight is net.embedding.weight
    walk(net, stored, 3)
    back = to_gv_(net, stored)
    assert net.head.weight_v is net.embedding.weight_v
    assert torch.allclose(walk(net, back, 3), truth, rtol=TRAJECTORY_64)
    if padding is not None:  # the output layer learns this row, as in torch
        assert net.head.weight[padding].any()
    fold_(net)
    assert net.head.weight is net.embedding.weight
    assert torch.allclose(net(INDICES), truth, rtol=TRAJECTORY_64)


@pytest.mark.parametrize("scope", [frozen_weights, shared_weights])
def test_a_scope_computes_the_table_once(scope: Any) -> None:
    layer = convert_(table())
    expected = layer(INDICES).detach()
    with scope(layer):
        with torch.no_grad():
            layer.weight_g.mul_(2)
        assert torch.equal(layer(INDICES), expected)
    assert torch.allclose(layer(INDICES), 2 * expected)
