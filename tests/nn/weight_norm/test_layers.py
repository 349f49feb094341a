"""The layers: drop-in for torch's, two storages, and no write that is silently lost."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.weight_norm.layers import (
    WNConv2d,
    WNLinear,
    cap_vector_norms_,
    set_vector_norms_,
    weight_norm_groups,
)
from wnrl.optim.weight_norm import WNAdam

STORAGES = ["gv", "w"]
ROUNDING_64 = 1e-12  # float64 sums of tens of terms
ROUNDING_STEP = 1e-14  # 20,000 random steps were at most 4.4e-16 off, relative to what is added up
HALF_STEP = {torch.float16: 1e-3, torch.bfloat16: 8e-3}  # one rounding at that precision


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


@pytest.mark.parametrize("make", [linear, convolution])
@pytest.mark.parametrize("storage", STORAGES)
def test_layers_compile_in_one_graph_with_the_same_gradients(
    make: Callable[[str], Any], storage: str
) -> None:
    layer, reference = make(storage), make(storage)
    x = torch.ones(2, 5) if make is linear else torch.ones(2, 4, 7, 7)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    output, expected = compiled(x), reference(x)
    assert torch.allclose(output, expected, rtol=1e-6)
    output.sum().backward()
    expected.sum().backward()
    for mine, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_the_weight_can_be_read_in_a_compiled_function() -> None:
    layer = linear()
    torch._dynamo.reset()
    norm = torch.compile(lambda: layer.weight.square().sum(), fullgraph=True, backend="eager")
    assert torch.allclose(norm(), layer.weight_g.square().sum())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # inductor's own
@pytest.mark.parametrize("storage", STORAGES)
def test_layers_compile_with_the_default_backend(storage: str) -> None:
    layer, x = linear(storage), torch.ones(2, 5)
    torch._dynamo.reset()
    assert torch.allclose(torch.compile(layer, fullgraph=True)(x), layer(x), rtol=1e-6)


@pytest.mark.parametrize("make", [linear, convolution])
@pytest.mark.parametrize("storage", STORAGES)
def test_layers_are_exported_with_their_parameters(
    make: Callable[[str], Any], storage: str
) -> None:
    layer = make(storage)
    x = torch.ones(2, 5) if make is linear else torch.ones(2, 4, 7, 7)
    exported = torch.export.export(layer, (x,))
    assert set(exported.state_dict) == set(layer.state_dict())
    assert "wnrl" not in str(exported.graph)  # ONNX and other runtimes do not have our ops
    torch.testing.assert_close(exported.module()(2 * x), layer(2 * x))


# Checkpoints of torch's two forms.


def torchs_own(form: str) -> nn.Module:
    """A layer under torch's hook or parametrization, with gains that are not ||v||."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        layer = nn.Linear(5, 3)
    if form == "hook":
        with pytest.warns(FutureWarning):
            torch.nn.utils.weight_norm(layer)
        gain = layer.weight_g
    else:
        torch.nn.utils.parametrizations.weight_norm(layer)
        gain = layer.parametrizations.weight.original0
    with torch.no_grad():
        gain.copy_(torch.tensor([[2.0], [-1.0], [0.5]]))
    return layer


@pytest.mark.parametrize("form", ["hook", "parametrization"])
@pytest.mark.parametrize(
    ("storage", "gain"), [("w", "linear"), ("gv", "linear"), ("gv", "log"), ("gv", "fixed")]
)
def test_checkpoints_of_torchs_weight_norm_load(form: str, storage: str, gain: str) -> None:
    theirs, x = torchs_own(form), torch.arange(5.0)
    with torch.random.fork_rng(devices=[]):
        net = nn.Sequential(WNLinear(5, 3, storage=storage, gain=gain))
    net.load_state_dict({f"0.{name}": value for name, value in theirs.state_dict().items()})
    assert torch.allclose(net(x), theirs(x), rtol=1e-5, atol=1e-6)
    if storage == "gv" and gain != "log":
        assert torch.equal(net[0].weight_g.flatten(), torch.tensor([2.0, -1.0, 0.5]))
        assert net[0].weight_g.requires_grad == (gain == "linear")


def test_checkpoints_of_gv_load_into_torchs_own_forms() -> None:
    layer, x = linear(), torch.arange(5.0)
    hooked, parametrized = torchs_own("hook"), torchs_own("parametrization")
    hooked.load_state_dict(layer.state_dict())
    renamed = {"weight_g": "parametrizations.weight.original0"}
    renamed["weight_v"] = "parametrizations.weight.original1"
    state = {renamed.get(name, name): value for name, value in layer.state_dict().items()}
    parametrized.load_state_dict(state)
    for theirs in (hooked, parametrized):
        assert torch.allclose(theirs(x), layer(x), rtol=1e-6)


def test_checkpoints_that_do_not_fit_are_refused_by_name() -> None:
    layer = linear()
    with pytest.raises(RuntimeError, match=r"size mismatch for weight_v"):
        layer.load_state_dict({"weight": torch.ones(3, 4), "bias": torch.ones(3)})
    whole = {"weight_g": torch.ones(()), "weight_v": torch.ones(3, 5), "bias": torch.ones(3)}
    with pytest.raises(RuntimeError, match=r"weight: g is \(\)"):  # torch's dim=None
        linear("w").load_state_dict(whole)
    with pytest.raises(RuntimeError, match=r"Missing key.*weight_g"):
        layer.load_state_dict({"weight_v": torch.ones(3, 5), "bias": torch.ones(3)})


# Options.


def test_a_log_gain_computes_the_same_function_and_moves_by_factors() -> None:
    plain, layer = linear(), linear(gain="log", gain_scale=0.5)
    assert {name for name, _ in layer.named_parameters()} == {"weight_s", "weight_v", "bias"}
    x = torch.arange(5.0)
    assert torch.allclose(layer(x), plain(x), rtol=1e-5)
    assert torch.allclose(layer.weight_g, plain.weight_g, rtol=1e-6)
    layer(x).sum().backward()
    plain(x).sum().backward()
    # g = exp(c s), so dL/ds = c g dL/dg.
    expected = 0.5 * plain.weight_g * plain.weight_g.grad  # type: ignore[operator]  # it was made
    assert torch.allclose(layer.weight_s.grad, expected, rtol=1e-4)
    with torch.no_grad():
        layer.weight_s.add_(2.0)
    assert torch.allclose(layer.weight_g, plain.weight_g * torch.e, rtol=1e-5)
    for write in (layer.weight_g.zero_, lambda: setattr(layer, "weight_g", torch.ones(3, 1))):
        with pytest.raises(AttributeError, match="set_weight_"):
            write()
    copied = copy.deepcopy(layer)
    assert torch.equal(copied(x), layer(x))
    layer.set_weight_(torch.zeros(3, 5))
    assert torch.allclose(layer.weight, torch.zeros(3, 5), atol=1e-11)
    assert torch.isfinite(layer.weight_s).all()


def test_a_fixed_gain_does_not_learn_and_set_weight_writes_it() -> None:
    layer = linear(gain="fixed")
    gain = layer.weight_g.clone()
    optimizer = torch.optim.Adam(layer.parameters(), 0.1, weight_decay=0.1)
    layer(torch.ones(2, 5)).sum().backward()
    before = layer.weight_v.clone()
    optimizer.step()
    assert torch.equal(layer.weight_g, gain)
    assert not torch.equal(layer.weight_v, before)
    layer.set_weight_(torch.full((3, 5), 2.0))
    assert torch.allclose(layer.weight_g, torch.full((3, 1), 20**0.5))
    assert not copy.deepcopy(layer).weight_g.requires_grad


def test_a_cap_shortens_long_vectors_only_and_keeps_the_function() -> None:
    net = nn.Sequential(linear(max_v_norm=2.0), WNLinear(3, 3))
    x = torch.arange(5.0)
    with torch.no_grad():
        net[0].weight_v.copy_(torch.tensor([[3.0, 4, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]))
        net[1].weight_v.mul_(100)
    expected, free = net(x), net[1].weight_v.clone()
    cap_vector_norms_(net)
    rows = torch.tensor([[1.2, 1.6, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    assert torch.allclose(net[0].weight_v, rows)
    assert torch.equal(net[1].weight_v, free)
    assert torch.allclose(net(x), expected, rtol=1e-5)


def test_options_that_cannot_be_raise_and_show_in_the_repr() -> None:
    for option, words in (
        ({"gain": "exp"}, "gain is 'exp'"),
        ({"gain_scale": 0.0}, "gain_scale is 0"),
        ({"max_v_norm": -1.0}, "max_v_norm is -1"),
        ({"storage": "w", "gain": "log"}, "require storage='gv'"),
        ({"storage": "w", "max_v_norm": 1.0}, "require storage='gv'"),
    ):
        for kind in (lambda **o: WNLinear(2, 2, **o), lambda **o: WNConv2d(2, 2, 1, **o)):
            with pytest.raises(UsageError, match=words):
                kind(**option)
    shown = repr(linear(gain="log", gain_scale=2.0, max_v_norm=3.0))
    assert "storage='gv', gain='log', gain_scale=2.0, max_v_norm=3.0" in shown


def test_where_chooses_the_layers_whose_weights_are_normalized() -> None:
    network = nn.ModuleDict(
        {"body": nn.Linear(4, 3), "rnn": nn.LSTM(3, 2), "head": nn.Linear(2, 1)}
    )
    network["norm"] = nn.LayerNorm((2, 1))
    first, second = weight_norm_groups(network, where=lambda name, layer: name != "head", lr=0.1)
    assert first["weight_norm"] is True
    assert [tuple(p.shape) for p in first["params"]] == [(3, 4), (8, 3), (8, 2)]
    assert len(second["params"]) == 1 + 2 + 2 + 2
    with pytest.raises(UsageError, match=r"'0'.*normalized twice"):
        weight_norm_groups(nn.Sequential(linear()), where=lambda name, layer: True)


# Half precision, zero rows, distributed training, calls from outside.


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("gain", ["linear", "log"])
def test_norms_of_half_weights_are_taken_in_float32(dtype: torch.dtype, gain: str) -> None:
    layer = WNLinear(600, 2, dtype=dtype, gain=gain)
    wide = torch.full((2, 600), 300.0)  # its square is above float16's largest number
    layer.set_weight_(wide.to(dtype))
    assert layer.weight.dtype == dtype
    step = HALF_STEP[dtype] * (10 if gain == "log" else 1)  # the logarithm is near 9
    assert torch.allclose(layer.weight.float(), wide, rtol=2 * step)
    layer(torch.full((1, 600), 0.01, dtype=dtype)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_layers_run_under_autocast() -> None:
    layer = linear()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(torch.ones(2, 5))
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert layer.weight_g.grad is not None
    assert layer.weight_g.grad.dtype == torch.float32


@pytest.mark.parametrize("gain", ["linear", "log", "fixed"])
def test_a_row_of_zeros_is_zero_and_can_learn(gain: str) -> None:
    layer = linear(gain=gain)
    with torch.no_grad():
        layer.weight_v[1] = 0.0
    assert not layer.weight[1].any()
    layer(torch.ones(2, 5)).sum().backward()
    assert torch.isfinite(
        torch.cat([p.grad.flatten() for p in layer.parameters() if p.requires_grad])
    ).all()  # type: ignore[union-attr]  # made
    assert layer.weight_v.grad[1].any()  # type: ignore[index]  # made


def test_a_functional_call_computes_with_the_parameters_given() -> None:
    layer, other, x = linear(), linear(seed=5), torch.ones(2, 5)
    output = torch.func.functional_call(layer, dict(other.named_parameters()), (x,))
    assert torch.equal(output, other(x))


# The paper's mathematics on a layer, in float64.

sizes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**31))


def random_layer(size: tuple[int, int, int]) -> tuple[WNLinear, Tensor]:
    """A layer with g and v of any length, and dL/dw of L = <dL/dw, w>."""
    units, fan_in, seed = size
    generator = torch.Generator().manual_seed(seed)
    layer = WNLinear(fan_in, units, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_v.normal_(0.0, 3.0, generator=generator)
        layer.weight_g.normal_(0.0, 2.0, generator=generator)
    dw = torch.randn(units, fan_in, dtype=torch.float64, generator=generator)
    (layer.weight * dw).sum().backward()
    return layer, dw


@given(sizes)
@settings(max_examples=40, deadline=None)
def test_the_norm_of_a_row_of_w_is_the_size_of_g(size: tuple[int, int, int]) -> None:
    layer, _ = random_layer(size)
    assert torch.allclose(layer.weight.norm(dim=1), layer.weight_g.abs().flatten())


@given(sizes, st.floats(0.01, 100.0))
@settings(max_examples=40, deadline=None)
def test_w_does_not_depend_on_the_length_of_v(size: tuple[int, int, int], c: float) -> None:
    layer, _ = random_layer(size)
    before = layer.weight.clone()
    with torch.no_grad():
        layer.weight_v.mul_(c)
    assert torch.allclose(layer.weight, before, rtol=ROUNDING_64, atol=ROUNDING_64)


@given(sizes)
@settings(max_examples=40, deadline=None)
def test_equations_2_to_4_and_grad_v_orthogonal_to_v(size: tuple[int, int, int]) -> None:
    layer, dw = random_layer(size)
    v, g = layer.weight_v.detach(), layer.weight_g.detach()
    dv, dg = layer.weight_v.grad, layer.weight_g.grad
    assert dv is not None
    assert dg is not None
    length = v.norm(dim=1, keepdim=True)
    scale = float((g.abs() / length).max() * dw.abs().max()) + 1.0  # of the gradients
    w = layer.weight.detach()
    assert torch.allclose(w, g * v / length)  # eq. 2
    expected = (dw * v).sum(dim=1, keepdim=True) / length
    assert torch.allclose(dg, expected, atol=ROUNDING_64 * scale)  # eq. 3
    assert torch.allclose(
        dv, g / length * dw - g * dg / length**2 * v, atol=ROUNDING_64 * scale
    )  # eq. 3
    for row in range(len(w)):  # eq. 4: dv = g / ||v|| M_w dw, M_w = I - w w' / ||w||^2
        m = torch.eye(w.shape[1]).double() - torch.outer(w[row], w[row]) / w[row].square().sum()
        projected = g[row] / length[row] * (m @ dw[row])
        assert torch.allclose(dv[row], projected, atol=ROUNDING_64 * scale)
    # Orthogonal, relative to what is added up.
    assert ((dv * v).sum(1).abs() <= ROUNDING_64 * scale * length.flatten()).all()


@given(sizes, st.floats(1e-3, 10.0))
@example((3, 1, 6211), 5.0)  # a short v: terms of the gradient that cancel are 1e4 times longer
@settings(max_examples=40, deadline=None)
def test_plain_gradient_descent_never_shortens_v(size: tuple[int, int, int], lr: float) -> None:
    layer, dw = random_layer(size)
    before = layer.weight_v.detach().norm(dim=1)
    # What is added up, and so the unit of rounding: v, and two terms of dL/dv as long as this.
    terms = layer.weight_g.detach().abs().flatten() / before * dw.norm(dim=1)
    rounding = ROUNDING_STEP * (before + lr * terms)
    torch.optim.SGD(layer.parameters(), lr).step()
    after = layer.weight_v.detach().norm(dim=1)
    assert (after >= before - rounding).all()
    # Pythagoras (section 2.1): ||v'||^2 = ||v||^2 + lr^2 ||dv||^2.
    step = lr * layer.weight_v.grad.norm(dim=1)  # type: ignore[union-attr]  # made
    assert ((after - (before**2 + step**2).sqrt()).abs() <= rounding).all()


def test_a_set_length_of_v_leaves_w_and_g() -> None:
    layer = linear()
    weight, gain = layer.weight.clone(), layer.weight_g.clone()
    set_vector_norms_(layer, "unit")
    assert torch.allclose(layer.weight_v.norm(dim=1), torch.ones(3))
    assert torch.allclose(layer.weight, weight, rtol=1e-5)
    assert torch.equal(layer.weight_g, gain)
