"""Transposed convolutions: the gains and steps of torch's weight_norm(dim=1), in both storages."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from wnrl.nn import (
    WNConvTranspose1d,
    WNConvTranspose2d,
    WNConvTranspose3d,
    convert_,
    export_gv,
    fold_,
    frozen_weights,
    set_vector_norms_,
    to_gv_,
    to_w_,
    weight_norm_groups,
)
from wnrl.optim import WNSGD, WNAdam

ROUNDING_64 = 1e-12  # float64 sums of tens of terms
TRAJECTORY_64 = 1e-9  # rounding after a few updates, whose rules divide by small moments

LAYERS: dict[str, tuple[Callable[[], nn.Module], type[nn.Module], tuple[int, ...]]] = {
    "1d": (lambda: nn.ConvTranspose1d(3, 5, 3, stride=2), WNConvTranspose1d, (2, 3, 4)),
    "2d": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), 2, 1, output_padding=1, groups=2, dilation=2),
        WNConvTranspose2d,
        (2, 4, 4, 4),
    ),
    "3d": (lambda: nn.ConvTranspose3d(2, 3, 2, bias=False), WNConvTranspose3d, (2, 2, 2, 3, 2)),
}


def layer_and_input(kind: str) -> tuple[nn.Module, Tensor]:
    make, _, shape = LAYERS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double(), torch.randn(shape).double()


def normalized_by_torch(kind: str) -> nn.Module:
    """Return torch's parametrized layer, with gains and lengths of its own."""
    layer = parametrizations.weight_norm(layer_and_input(kind)[0], dim=1)
    with torch.no_grad():
        gain = layer.parametrizations.weight.original0  # type: ignore[union-attr]  # a ModuleList
        gain.mul_(torch.linspace(-1.5, 2.0, gain.numel()).reshape(gain.shape))  # type: ignore[operator]
        layer.parametrizations.weight.original1.mul_(0.7)  # type: ignore[operator,union-attr]
    return layer


def walk(layer: nn.Module, optimizer: Any, x: Tensor, updates: int) -> Tensor:
    for _ in range(updates):
        optimizer.zero_grad()
        (layer(x) - 1).square().mean().backward()
        optimizer.step()
    output: Tensor = layer(x).detach()
    return output


@pytest.mark.parametrize("kind", LAYERS)
def test_values_and_gradients_are_those_of_torchs_parametrization(kind: str) -> None:
    theirs, x = normalized_by_torch(kind), layer_and_input(kind)[1]
    ours = convert_(layer_and_input(kind)[0])
    assert type(ours) is LAYERS[kind][1]
    ours.load_state_dict(theirs.state_dict())
    for layer in (theirs, ours):
        layer(x).square().sum().backward()
    assert torch.allclose(ours(x), theirs(x), rtol=ROUNDING_64)
    parts: Any = theirs.parametrizations.weight  # type: ignore[union-attr]  # a ModuleList
    for name, other in (("weight_g", parts.original0), ("weight_v", parts.original1)):
        gradient = ours.get_parameter(name).grad
        assert gradient is not None
        assert torch.allclose(gradient, other.grad, rtol=ROUNDING_64, atol=ROUNDING_64)
    size = list(theirs(x).shape[2:])
    assert torch.equal(ours(x, output_size=size), ours(x))
    with frozen_weights(ours), torch.no_grad():
        assert torch.allclose(ours(x), theirs(x), rtol=ROUNDING_64)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("storage", ["gv", "w"])
def test_a_converted_layer_keeps_its_function_as_a_copy_and_folded(storage: str, kind: str) -> None:
    plain, x = layer_and_input(kind)
    layer = convert_(copy.deepcopy(plain), storage=storage)
    for other in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is LAYERS[kind][1]
        assert torch.allclose(other(x), plain(x), rtol=ROUNDING_64)
    layer.load_state_dict(plain.state_dict())
    assert torch.allclose(layer(x), plain(x), rtol=ROUNDING_64)
    assert type(fold_(layer)) is type(plain)
    assert torch.allclose(layer(x), plain(x), rtol=ROUNDING_64)
    assert layer.weight.is_contiguous()  # type: ignore[operator]  # a Tensor


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("wrap", [torch.nn.utils.weight_norm, parametrizations.weight_norm])
@pytest.mark.parametrize("storage", ["gv", "w"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_checkpoint_with_gains_of_input_channels_keeps_its_function(
    kind: str, storage: str, wrap: Callable[..., nn.Module]
) -> None:
    theirs, x = wrap(layer_and_input(kind)[0], dim=0), layer_and_input(kind)[1]
    gain, _ = (p for p in theirs.parameters() if p.ndim > 1)
    with torch.no_grad():
        gain.mul_(torch.linspace(-1.5, 2.0, gain.numel()).reshape(gain.shape))
    ours = convert_(layer_and_input(kind)[0], storage=storage)
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x), rtol=ROUNDING_64, atol=ROUNDING_64)


@pytest.mark.parametrize("storage", ["gv", "w"])
def test_a_checkpoint_with_one_gain_for_the_whole_weight_is_refused(storage: str) -> None:
    theirs = parametrizations.weight_norm(nn.ConvTranspose2d(3, 5, 2), dim=None)
    words = {"gv": "size mismatch for weight_g", "w": "weight: "}[storage]
    with pytest.raises(RuntimeError, match=words):
        WNConvTranspose2d(3, 5, 2, storage=storage).load_state_dict(theirs.state_dict())


RULES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "adam": (lambda p: torch.optim.Adam(p, 0.05), lambda p: WNAdam(p, 0.05)),
    "momentum": (lambda p: torch.optim.SGD(p, 0.1, 0.9), lambda p: WNSGD(p, 0.1, 0.9)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["numba", "aten"])
def test_storage_w_walks_the_trajectory_of_torchs_parametrization(
    backend: str, kind: str, rule: str, choose_backend: Callable[[str], None]
) -> None:
    choose_backend(backend)
    plain, x = layer_and_input(kind)
    theirs = parametrizations.weight_norm(copy.deepcopy(plain), dim=1)
    expected = walk(theirs, RULES[rule][0](theirs.parameters()), x, 6)
    stored = convert_(copy.deepcopy(plain), storage="w")
    marked = copy.deepcopy(plain)  # torch's layer, which `where` selects
    for layer, where in ((stored, None), (marked, lambda name, layer: True)):
        groups = weight_norm_groups(layer, where=where)
        assert [group.get("output_axis") for group in groups] == [1, None][: len(groups)]
        optimizer = RULES[rule][1](groups)
        walk(layer, optimizer, x, 3)
        resumed = RULES[rule][1](weight_norm_groups(layer, where=where))
        resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert torch.allclose(walk(layer, resumed, x, 3), expected, rtol=TRAJECTORY_64)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_trajectory_goes_on_in_storage_w_and_back(kind: str, rule: str) -> None:
    theirs, x = normalized_by_torch(kind), layer_and_input(kind)[1]
    layer = convert_(layer_and_input(kind)[0])
    layer.load_state_dict(theirs.state_dict())
    expected = walk(theirs, RULES[rule][0](theirs.parameters()), x, 9)
    optimizer = RULES[rule][0](layer.parameters())
    walk(layer, optimizer, x, 3)
    stored = to_w_(layer, optimizer)
    walk(layer, stored, x, 3)
    exported = export_gv(layer, stored)
    back = to_gv_(layer, stored)
    for name, value in layer.state_dict().items():
        assert torch.equal(exported[name], value)
    assert torch.allclose(walk(layer, back, x, 3), expected, rtol=TRAJECTORY_64)


def test_lengths_are_those_of_output_channels() -> None:
    layer = WNConvTranspose2d(3, 5, 2)
    before = layer.weight.clone()
    set_vector_norms_(layer, "unit")
    lengths = torch.linalg.vector_norm(layer.weight_v, dim=(0, 2, 3))
    assert torch.allclose(lengths, torch.ones(5))
    assert torch.allclose(layer.weight, before)
