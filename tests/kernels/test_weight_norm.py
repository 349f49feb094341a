"""The Triton kernels against the float64 reference: in the interpreter, or compiled on a GPU."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from wnrl.kernels import backend, ops, reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    # Triton reads the variable when it is imported: nothing may have imported it without.
    assert "triton" not in sys.modules or os.environ.get("TRITON_INTERPRET") == "1"
    os.environ["TRITON_INTERPRET"] = "1"

weight_norm = pytest.importorskip("wnrl.kernels.weight_norm", reason="Triton is for Linux")

LENGTHS = (1, 7, 41, 123, 1025)  # 1025: one more than a block
ROWS = 3
# The error rule is |fast - ref64| <= 2 |eager - ref64| + atol (STYLE.md, 28). `atol`, relative to
# the size of the terms, is one unit in the last place: the order of a sum may differ, and the
# interpreter truncates to bfloat16 where a GPU rounds. In float64, where ref64 is rounded as well,
# it is 8 units.
LAST_PLACE = {
    torch.float64: 8 * 2.0**-52,
    torch.float32: 2.0**-23,
    torch.float16: 2.0**-10,
    torch.bfloat16: 2.0**-7,
}

Layers = tuple[list[Tensor], list[Tensor], list[Tensor]]


def layers(dtype: torch.dtype, seed: int = 0) -> Layers:
    """Ragged (dws, vs, gs), with a row of zeros in the second layer and gains of both signs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(DEVICE, dtype)

    dws, vs = ([draw(ROWS, length) for length in LENGTHS] for _ in range(2))
    vs[1][1] = 0
    return dws, vs, [draw(ROWS, 1) for _ in LENGTHS]


def run(dws: list[Tensor], vs: list[Tensor], gs: list[Tensor]) -> Layers:
    """(ws, dvs, dgs) from the kernels."""
    ws, norms = weight_norm.forward(vs, gs)
    return ws, *weight_norm.backward(dws, vs, gs, norms)


@pytest.mark.parametrize("dtype", list(LAST_PLACE), ids=str)
def test_every_layer_is_as_close_to_float64_as_plain_pytorch_is(dtype: torch.dtype) -> None:
    dws, vs, gs = layers(dtype)
    for dw, v, g, w, dv, dg in zip(dws, vs, gs, *run(dws, vs, gs), strict=True):
        dw64, v64, g64 = dw.double(), v.double(), g.double()
        norm = reference.row_norm(v64)
        scale = g64.abs() / norm.masked_fill(norm == 0, 1.0)
        eager = (reference.effective_weight(v, g), *reference.gradients(dw, v, g))
        exact = (reference.effective_weight(v64, g64), *reference.gradients(dw64, v64, g64))
        sizes = (scale * v64.abs(), scale * dw64.abs(), dw64.norm(dim=1, keepdim=True))
        for fast, slow, truth, size in zip((w, dv, dg), eager, exact, sizes, strict=True):
            assert fast.dtype == dtype
            allowed = 2 * (slow.double() - truth).abs().max() + LAST_PLACE[dtype] * size.max()
            assert (fast.double() - truth).abs().max() <= allowed, (v.shape, size.max())


def test_hand_numbers_of_equations_2_and_3_and_a_row_of_zeros() -> None:
    v = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]], device=DEVICE)
    g = torch.tensor([[10.0], [-1.0], [2.0]], device=DEVICE)
    dw = torch.tensor([[5.0, 0.0], [1.0, 1.0], [1.0, -1.0]], device=DEVICE)
    (w,), (norm,) = weight_norm.forward([v], [g])
    (dv,), (dg,) = weight_norm.backward([dw], [v], [g], [norm])
    assert norm.tolist() == [[5.0], [2.0], [1.0]]
    assert w.tolist() == [[6.0, 8.0], [0.0, -1.0], [0.0, 0.0]]
    # dg = 15 / 5; dv = 2 ((5, 0) - 3 / 5 (3, 4)). Second row: dg = 2 / 2; dv = -(1, 0) / 2.
    assert torch.allclose(dg.cpu(), torch.tensor([[3.0], [1.0], [0.0]]))
    assert torch.allclose(dv.cpu(), torch.tensor([[6.4, -4.8], [-0.5, 0.0], [2.0, -2.0]]))


def test_half_precision_sums_in_float32() -> None:
    v = torch.full((1, 4096), 8.0, dtype=torch.float16, device=DEVICE)  # sum of squares: 262,144
    (w,), (norm,) = weight_norm.forward([v], [torch.ones(1, 1, device=DEVICE).half()])
    assert norm.dtype == torch.float32
    assert norm.item() == 512.0
    assert torch.equal(w, torch.full_like(v, 1 / 64))


def test_twice_gives_the_same_bits() -> None:
    arguments = layers(torch.float32)
    for first, second in zip(run(*arguments), run(*arguments), strict=True):
        assert all(map(torch.equal, first, second))


class Recorder:
    """A kernel that notes the grid of each launch."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.grids = kernel, []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        self.grids.append(grid)
        return self.kernel[grid]


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, ...]]]:
    recorders = {name: Recorder(getattr(weight_norm, name)) for name in KERNELS}
    for name, recorder in recorders.items():
        monkeypatch.setattr(weight_norm, name, recorder)
    return [recorder.grids for recorder in recorders.values()]


KERNELS = ("forward_kernel", "backward_kernel")


def test_all_layers_take_one_launch_forward_and_one_backward(
    grids: list[list[tuple[int, ...]]],
) -> None:
    run(*layers(torch.float32))
    assert grids == [[(ROWS * len(LENGTHS),)]] * 2


def test_more_layers_than_a_launch_takes_give_the_same_bits(
    grids: list[list[tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = layers(torch.float32)
    together = run(*arguments)
    monkeypatch.setattr(weight_norm, "MAX_LAYERS", 2)
    for whole, parts in zip(together, run(*arguments), strict=True):
        assert all(map(torch.equal, whole, parts))
    assert [len(launches) for launches in grids] == [1 + 3] * 2


def test_long_rows_are_launched_first() -> None:
    table = weight_norm._row_table(((2, 3), (1, 9)), torch.device("cpu"))
    assert table.tolist() == [[1, 0, 9], [0, 0, 3], [0, 1, 3]]


def test_what_the_kernels_cannot_take_is_refused_before_a_launch() -> None:
    v, g = torch.ones(2, 3, device=DEVICE), torch.ones(2, 1, device=DEVICE)
    with pytest.raises(ValueError, match=r"v of layer 1 is \(2, 3\).*strides \(1, 2\)"):
        weight_norm.forward([v, torch.ones(3, 2, device=DEVICE).t()], [g, g])
    with pytest.raises(ValueError, match=r"g of layer 0 is \(2, 1\) torch.float64"):
        weight_norm.forward([v], [g.double()])
    with pytest.raises(ValueError, match=r"dw of layer 0 is \(3, 2\)"):
        weight_norm.backward([v.t().contiguous()], [v], [g], [g])


# ---- through the op ----


@pytest.fixture
def _triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(backend.VARIABLE, "triton")
    backend.backend_of.cache_clear()
    yield
    backend.backend_of.cache_clear()


@pytest.mark.usefixtures("_triton")
def test_the_op_takes_other_layouts_through_the_kernels(
    grids: list[list[tuple[int, ...]]],
) -> None:
    torch.manual_seed(1)
    strided = torch.randn(4, 10, device=DEVICE)[:, ::2]
    channels_last = torch.randn(2, 3, 2, 2, device=DEVICE).to(memory_format=torch.channels_last)
    vs = [v.requires_grad_() for v in (strided, channels_last, torch.randn(4, 3, device=DEVICE))]
    gs = [torch.randn(len(v), *[1] * (v.ndim - 1), device=DEVICE).requires_grad_() for v in vs]
    ws = ops.weight_norm_many(vs, gs)
    expected = [reference.effective_weight(v, g) for v, g in zip(vs, gs, strict=True)]
    dws = [torch.randn(v.shape, device=DEVICE) for v in vs]  # contiguous, whatever v is
    found = [*ws, *torch.autograd.grad(ws, [*vs, *gs], dws)]
    for own, theirs in zip(
        found, [*expected, *torch.autograd.grad(expected, [*vs, *gs], dws)], strict=True
    ):
        assert torch.allclose(own, theirs, rtol=1e-5, atol=1e-6)  # float32 sums of ten terms
    assert ws[1].is_contiguous(memory_format=torch.channels_last)
    assert [len(launches) for launches in grids] == [1, 1]


@pytest.mark.usefixtures("_triton")
def test_layers_of_two_types_take_a_launch_each(grids: list[list[tuple[int, ...]]]) -> None:
    v = torch.tensor([[3.0, 4.0]], device=DEVICE)
    vs = [v, v.bfloat16(), 2 * v]
    ws = ops.weight_norm_many(vs, [torch.ones(1, 1, device=DEVICE, dtype=v.dtype) for v in vs])
    assert [w.dtype for w in ws] == [torch.float32, torch.bfloat16, torch.float32]
    assert all(torch.allclose(w.float(), v / 5, atol=LAST_PLACE[torch.bfloat16]) for w in ws)
    assert grids[0] == [(2,), (1,)]


@pytest.mark.gpu
@pytest.mark.usefixtures("_triton")
def test_a_captured_graph_follows_new_values_of_v() -> None:
    _, vs, gs = layers(torch.float32)
    ops.weight_norm_many(vs, gs)  # compiles the kernel and copies the table of rows
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ws = ops.weight_norm_many(vs, gs)
    for v in vs:
        v.add_(1.0)
    graph.replay()
    assert all(map(torch.equal, ws, ops.weight_norm_many(vs, gs)))
