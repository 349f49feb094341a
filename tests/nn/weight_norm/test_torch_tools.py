"""Weight-normalized layers under torch's pruning, tracing and ONNX export."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from wnrl._settings import UsageError
from wnrl.nn import WNLSTM, WNConv2d, WNConvTranspose2d, WNLinear, fold_, to_gv_, weight_norm_groups
from wnrl.optim import WNAdam

LAYERS: list[tuple[Any, tuple[int, ...], tuple[int, ...], str]] = [
    (WNLinear, (3, 4), (2, 3), "weight"),
    (WNConv2d, (2, 3, 2), (2, 2, 3, 3), "weight"),
    (WNConvTranspose2d, (2, 3, 2), (2, 2, 3, 3), "weight"),
    (WNLSTM, (3, 4), (2, 1, 3), "weight_ih_l0"),
]


def output(layer: nn.Module, example: Tensor) -> Tensor:
    result = layer(example)
    first: Tensor = result[0] if isinstance(result, tuple) else result
    return first


@pytest.mark.parametrize(("kind", "sizes", "shape", "name"), LAYERS)
def test_a_layer_of_storage_w_is_pruned_and_learns(
    kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...], name: str
) -> None:
    layer, example = kind(*sizes, storage="w"), torch.rand(shape)
    for pruned in (name, "bias_ih_l0" if kind is WNLSTM else "bias"):
        prune.l1_unstructured(layer, pruned, 0.5)
    plain = kind.__bases__[1](*sizes)
    plain.load_state_dict({n: getattr(layer, n).detach() for n in plain.state_dict()})
    torch.testing.assert_close(output(layer, example), output(plain, example))
    optimizer = WNAdam(weight_norm_groups(layer), lr=0.1)
    before = output(layer, example).detach()
    output(layer, example).square().sum().backward()
    optimizer.step()
    assert not torch.equal(output(layer, example), before)
    with pytest.raises(UsageError, match=rf"'{name}' of a {kind.__name__} is pruned: make that"):
        to_gv_(layer, optimizer)
    prune.remove(layer, name)
    assert (getattr(layer, name) == 0).float().mean() >= 0.5
    output(layer, example)


@pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize("storage", ["gv", "w"])
@pytest.mark.parametrize(("kind", "sizes", "shape", "name"), LAYERS)
def test_a_layer_is_scripted_after_it_was_folded(
    kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...], name: str, storage: str
) -> None:
    net, example = nn.Sequential(kind(*sizes, storage=storage)), torch.rand(shape)
    with pytest.raises(UsageError, match=rf"script got a {kind.__name__}.* with wnrl\.nn\.fold_"):
        torch.jit.script(net)
    expected = output(net, example)
    torch.testing.assert_close(output(torch.jit.script(fold_(net)), example), expected)


class Doubled(nn.Module):
    """A parametrization."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize(("kind", "sizes", "shape", "name"), LAYERS)
def test_a_weight_of_storage_w_is_replaced_and_parametrized(
    kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...], name: str
) -> None:
    layer, example = kind(*sizes, storage="w"), torch.rand(shape)
    setattr(layer, name, nn.Parameter(torch.full_like(getattr(layer, name), 0.3)))
    plain = kind.__bases__[1](*sizes)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(output(layer, example), output(plain, example))
    parametrize.register_parametrization(layer, name, Doubled())
    with torch.no_grad():
        getattr(plain, name).mul_(2)
    torch.testing.assert_close(output(layer, example), output(plain, example))
    with pytest.raises(UsageError, match="normalized twice"):
        WNAdam(layer.parameters())
    with pytest.raises(UsageError, match=f"cannot write '{name}', which is pruned or param"):
        layer.set_weight_(getattr(plain, name), name)
    parametrize.remove_parametrizations(layer, name)
    torch.testing.assert_close(output(layer, example), output(plain, example))
    WNAdam(weight_norm_groups(layer)).step()


@pytest.mark.parametrize(("kind", "sizes", "shape", "name"), LAYERS)
def test_a_computed_weight_is_not_pruned(
    kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...], name: str
) -> None:
    layer = kind(*sizes)
    for part in (name, f"{name}_v", f"{name}_g"):
        with pytest.raises(UsageError, match=f"'{part}' cannot be pruned .*fold_"):
            prune.l1_unstructured(layer, part, 0.5)
    output(layer, torch.rand(shape))


@pytest.mark.parametrize(("kind", "sizes", "shape", "name"), LAYERS)
def test_gains_and_vectors_are_not_parametrized(
    kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...], name: str
) -> None:
    layer, example = kind(*sizes), torch.rand(shape)
    expected = output(layer, example)
    for part in (f"{name}_v", f"{name}_g"):
        with pytest.raises(UsageError, match=f"'{part}' cannot be deleted or parametrized .*fold_"):
            parametrize.register_parametrization(layer, part, Doubled())
    with pytest.raises(ValueError, match=f"does not have a parameter, .*'{name}'"):  # torch's own
        parametrize.register_parametrization(layer, name, Doubled())
    assert type(layer) is kind
    assert torch.equal(output(layer, example), expected)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit.trace_method. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean")  # torch's LSTM too
@pytest.mark.parametrize("storage", ["gv", "w"])
@pytest.mark.parametrize(("kind", "sizes", "shape", "name"), LAYERS)
def test_a_layer_is_traced(
    kind: Any, sizes: tuple[int, ...], shape: tuple[int, ...], name: str, storage: str
) -> None:
    layer, example = kind(*sizes, storage=storage), torch.rand(shape)
    traced = torch.jit.trace(layer, example)
    other = torch.rand(shape)
    torch.testing.assert_close(output(traced, other), output(layer, other))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.5)
    torch.testing.assert_close(output(traced, other), output(layer, other))  # not constants
