"""torch's own tests of weight norm, rewritten for our layers, each under torch's name.

From test/nn/test_parametrization.py: test_weight_norm_parametrization, _state_dict_compat, _pickle,
_deepcopy. From test/test_nn.py: test_weight_norm, test_weight_norm_pickle, test_rnn_weight_norm.

What was rewritten: `weight_norm(m)` is `convert_(m)` and `remove_weight_norm(m)` is `fold_(m)`;
torch's tests are of nn.Linear (and one weight of nn.LSTM), ours of every layer type. Where torch
asserts a refusal that is a fault of its form (pickling), ours asserts that it works.

Transposed convolutions, which have dim=1, are in test_transposed.py.

What does not apply: `dim=1` of other layers and `dim=None`, because a layer has one gain per output
unit: their checkpoints must be refused. `name="bias"` or one weight of several, because a layer
normalizes its weights, all of them. `swap`
(torch.__future__.set_swap_module_params_on_conversion), which is about how torch moves parametrized
tensors. TorchScript (test_jit.py), which torch has deprecated.
"""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from wnrl._settings import UsageError
from wnrl.nn.norms.convert import convert_, fold_
from wnrl.nn.weight_norm.cells import WNGRUCell, WNLSTMCell
from wnrl.nn.weight_norm.gru import WNGRU
from wnrl.nn.weight_norm.layers import (
    WNConv1d,
    WNConv2d,
    WNConv3d,
    WNLinear,
)
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.weight_norm import WNAdam

STORAGES = ["gv", "w"]
# What test_nn.py allows in each type (dtype2prec_DONTUSE).
PRECISION = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-1}

LAYERS: dict[str, tuple[Callable[..., nn.Module], type[nn.Module], tuple[int, ...]]] = {
    "linear": (lambda **k: nn.Linear(4, 5, **k), WNLinear, (3, 4)),
    "conv1d": (lambda **k: nn.Conv1d(2, 3, 2, stride=2, **k), WNConv1d, (3, 2, 5)),
    "conv": (lambda **k: nn.Conv2d(2, 6, 3, groups=2, **k), WNConv2d, (3, 2, 5, 5)),
    "conv3d": (lambda **k: nn.Conv3d(2, 3, 2, padding=1, **k), WNConv3d, (3, 2, 3, 2, 3)),
    "lstm": (lambda **k: nn.LSTM(4, 5, **k), WNLSTM, (3, 2, 4)),
    "gru": (lambda **k: nn.GRU(4, 5, 2, bidirectional=True, **k), WNGRU, (3, 2, 4)),
    "lstm-cell": (lambda **k: nn.LSTMCell(4, 5, **k), WNLSTMCell, (3, 4)),
    "gru-cell": (lambda **k: nn.GRUCell(4, 5, bias=False, **k), WNGRUCell, (3, 4)),
}


def layer_and_input(kind: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor]:
    make, _, shape = LAYERS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(dtype=dtype), torch.randn(shape).to(dtype)


def output(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x)
    return y[0] if isinstance(y, tuple) else y


def matrices(layer: nn.Module) -> list[str]:
    """torch's names of the weights."""
    if isinstance(layer, nn.RNNCellBase):
        return ["weight_ih", "weight_hh"]
    if isinstance(layer, nn.RNNBase):
        return [name for name in layer._flat_weights_names if name.startswith("weight")]
    return ["weight"]


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_weight_norm(kind: str, dtype: torch.dtype) -> None:
    # torch: the output before, under and after weight norm is the same; v has the weight's shape
    # and g one number per output unit; float, bfloat16 and float16.
    m, x = layer_and_input(kind, dtype)
    expected, plain = output(m, x), type(m)
    convert_(m)
    assert type(m) is LAYERS[kind][1]
    for name in matrices(m):
        v, g = getattr(m, f"{name}_v"), getattr(m, f"{name}_g")
        assert v.shape == getattr(m, name).shape
        assert g.shape == (len(v), *[1] * (v.ndim - 1))
    assert torch.allclose(output(m, x), expected, atol=PRECISION[dtype], rtol=0)
    fold_(m)
    assert type(m) is plain
    assert not any(hasattr(m, f"{name}_{part}") for name in matrices(m) for part in "gv")
    assert torch.allclose(output(m, x), expected, atol=PRECISION[dtype], rtol=0)


@pytest.mark.parametrize("kind", LAYERS)
def test_weight_norm_twice(kind: str) -> None:
    # torch: registering a second weight norm raises. Ours: converting again changes nothing, and
    # torch's on top of ours, or an optimizer that normalizes g and v, raises.
    m, x = layer_and_input(kind)
    expected = output(convert_(m), x)
    names = list(dict(m.named_parameters()))
    assert torch.equal(output(convert_(m), x), expected)
    assert list(dict(m.named_parameters())) == names
    for name in matrices(m):
        with pytest.raises((KeyError, ValueError, AttributeError)):
            parametrizations.weight_norm(m, name)
    with pytest.raises(UsageError, match="normalized twice"):
        WNAdam(m.parameters())
    assert torch.equal(output(m, x), expected)


@pytest.mark.parametrize("form", ["hook", "parametrization"])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dim", [1, None])
def test_weight_norm_dim(dim: int | None, storage: str, form: str) -> None:
    # torch: dim=1 has a gain per input, dim=None one for the whole weight. Not ours: such
    # checkpoints are refused by the shape of their gain, not broadcast.
    theirs, _ = layer_and_input("linear")
    if form == "hook":
        with pytest.warns(FutureWarning):
            torch.nn.utils.weight_norm(theirs, dim=dim)
    else:
        parametrizations.weight_norm(theirs, dim=dim)
    ours = WNLinear(4, 5, storage=storage)
    before = ours.weight.detach().clone()
    with pytest.raises(RuntimeError, match=r"weight: g is|size mismatch for weight_g"):
        ours.load_state_dict(theirs.state_dict())
    if storage == "w":  # with "gv" torch copies the v, which fits, before it raises
        assert torch.equal(ours.weight, before)


@pytest.mark.parametrize("kind", LAYERS)
def test_weight_norm_parametrization(kind: str) -> None:
    # torch: values only, of nn.Linear. Ours: values and gradients equal its parametrization's.
    theirs, x = layer_and_input(kind)
    names = matrices(theirs)
    for name in names:
        parametrizations.weight_norm(theirs, name)
        with torch.no_grad():  # gains of their own
            theirs.parametrizations[name].original0.mul_(-1.7)  # type: ignore[index,union-attr]  # a ModuleDict
    ours = convert_(layer_and_input(kind)[0])
    ours.load_state_dict(theirs.state_dict())
    results = []
    for m in (theirs, ours):
        y = output(m, x)
        y.square().sum().backward()
        results.append(y)
    assert torch.allclose(*results, rtol=1e-5, atol=1e-6)
    for name in names:
        parts: Any = theirs.parametrizations[name]  # type: ignore[index]  # a ModuleDict
        for mine, other in ((f"{name}_g", parts.original0), (f"{name}_v", parts.original1)):
            gradient = ours.get_parameter(mine).grad
            assert gradient is not None
            assert torch.allclose(gradient, other.grad, rtol=1e-4, atol=1e-5)
        parametrize.remove_parametrizations(theirs, name)
    assert torch.allclose(output(fold_(ours), x), output(theirs, x), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("storage", STORAGES)
def test_weight_norm_state_dict_compat(storage: str, kind: str) -> None:
    # torch: its parametrization loads its hook's checkpoints. Ours loads both, into both storages,
    # and with "gv" its own names are the hook's, so that the hook loads ours as well.
    hooked, x = layer_and_input(kind)
    for name in matrices(hooked):
        torch.nn.utils.weight_norm(hooked, name)
        with torch.no_grad():
            getattr(hooked, f"{name}_g").mul_(0.6)
    ours = convert_(layer_and_input(kind)[0], storage=storage)
    ours.load_state_dict(hooked.state_dict())
    assert torch.allclose(output(ours, x), output(hooked, x), rtol=1e-5, atol=1e-6)
    if storage == "gv":
        assert set(ours.state_dict()) == set(hooked.state_dict())
        with torch.no_grad():
            for parameter in hooked.parameters():
                parameter.add_(1.0)
        hooked.load_state_dict(ours.state_dict())
        assert torch.allclose(output(ours, x), output(hooked, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("storage", STORAGES)
def test_weight_norm_pickle(storage: str, kind: str) -> None:
    # torch: pickling a parametrized module raises; a hooked one comes back an nn.Linear. Ours comes
    # back as the same layer with the same function, before and after it has computed.
    m, x = layer_and_input(kind)
    convert_(m, storage=storage)
    for _ in range(2):
        other = pickle.loads(pickle.dumps(m))
        assert type(other) is type(m)
        assert torch.equal(output(other, x), output(m, x))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("storage", STORAGES)
def test_weight_norm_deepcopy(storage: str, kind: str) -> None:
    # torch: the copy of a parametrized module computes the same; a hooked one that has computed
    # cannot be copied. Ours: also after a forward pass, and the two do not share memory.
    m, x = layer_and_input(kind)
    convert_(m, storage=storage)
    expected = output(m, x).detach()
    other = copy.deepcopy(m)
    with torch.no_grad():
        for parameter in m.parameters():
            parameter.add_(1.0)
    assert torch.equal(output(other, x), expected)


@pytest.mark.parametrize(("options", "count"), [({}, 4), ({"proj_size": 16}, 5)])
def test_rnn_weight_norm(options: dict[str, int], count: int) -> None:
    # torch: one weight of an LSTM is normalized and restored, and its list of flat weights follows.
    # Ours: all of them at once.
    lstm = nn.LSTM(32, 32, **options)
    names = matrices(lstm)
    convert_(lstm)
    flat = {id(parameter) for parameter in lstm._flat_weights}
    assert {id(lstm.get_parameter(f"{name}_v")) for name in names} <= flat
    assert not set(names) & set(dict(lstm.named_parameters()))
    fold_(lstm)
    assert sum(isinstance(p, nn.Parameter) for p in lstm._flat_weights) == count
    parameters = dict(lstm.named_parameters())
    for name in names:
        assert isinstance(lstm._parameters[name], nn.Parameter)
        assert parameters[name] is lstm._parameters[name]
        assert f"{name}_v" not in parameters
        assert f"{name}_g" not in parameters
