"""The op over all layers, its transforms, and which backend it takes."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from wnrl._settings import UsageError
from wnrl.kernels import backend, ops, reference
from wnrl.kernels.ops import weight_norm_many
from wnrl.kernels.row_layout import axis_order, to_rows

SUM_ORDER = 1e-5  # float32 sums of up to a thousand terms in another order, relative
TINY = 1e-6  # the same where terms of size 1 cancel
LAST_PLACE = {torch.float32: 2.0**-23, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-8}
LENGTHS = (1, 7, 41, 123, 1025)


@pytest.fixture(autouse=True)
def _choose_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(backend.VARIABLE, raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    backend.backend_of.cache_clear()
    yield
    backend.backend_of.cache_clear()


@pytest.fixture(params=["aten", "reference"])
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.VARIABLE, request.param)


both_backends = pytest.mark.usefixtures("_backend")


def layers(dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
    """A convolution in channels_last, one in the usual order and a linear layer."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    vs = [draw(2, 3, 2, 2).to(memory_format=torch.channels_last), draw(2, 2, 3, 1), draw(3, 5)]
    gs = [draw(len(v), *[1] * (v.ndim - 1)) for v in vs]
    return [v.requires_grad_() for v in vs], [g.requires_grad_() for g in gs]


def of_flat(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(weight_norm_many(list(tensors[:3]), list(tensors[3:])))


# ---- values and gradients ----


@both_backends
@pytest.mark.parametrize("dtype", list(LAST_PLACE), ids=str)
def test_every_layer_is_as_close_to_float64_as_plain_pytorch_is(dtype: torch.dtype) -> None:
    # STYLE.md, 28: |fast - ref64| <= 2 |eager - ref64| + atol, atol relative to the terms' size.
    generator = torch.Generator().manual_seed(1)
    vs, dws = (
        [torch.randn(3, length, generator=generator).to(dtype) for length in LENGTHS]
        for _ in range(2)
    )
    vs[1][1] = 0
    vs = [v.requires_grad_() for v in vs]
    gs = [torch.randn(3, 1, generator=generator).to(dtype).requires_grad_() for _ in LENGTHS]
    ws = weight_norm_many(vs, gs)
    grads = torch.autograd.grad(ws, [*vs, *gs], dws)
    for i, (dw, v, g) in enumerate(zip(dws, vs, gs, strict=True)):
        v, g = v.detach(), g.detach()
        dw64, v64, g64 = dw.double(), v.double(), g.double()
        norm = reference.row_norm(v64)
        scale = g64.abs() / norm.masked_fill(norm == 0, 1.0)
        eager = (reference.effective_weight(v, g), *reference.gradients(dw, v, g))
        exact = (reference.effective_weight(v64, g64), *reference.gradients(dw64, v64, g64))
        sizes = (scale * v64.abs(), scale * dw64.abs(), dw64.norm(dim=1, keepdim=True))
        found = (ws[i], grads[i], grads[len(vs) + i])
        for fast, slow, truth, size in zip(found, eager, exact, sizes, strict=True):
            assert fast.dtype == dtype
            allowed = 2 * (slow.double() - truth).abs().max() + LAST_PLACE[dtype] * size.max()
            assert (fast.double() - truth).abs().max() <= allowed


@both_backends
def test_hand_numbers_of_equations_2_and_3_and_a_row_of_zeros() -> None:
    v = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], requires_grad=True)
    g = torch.tensor([[10.0], [-1.0], [2.0]], requires_grad=True)
    (w,) = weight_norm_many([v], [g])
    assert w.tolist() == [[6.0, 8.0], [0.0, -1.0], [0.0, 0.0]]
    _, (norm,) = ops._weight_norm_many([v], [g])
    assert norm.tolist() == [[5.0], [2.0], [1.0]]
    dv, dg = torch.autograd.grad(w, (v, g), torch.tensor([[5.0, 0.0], [1.0, 1.0], [1.0, -1.0]]))
    # dg = 15 / 5; dv = 2 ((5, 0) - 3 / 5 (3, 4)). Second row: dg = 2 / 2; dv = -(1, 0) / 2.
    assert torch.allclose(dg, torch.tensor([[3.0], [1.0], [0.0]]))
    assert torch.allclose(dv, torch.tensor([[6.4, -4.8], [-0.5, 0.0], [2.0, -2.0]]))


@both_backends
def test_any_layout_of_v_and_of_the_gradient_gives_the_references_values() -> None:
    torch.manual_seed(2)
    vs = [
        torch.randn(4, 10)[:, ::2],
        torch.randn(5, 4).t(),
        torch.randn(2, 3, 4, 5).permute(0, 3, 1, 2),
        torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
        torch.randn(3, 2, 1).expand(3, 2, 4),
    ]
    vs = [v.requires_grad_() for v in vs]
    gs = [torch.randn(len(v), *[1] * (v.ndim - 1)).requires_grad_() for v in vs]
    ws = weight_norm_many(vs, gs)
    expected = [reference.effective_weight(v, g) for v, g in zip(vs, gs, strict=True)]
    dws = [torch.randn(v.shape) for v in vs]
    found = [*ws, *torch.autograd.grad(ws, [*vs, *gs], dws)]
    theirs = [*expected, *torch.autograd.grad(expected, [*vs, *gs], dws)]
    for own, other in zip(found, theirs, strict=True):
        assert torch.allclose(own, other, rtol=SUM_ORDER, atol=TINY)


@both_backends
def test_a_channels_last_weight_stays_channels_last_both_ways() -> None:
    vs, gs = layers(torch.float32)
    w = weight_norm_many(vs, gs)[0]
    assert w.stride() == vs[0].stride()
    (dv,) = torch.autograd.grad(w, vs[0], torch.ones(w.shape))
    assert dv.stride() == vs[0].stride()


def test_a_channels_last_weight_is_not_copied() -> None:
    v = layers(torch.float32)[0][0].detach()
    rows = to_rows(v, axis_order(v))
    assert rows.shape == (2, 12)
    assert rows.data_ptr() == v.data_ptr()


@both_backends
def test_twice_gives_the_same_bits() -> None:
    vs, gs = layers(torch.float32)
    first, second = (
        [*ws, *torch.autograd.grad(ws, [*vs, *gs], [torch.ones_like(w) for w in ws])]
        for ws in (weight_norm_many(vs, gs), weight_norm_many(vs, gs))
    )
    assert all(map(torch.equal, first, second))


def test_layers_of_several_types_come_back_in_their_order() -> None:
    v = torch.tensor([[3.0, 4.0]])
    vs = [v, v.double(), 2 * v]
    ws = weight_norm_many(vs, [torch.full((1, 1), 5.0, dtype=v.dtype) for v in vs])
    assert [w.tolist() for w in ws] == [[[3.0, 4.0]]] * 3
    assert [w.dtype for w in ws] == [torch.float32, torch.float64, torch.float32]
    assert weight_norm_many([], []) == []


@both_backends
def test_a_layer_that_the_loss_does_not_use_has_no_gradient() -> None:
    vs, gs = layers()
    weight_norm_many(vs, gs)[1].sum().backward()
    assert [v.grad is None for v in vs] == [True, False, True]
    assert [g.grad is None for g in gs] == [True, False, True]


def test_a_fixed_gain_has_no_gradient_and_v_has_the_same_one() -> None:
    vs, gs = layers()
    expected = torch.autograd.grad(weight_norm_many(vs, gs)[0].sum(), vs[0])
    fixed = weight_norm_many(vs, [g.detach() for g in gs])[0]
    assert torch.equal(torch.autograd.grad(fixed.sum(), vs[0])[0], expected[0])


def test_without_gradients_nothing_is_recorded() -> None:
    with torch.no_grad():
        assert not any(w.requires_grad for w in weight_norm_many(*layers()))


# ---- torch's own checks and transforms ----


@both_backends
def test_gradcheck_once_and_twice() -> None:
    vs, gs = layers()
    assert torch.autograd.gradcheck(of_flat, (*vs, *gs))
    assert torch.autograd.gradgradcheck(of_flat, (*vs, *gs))


@pytest.mark.slow
def test_opcheck_of_the_forward_and_the_backward_op() -> None:
    vs, gs = layers()
    torch.library.opcheck(ops._weight_norm_many, (vs, gs))
    torch.library.opcheck(ops._weight_norm_many, (vs, [g.detach() for g in gs]))
    ws, norms = ops._weight_norm_many(vs, gs)
    dws = [torch.randn(w.shape, dtype=w.dtype, requires_grad=True) for w in ws]
    torch.library.opcheck(ops._weight_norm_many_backward, (dws, vs, gs, norms))


class Network(nn.Module):
    """A convolution in channels_last and a linear layer, whose weights come from one call."""

    def __init__(self) -> None:
        super().__init__()
        vs, gs = layers(torch.float32)
        self.vs = nn.ParameterList([vs[0], vs[2]])
        self.gs = nn.ParameterList([gs[0], gs[2]])

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 4, 4) -> (B, 2, 3, 3)."""
        convolution, linear = weight_norm_many(list(self.vs), list(self.gs))
        return nn.functional.conv2d(x, convolution) * linear.mean()


def assert_same_training(network: Network, other: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    parameters = list(network.parameters())
    results = []
    for forward in (network, other):
        y = forward(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), parameters)])
    for own, theirs in zip(*results, strict=True):
        assert torch.allclose(own, theirs, rtol=SUM_ORDER, atol=TINY)


def test_it_compiles_into_one_graph() -> None:
    network = Network()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert_same_training(network, compiled)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method.:DeprecationWarning")  # inductor's own
def test_it_compiles_into_one_graph_with_inductor() -> None:
    network = Network()
    assert_same_training(network, torch.compile(network, fullgraph=True))


def test_it_exports_as_one_call() -> None:
    network = Network()
    exported = torch.export.export(network, (torch.zeros(2, 3, 4, 4),))
    calls = [node for node in exported.graph.nodes if "wnrl" in str(node.target)]
    assert [str(node.target) for node in calls] == ["wnrl.weight_norm_many.default"]
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(exported.module()(x), network(x))


# ---- errors ----


def test_what_does_not_fit_raises_and_says_what_came() -> None:
    v, g = torch.ones(2, 3), torch.ones(2, 1)
    with pytest.raises(ValueError, match="2 weight vectors and 1 gains"):
        weight_norm_many([v, v], [g])
    with pytest.raises(ValueError, match=r"g of layer 1 is \(2,\).*\(2, 1\)"):
        weight_norm_many([v, v], [g, torch.ones(2)])
    with pytest.raises(ValueError, match=r"g of layer 0 is \(2, 1\) torch.float64"):
        weight_norm_many([v], [g.double()])
    with pytest.raises(ValueError, match=r"v of layer 0 is \(3,\).*two or more axes"):
        weight_norm_many([torch.ones(3)], [g])
    with pytest.raises(ValueError, match=r"torch\.int64"):
        weight_norm_many([v.long()], [g.long()])
    with pytest.raises(ValueError, match="at least one element"):
        weight_norm_many([torch.ones(2, 0)], [g])


# ---- which backend ----


def test_the_cpu_takes_numba_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=backend.__name__)
    assert not any(backend.use_triton(torch.ones(1)) for _ in range(3))
    assert backend.use_numba(torch.ones(1))
    assert caplog.messages == ["kernels on cpu: numba (one pass over each row)"]


def test_the_cpu_without_numba_takes_aten_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    assert not any(backend.use_numba(torch.ones(1)) for _ in range(3))
    assert backend.backend_of("cpu") == "aten"
    assert caplog.messages == [
        "kernels on cpu: aten (slower: numba is not installed: pip install numba)"
    ]


def test_the_cpu_takes_aten_if_numba_refuses_this_python_or_numpy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        raise ImportError("Numba needs NumPy 2.4 or less")

    backend._numba_imports.cache_clear()
    monkeypatch.setattr(backend, "import_module", refuse)
    assert not any(backend.use_numba(torch.ones(1)) for _ in range(3))
    backend._numba_imports.cache_clear()
    assert caplog.messages == [
        "kernels on cpu: aten (slower: numba cannot be imported: Numba needs NumPy 2.4 or less)"
    ]


def test_cuda_takes_triton_where_nothing_stands_in_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "triton_obstacle", lambda: "")
    assert backend.backend_of("cuda") == "triton"


def test_cuda_without_triton_takes_aten_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    assert backend.backend_of("cuda") == "aten"
    assert "pip install triton" in caplog.messages[0]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(("compiler", "headers"), [(None, "/"), ("gcc", "/nowhere")])
def test_cuda_without_a_compiler_or_pythons_headers_takes_aten(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    compiler: str | None,
    headers: str,
) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(backend.shutil, "which", lambda name: compiler)
    monkeypatch.setattr(backend.sysconfig, "get_path", lambda name, scheme: headers)
    monkeypatch.delenv("CC", raising=False)
    assert backend.backend_of("cuda") == "aten"
    assert ("headers" if compiler else "C compiler") in caplog.messages[0]


@pytest.mark.slow  # starts a process
def test_it_works_where_triton_is_not_installed() -> None:
    program = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch; from wnrl.kernels.ops import weight_norm_many\n"
        "print(weight_norm_many([torch.tensor([[3.0, 4.0]])], [torch.tensor([[10.0]])])[0])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "tensor([[6., 8.]])\n", run.stderr


def test_another_device_takes_the_reference() -> None:
    assert backend.backend_of("mps") == "reference"


@pytest.mark.parametrize("name", ["aten", "reference"])
def test_the_variable_overrides_the_choice(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(backend.VARIABLE, name)
    monkeypatch.setattr(backend, "triton_obstacle", lambda: "")
    assert backend.backend_of("cuda") == name
    assert backend.backend_of("cpu") == name


def test_nonsense_in_the_variable_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.VARIABLE, "tritn")
    with pytest.raises(UsageError, match=r"WNRL_BACKEND is 'tritn': .*did you mean triton\?"):
        weight_norm_many(*layers())


def test_a_backend_that_cannot_run_on_the_device_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv(backend.VARIABLE, "triton")
    with pytest.raises(UsageError, match="TRITON_INTERPRET=1"):
        backend.backend_of("cpu")
    with pytest.raises(UsageError, match="pip install triton"):
        backend.backend_of("cuda")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(UsageError, match="pip install triton"):
        backend.backend_of("cpu")
    monkeypatch.setenv(backend.VARIABLE, "numba")
    with pytest.raises(UsageError, match="pip install numba"):
        backend.backend_of("cpu")
    with pytest.raises(UsageError, match="numba runs on cpu; use triton"):
        backend.backend_of("cuda")
    monkeypatch.setenv(backend.VARIABLE, "aten")
    with pytest.raises(UsageError, match="use reference"):
        backend.backend_of("mps")


def test_triton_takes_cpu_tensors_in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv(backend.VARIABLE, "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.use_triton(torch.ones(1))


# ---- one layer ----


@both_backends
@pytest.mark.parametrize("dtype", list(LAST_PLACE), ids=str)
def test_one_layer_has_the_values_layout_and_gradients_of_the_op(dtype: torch.dtype) -> None:
    for v, g in zip(*layers(dtype), strict=True):
        generator = torch.Generator().manual_seed(1)
        outcomes = []
        for compute in (ops.weight_norm, lambda v, g: weight_norm_many([v], [g])[0]):
            w = compute(v, g)
            pull = torch.randn(w.shape, generator=generator.manual_seed(2)).to(dtype)
            outcomes.append((w, *torch.autograd.grad(w, (v, g), pull)))
        bound = 4 * LAST_PLACE.get(dtype, 0.0)
        for mine, theirs in zip(*outcomes, strict=True):
            assert mine.stride() == theirs.stride()
            assert torch.allclose(mine, theirs, rtol=bound, atol=bound)


def test_one_layer_with_a_row_of_zeros_has_the_references_gradients() -> None:
    v = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    g = torch.tensor([[10.0], [2.0]], requires_grad=True)
    w = ops.weight_norm(v, g)
    assert w.tolist() == [[6.0, 8.0], [0.0, 0.0]]
    dv, dg = torch.autograd.grad(w, (v, g), torch.ones(2, 2))
    assert dv[1].tolist() == [2.0, 2.0]  # g dL/dw
    assert dg.flatten().tolist() == pytest.approx([1.4, 0.0])


def test_one_layer_can_be_differentiated_twice() -> None:
    for v, g in zip(*layers(), strict=True):
        assert torch.autograd.gradgradcheck(ops.weight_norm, (v, g))


def test_one_layer_can_be_mapped_over_an_ensemble() -> None:
    v, g = torch.randn(3, 4, 5), torch.randn(3, 4, 1)
    mapped = torch.func.vmap(ops.weight_norm)(v, g)
    for index in range(3):
        assert torch.allclose(mapped[index], ops.weight_norm(v[index], g[index]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_one_layer_has_a_forward_mode_derivative() -> None:
    v, g = layers()[0][2].detach(), layers()[1][2].detach()
    tangent = torch.randn(v.shape, generator=torch.Generator().manual_seed(3), dtype=v.dtype)
    with forward_ad.dual_level():
        w = ops.weight_norm(forward_ad.make_dual(v, tangent), g)
        derivative = forward_ad.unpack_dual(w).tangent
    step = 1e-6
    expected = (ops.weight_norm(v + step * tangent, g) - ops.weight_norm(v, g)) / step
    assert derivative is not None
    assert torch.allclose(derivative, expected, atol=1e-4)


def test_one_layer_can_be_traced_and_faked() -> None:
    v, g = torch.randn(3, 5), torch.rand(3, 1)
    traced = make_fx(ops.weight_norm)(v, g)
    assert torch.allclose(traced(2 * v, g), ops.weight_norm(v, g))
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(v)
        assert ops.weight_norm(fake, mode.from_tensor(g)).shape == (3, 5)
    assert ops.weight_norm(fake, fake[:, :1]).shape == (3, 5)  # outside of its mode too


@both_backends
def test_a_decomposed_weight_comes_back_bit_for_bit() -> None:
    for v in layers(torch.float32)[0]:
        parts = ops.decompose(v.detach())
        assert torch.equal(ops.weight_norm(*parts), v)
        assert torch.equal(weight_norm_many([parts[0]], [parts[1]])[0], v)
