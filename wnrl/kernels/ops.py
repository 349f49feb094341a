"""The weights of all weight-normalized layers as one differentiable torch op.

`weight_norm_many` computes w = g v / ||v|| (Salimans & Kingma 2016, eq. 2) of every layer in one
call and their gradients (eq. 3) in one: a single Triton launch each way on a GPU, ATen's kernels
layer by layer on the CPU. It works under torch.compile(fullgraph=True) and torch.export, and can be
differentiated twice. reference.py is its oracle, rows of zeros included.

Every backend sees a layer as rows (O, K) in the order of memory, so a channels_last weight goes in
as a permuted view, without a copy, and its w comes out in channels_last.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.autograd import forward_ad

from wnrl.kernels import reference
from wnrl.kernels.backend import backend_of
from wnrl.kernels.row_layout import axis_order, empty_like_weight, from_rows, gain_rows, to_rows

_WIDE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}

_PLAIN = (Tensor, nn.Parameter)


def weight_norm_many(vs: list[Tensor], gs: list[Tensor]) -> list[Tensor]:
    """w = g v / ||v|| of every layer, differentiable in vs and gs.

    A row of zeros gives w = 0, dL/dg = 0 and dL/dv = g dL/dw. Norms and sums are in float32 for
    half precision. A w that the loss does not use leaves its v and g without a gradient.

    Args:
        vs: weight vectors (O, ...), one per layer.
        gs: gains (O, 1, ...), each of the type and on the device of its v.

    Returns:
        The weights (O, ...), of the type and memory layout of their v.

    Raises:
        ValueError: on lists of different lengths, shapes that do not fit, or a type that is not
            float16, bfloat16, float32 or float64.
    """
    _check(vs, gs)
    kinds = list(dict.fromkeys((v.dtype, v.device) for v in vs))  # a launch takes one kind
    ws: dict[int, Tensor] = {}
    for kind in kinds:
        members = [i for i, v in enumerate(vs) if (v.dtype, v.device) == kind]
        computed, _ = _weight_norm_many([vs[i] for i in members], [gs[i] for i in members])
        ws.update(zip(members, computed, strict=True))
    return [ws[i] for i in range(len(vs))]


def weight_norm(v: Tensor, g: Tensor) -> Tensor:
    """w of one layer as `weight_norm_many` has it; on the CPU with less to pay per call.

    Not through torch's own derivative of its kernel: it takes ||v|| for a constant, so that second
    derivatives are wrong (torch 2.13). torch.func's transforms and forward-mode derivatives see the
    reference.

    Args:
        v: (O, ...) weight vectors, as a layer holds them: nothing is checked.
        g: (O, 1, ...) gains, of the type and on the device of v.
    """
    if (
        v.device.type != "cpu"
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0  # tracing, fake tensors: no values to look at
        or type(v) not in _PLAIN
    ):
        return weight_norm_many([v], [g])[0]
    if (
        is_functorch_wrapped_tensor(v)
        or is_functorch_wrapped_tensor(g)
        or forward_ad._current_level >= 0
    ):
        return reference.effective_weight(v, g)
    if not torch.is_grad_enabled():
        return _one_layer(v, g)[0]
    w: Tensor = _OneLayer.apply(v, g)  # type: ignore[no-untyped-call]  # torch's has no types
    return w


def _one_layer(v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """w (O, ...) and ||v|| (O, 1)."""
    order = axis_order(v)
    (rows,), (norm,) = _forward(backend_of(v.device.type), [to_rows(v, order)], [gain_rows(g)])
    return from_rows(rows, v, order), norm


class _OneLayer(torch.autograd.Function):
    """The op for one layer without the dispatcher's way through Python."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, g: Tensor) -> Tensor:
        w, norm = _one_layer(v, g)
        ctx.save_for_backward(v, g, norm)
        return w

    @staticmethod
    def backward(ctx: Any, *dws: Tensor) -> tuple[Tensor, Tensor]:
        v, g, norm = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            return reference.gradients(dws[0], v, g)
        (dv,), (dg,) = _gradients([dws[0]], [v], [g], [norm])
        return dv, dg


@torch.no_grad()
def decompose(w: Tensor) -> tuple[Tensor, Tensor]:
    """(v, g) as `reference.decompose`, with ||w|| as this device's kernels sum it.

    So g / ||v|| is exactly 1, and what `weight_norm` gives back is w to the last bit (in half
    precision to rounding).

    Args:
        w: (O, ...).
    """
    v, g = reference.decompose(w)
    _, norms = _forward(backend_of(w.device.type), [to_rows(v, axis_order(v))], [gain_rows(g)])
    return v, torch.where(g > 0, norms[0].reshape(g.shape).to(g.dtype), g)


@torch.library.custom_op("wnrl::weight_norm_many", mutates_args=())
def _weight_norm_many(
    vs: list[Tensor], gs: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:  # weights (O, ...), norms (O, 1)
    orders = [axis_order(v) for v in vs]
    v_rows, g_rows = list(map(to_rows, vs, orders)), [gain_rows(g) for g in gs]
    w_rows, norms = _forward(backend_of(vs[0].device.type), v_rows, g_rows)
    return list(map(from_rows, w_rows, vs, orders)), norms


@_weight_norm_many.register_fake
def _(vs: list[Tensor], gs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    return [empty_like_weight(v) for v in vs], [
        g.new_empty((g.shape[0], 1), dtype=_WIDE[g.dtype]) for g in gs
    ]


@torch.library.custom_op("wnrl::weight_norm_many_backward", mutates_args=())
def _weight_norm_many_backward(
    dws: list[Tensor], vs: list[Tensor], gs: list[Tensor], norms: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:  # dL/dv (O, ...), dL/dg (O, 1, ...)
    return _gradients(dws, vs, gs, norms)


def _gradients(
    dws: list[Tensor], vs: list[Tensor], gs: list[Tensor], norms: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    orders = [axis_order(v) for v in vs]
    dw_rows, v_rows = list(map(to_rows, dws, orders)), list(map(to_rows, vs, orders))
    g_rows = [gain_rows(g) for g in gs]
    dv_rows, dg_rows = _backward(backend_of(vs[0].device.type), dw_rows, v_rows, g_rows, norms)
    dgs = [dg.view(g.shape) for dg, g in zip(dg_rows, gs, strict=True)]
    return list(map(from_rows, dv_rows, vs, orders)), dgs


@_weight_norm_many_backward.register_fake
def _(
    dws: list[Tensor], vs: list[Tensor], gs: list[Tensor], norms: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    return [empty_like_weight(v) for v in vs], [g.new_empty(g.shape) for g in gs]


def _forward(backend: str, vs: list[Tensor], gs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights (O, K) and norms (O, 1) of rows (O, K); the norm of a row of zeros counts as 1."""
    if backend == "triton":
        from wnrl.kernels import weight_norm

        return weight_norm.forward(vs, gs)
    if backend == "aten":
        one = torch.ops.aten._weight_norm_interface
        pairs = [one(v, g, 0) for v, g in zip(vs, gs, strict=True)]
        ws, norms = [w for w, _ in pairs], [norm for _, norm in pairs]
        # A GPU is not waited for.
        if ws[0].is_cuda or not all(float(norm.min()) > 0 for norm in norms):
            for w, norm in pairs:
                w.masked_fill_(norm == 0, 0.0)  # ATen divided by the norm: NaN
                norm.masked_fill_(norm == 0, 1.0)
        return ws, norms
    norms = [reference.row_norm(v) for v in vs]
    ws = [reference.effective_weight(v, g) for v, g in zip(vs, gs, strict=True)]
    return ws, [norm.masked_fill(norm == 0, 1.0) for norm in norms]


def _backward(
    backend: str, dws: list[Tensor], vs: list[Tensor], gs: list[Tensor], norms: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """dL/dv (O, K) and dL/dg (O, 1)."""
    if backend == "triton":
        from wnrl.kernels import weight_norm

        return weight_norm.backward(dws, vs, gs, norms)
    if backend == "aten":
        one = torch.ops.aten._weight_norm_interface_backward
        pairs = [one(*args, 0) for args in zip(dws, vs, gs, norms, strict=True)]
    else:
        pairs = [reference.gradients(*args) for args in zip(dws, vs, gs, strict=True)]
    return [dv for dv, _ in pairs], [dg for _, dg in pairs]


def _save(
    ctx: torch.autograd.function.FunctionCtx,
    inputs: tuple[list[Tensor], list[Tensor]],
    output: tuple[list[Tensor], list[Tensor]],
) -> None:
    (vs, gs), (_, norms) = inputs, output
    ctx.set_materialize_grads(False)  # an unused layer has no gradient, rather than zeros
    ctx.mark_non_differentiable(*norms)
    ctx.save_for_backward(*vs, *gs, *norms)


def _differentiate(
    ctx: torch.autograd.function.FunctionCtx, dws: list[Tensor | None], _: list[Tensor | None]
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    saved: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
    count = len(dws)
    used = [i for i, dw in enumerate(dws) if dw is not None]
    vs, gs, norms = saved[:count], saved[count : 2 * count], saved[2 * count :]
    dvs: list[Tensor | None] = [None] * count
    dgs: list[Tensor | None] = [None] * count
    if not used:
        return dvs, dgs
    of_used = ([tensors[i] for i in used] for tensors in (dws, vs, gs, norms))
    used_dvs, used_dgs = _weight_norm_many_backward(*of_used)
    for i, dv, dg in zip(used, used_dvs, used_dgs, strict=True):
        dvs[i], dgs[i] = dv, dg
    return dvs, dgs


def _save_backward(
    ctx: torch.autograd.function.FunctionCtx,
    inputs: tuple[list[Tensor], ...],
    output: tuple[list[Tensor], list[Tensor]],
) -> None:
    dws, vs, gs, _ = inputs
    ctx.save_for_backward(*dws, *vs, *gs)


def _differentiate_backward(
    ctx: torch.autograd.function.FunctionCtx, ddvs: list[Tensor], ddgs: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[None]]:
    """The second derivative, through the reference's formulas: exact, not fast."""
    saved: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
    count = len(ddvs)
    results = []
    for i in range(count):
        # vjp's own type allows for three results, of which these arguments give two
        pull_back = torch.func.vjp(
            reference.gradients, saved[i], saved[count + i], saved[2 * count + i]
        )[1]
        results.append(pull_back((ddvs[i], ddgs[i])))
    dws, vs, gs = (list(column) for column in zip(*results, strict=True))
    return dws, vs, gs, [None] * count


_weight_norm_many.register_autograd(_differentiate, setup_context=_save)
_weight_norm_many_backward.register_autograd(_differentiate_backward, setup_context=_save_backward)


def _check(vs: Sequence[Tensor], gs: Sequence[Tensor]) -> None:
    if len(vs) != len(gs):
        raise ValueError(f"{len(vs)} weight vectors and {len(gs)} gains: each layer has one each")
    for index, (v, g) in enumerate(zip(vs, gs, strict=True)):
        if v.ndim < 2 or v.numel() == 0 or v.dtype not in _WIDE:
            raise ValueError(
                f"v of layer {index} is {tuple(v.shape)} {v.dtype}: rows need two or more axes, at "
                "least one element, and float16, bfloat16, float32 or float64"
            )
        expected = (len(v),) + (1,) * (v.ndim - 1)
        if g.shape != expected or g.dtype != v.dtype or g.device != v.device:
            raise ValueError(
                f"g of layer {index} is {tuple(g.shape)} {g.dtype} on {g.device}: one gain per row "
                f"of its v is {expected} {v.dtype} on {v.device}"
            )
