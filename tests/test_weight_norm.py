"""The layers: drop-in for torch's, two storages, and no write that is silently lost."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from wnrl.errors import UsageError
from wnrl.nn.weight_norm import WNConv2d, WNLinear, weight_norm_groups
from wnrl.optim import WNAdam

STORAGES = ["gv", "w"]


def linear(storage: str = "gv", seed: int = 0, **settings: Any) -> WNLinear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WNLinear(5, 3, storage=storage, **settings)


def convolution(storage: str = "gv") -> WNConv2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return WNConv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, storage=storage)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_new_layer_computes_what_torchs_own_does_under_the_same_seed(storage: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = nn.Linear(5, 3)
        torch.manual_seed(1)
        plain_convolution = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2)
    x, image = torch.ones(2, 5), torch.ones(2, 4, 7, 7)
    assert torch.equal(linear(storage)(x), plain(x))
    assert torch.equal(convolution(storage)(image), plain_convolution(image))


def test_the_storages_hold_the_parameters_that_they_promise() -> None:
    shapes = {name: tuple(p.shape) for name, p in convolution("gv").named_parameters()}
    assert shapes == {"weight_g": (6, 1, 1, 1), "weight_v": (6, 2, 3, 2), "bias": (6,)}
    assert set(dict(linear("w").named_parameters())) == {"weight", "bias"}
    assert type(linear("w").weight) is nn.Parameter
    assert linear(bias=False).bias is None
    with pytest.raises(UsageError, match="storage is 'v'"):
        linear("v")


def test_the_weight_of_gv_is_differentiable_and_has_row_norm_g() -> None:
    layer = linear()
    with torch.no_grad():
        layer.weight_g.copy_(torch.tensor([[2.0], [-1.0], [0.5]]))
    assert torch.allclose(layer.weight.norm(dim=1), torch.tensor([2.0, 1.0, 0.5]))
    layer.weight.sum().backward()
    assert layer.weight_g.grad is not None
    assert layer.weight_v.grad is not None
    orthogonal = (layer.weight_v.grad * layer.weight_v).sum(1)
    assert torch.allclose(orthogonal, torch.zeros(3), atol=1e-6)


WRITES: dict[str, Callable[[WNLinear], Any]] = {
    "orthogonal_": lambda layer: nn.init.orthogonal_(layer.weight),
    "kaiming_uniform_": lambda layer: nn.init.kaiming_uniform_(layer.weight),
    "xavier_normal_": lambda layer: nn.init.xavier_normal_(layer.weight),
    "trunc_normal_": lambda layer: nn.init.trunc_normal_(layer.weight),
    "zeros_": lambda layer: nn.init.zeros_(layer.weight),
    "eye_": lambda layer: nn.init.eye_(layer.weight),
    "init of data": lambda layer: nn.init.normal_(layer.weight.data),
    "data fill": lambda layer: layer.weight.data.fill_(0.0),
    "detach": lambda layer: layer.weight.detach().zero_(),
    "item": lambda layer: layer.weight.__setitem__(0, 1.0),
    "view": lambda layer: layer.weight.view(-1).mul_(2),
    "out": lambda layer: torch.add(torch.ones(3, 5), 1, out=layer.weight),
    "in-place operator": lambda layer: layer.weight.data.__imul__(2),
    "data assignment": lambda layer: setattr(layer.weight, "data", torch.zeros(3, 5)),
    "assignment": lambda layer: setattr(layer, "weight", torch.zeros(3, 5)),
    "parameter": lambda layer: setattr(layer, "weight", nn.Parameter(torch.zeros(3, 5))),
}


@pytest.mark.parametrize("name", WRITES)
def test_every_write_to_a_computed_weight_raises_and_names_set_weight(name: str) -> None:
    layer = linear()
    before = layer.weight.clone()
    with pytest.raises(AttributeError, match="set_weight_"):
        WRITES[name](layer)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("storage", STORAGES)
def test_set_weight_writes_exactly_and_checks_the_shape(storage: str) -> None:
    layer, weight = linear(storage), torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    weight[2] = 0
    layer.set_weight_(weight)
    assert torch.equal(layer.weight, weight)
    assert torch.isfinite(torch.cat([p.flatten() for p in layer.parameters()])).all()
    with pytest.raises(ValueError, match=r"\(1, 5\).*\(3, 5\)"):
        layer.set_weight_(weight[:1])


def test_init_functions_and_assignment_work_on_storage_w() -> None:
    layer = linear("w")
    nn.init.constant_(layer.weight, 0.25)
    assert torch.equal(layer.weight, torch.full((3, 5), 0.25))
    layer.weight = nn.Parameter(torch.ones(3, 5))
    assert weight_norm_groups(layer)[0]["params"] == [layer.weight]


@pytest.mark.parametrize("make", [linear, convolution])
@pytest.mark.parametrize("storage", STORAGES)
def test_copies_pickles_and_state_dicts_keep_the_layer(
    make: Callable[[str], nn.Module], storage: str
) -> None:
    layer = make(storage)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    loaded = make(storage)
    for parameter in loaded.parameters():
        nn.init.ones_(parameter)
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded):
        assert other.storage == storage
        assert list(other.state_dict()) == list(layer.state_dict())
        for mine, theirs in zip(other.parameters(), layer.parameters(), strict=True):
            assert torch.equal(mine, theirs)
            assert mine is not theirs


@pytest.mark.parametrize("source", ["plain", "gv", "w"])
@pytest.mark.parametrize("storage", STORAGES)
def test_either_storage_loads_plain_and_normalized_state_dicts(source: str, storage: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        given = nn.Linear(5, 3) if source == "plain" else WNLinear(5, 3, storage=source)
    target = nn.Sequential(linear(storage))
    state = {f"0.{name}": value for name, value in given.state_dict().items()}
    keys = list(state)
    target.load_state_dict(state)
    assert list(state) == keys
    x = torch.arange(5.0)
    assert torch.allclose(target(x), given(x), rtol=1e-6)


def test_gains_and_weight_vectors_stay_marked_through_copies_and_loads() -> None:
    layer = linear()
    assigned = linear()
    assigned.load_state_dict(layer.state_dict(), assign=True)
    moved = WNLinear(5, 3, device="meta").to_empty(device="cpu")
    copies = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), moved, assigned)
    for other in (layer, *copies):
        with pytest.raises(UsageError, match="normalized twice"):
            WNAdam(other.parameters())


def test_weight_norm_groups_part_marked_weights_from_the_rest() -> None:
    marked, computed, head = linear("w"), linear("gv"), nn.Linear(3, 2)
    network = nn.Sequential(marked, computed, head, marked)
    first, second = weight_norm_groups(network, lr=0.5)
    assert first == {"lr": 0.5, "params": [marked.weight], "weight_norm": True}
    assert second["weight_norm"] is False
    rest = [marked.bias, *computed.parameters(), *head.parameters()]
    assert [id(p) for p in second["params"]] == [id(p) for p in rest]
    assert [group["weight_norm"] for group in weight_norm_groups(head)] == [False]


@pytest.mark.parametrize("storage", STORAGES)
def test_reset_parameters_draws_what_torch_draws(storage: str) -> None:
    layers: list[tuple[WNLinear | WNConv2d, nn.Module]] = [
        (linear(storage), nn.Linear(5, 3)),
        (convolution(storage), nn.Conv2d(4, 6, (3, 2), groups=2)),
    ]
    for layer, plain in layers:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            layer.reset_parameters()
            torch.manual_seed(4)
            plain.reset_parameters()  # type: ignore[operator]  # a Module's attribute
        assert torch.equal(layer.weight, plain.weight)  # type: ignore[arg-type]  # the same
        assert torch.equal(layer.bias, plain.bias)  # type: ignore[arg-type]  # the same


@pytest.mark.parametrize("storage", STORAGES)
def test_layers_compile_in_one_graph(storage: str) -> None:
    layer, x = linear(storage), torch.ones(2, 5)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(x), layer(x))
