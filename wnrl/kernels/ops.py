"""The weights of all weight-normalized layers as one differentiable torch op.

`weight_norm_many` computes w = g v / ||v|| (Salimans & Kingma 2016, eq. 2) of all layers in one
call, and all gradients (eq. 3) in another: one Triton launch each on a GPU, ATen's kernels layer by
layer on the CPU. It works under torch.compile(fullgraph=True) and torch.export, and can be
differentiated twice. `reference` is its oracle, also for rows of zeros.

Every backend takes a layer as rows (O, K) in the order of memory, so a channels_last weight is
passed as a permuted view, without a copy, and its w is in channels_last.
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
    """Return w = g v / ||v|| of every layer, differentiable in vs and gs.

    A row of zeros gives w = 0, dL/dg = 0 and dL/dv = g dL/dw. Norms and sums of half precision are
    computed in float32. If the loss does not use a w, its v and g get no gradient.

    Args:
        vs: weight vectors (O, ...), one per layer.
        gs: gains (O, 1, ...), each with the type and device of its v.

    Returns:
        The weights (O, ...), each with the type and memory layout of its v.

    Raises:
        ValueError: lists of different lengths, shapes that do not fit, or a type that is not
            float16, bfloat16, float32 or float64.
    """
    _check(vs, gs)
    kinds = list(dict.fromkeys((v.dtype, v.device) for v in vs))  # each launch takes one kind
    ws: dict[int, Tensor] = {}
    for kind in kinds:
        members = [i for i, v in enumerate(vs) if (v.dtype, v.device) == kind]
        computed, _ = _weight_norm_many([vs[i] for i in members], [gs[i] for i in members])
        ws.update(zip(members, computed, strict=True))
    return [ws[i] for i in range(len(vs))]


def weight_norm(v: Tensor, g: Tensor) -> Tensor:
    """Return w of one layer, like `weight_norm_many` but with less overhead on the CPU.

    It does not use torch's derivative of the ATen kernel, which treats ||v|| as a constant, so that
    second derivatives are wrong (torch 2.13). torch.func transforms, forward-mode derivatives,
    torch.jit.trace and torch.export use the reference.

    Args:
        v: (O, ...) weight vectors of a layer; they are not checked.
        g: (O, 1, ...) gains with the type and device of v.
    """
    if (
        v.device.type != "cpu"
        or torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0  # tracing and fake tensors have no values
        or type(v) not in _PLAIN
    ):
        if torch.compiler.is_exporting():  # no op of ours in a graph that runs elsewhere
            return reference.effective_weight(v, g)
        return weight_norm_many([v], [g])[0]
    if (
        torch._C._is_tracing()  # torch.jit.trace and the older ONNX exporter
        or is_functorch_wrapped_tensor(v)
        or is_functorch_wrapped_tensor(g)
        or forward_ad._current_level >= 0
    ):
        return reference.effective_weight(v, g)
    if not torch.is_grad_enabled():
        return _one_layer(v, g)[0]
    w: Tensor = _OneLayer.apply(v, g)  # type: ignore[no-untyped-call]  # torch
    return w


def _one_layer(v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return w (O, ...) and ||v|| (O, 1)."""
    order = axis_order(v)
    (rows,), (norm,) = _forward(backend_of(v.device.type), [to_rows(v, order)], [gain_rows(g)])
    return from_rows(rows, v, order), norm


class _OneLayer(torch.autograd.Function):
    """The op for one layer, without the overhead of torch's Python dispatcher."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, g: Tensor) -> Tensor:
        w, norm = _one_layer(v, g)
        ctx.save_for_backward(v, g, norm)
        return w

    @staticmethod
    def backward(ctx: Any, *dws: Tensor) -> tuple[Tensor, Tensor]:
        v, g, norm = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            return reference.gradients(dws[0], v, g)
        (dv,), (dg,) = _gradients([dws[0]], [v], [g], [norm])
        return dv, dg


@torch.no_grad()
def decompose(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return (v, g) like `reference.decompose`, with ||w|| summed by this device's kernels.

    So g / ||v|| is exactly 1, and `weight_norm` returns w to the last bit (up to rounding in half
    precision).

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
    """Return weights (O, K) and norms (O, 1) of rows (O, K); 1 is the norm of a row of zeros."""
    if backend == "triton":
        from wnrl.kernels import weight_norm

        return weight_norm.forward(vs, gs)
    if backend in ("aten", "numba"):
        one = torch.ops.aten._weight_norm_interface
        pairs = [one(v, g, 0) for v, g in zip(vs, gs, strict=True)]
        ws, norms = [w for w, _ in pairs], [norm for _, norm in pairs]
        # On a GPU, mask without waiting for the norms.
        if ws[0].is_cuda or not all(float(norm.min()) > 0 for norm in norms):
            for w, norm in pairs:
                w.masked_fill_(norm == 0, 0.0)  # NaN, because ATen divided by the norm
                norm.masked_fill_(norm == 0, 1.0)
        return ws, norms
    norms = [reference.row_norm(v) for v in vs]
    ws = [reference.effective_weight(v, g) for v, g in zip(vs, gs, strict=True)]
    return ws, [norm.masked_fill(norm == 0, 1.0) for norm in norms]


def _backward(
    backend: str, dws: list[Tensor], vs: list[Tensor], gs: list[Tensor], norms: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return dL/dv (O, K) and dL/dg (O, 1)."""
    if backend == "triton":
        from wnrl.kernels import weight_norm

        return weight_norm.backward(dws, vs, gs, norms)
    if backend in ("aten", "numba"):
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
    ctx: Any, dws: list[Tensor | None], _: list[Tensor | None]
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    saved: tuple[Tensor, ...] = ctx.saved_tensors
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
    ctx: Any, ddvs: list[Tensor], ddgs: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[None]]:
    """Return the second derivative through the reference's formulas: exact, but not fast."""
    saved: tuple[Tensor, ...] = ctx.saved_tensors
    count = len(ddvs)
    results = []
    for i in range(count):
        # vjp is typed to return two or three results; here it returns two.
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
        raise ValueError(f"{len(vs)} weight vectors and {len(gs)} gains: each layer needs both")
    for index, (v, g) in enumerate(zip(vs, gs, strict=True)):
        if v.ndim < 2 or v.numel() == 0 or v.dtype not in _WIDE:
            raise ValueError(
                f"v of layer {index} is {tuple(v.shape)} {v.dtype}: it needs two or more axes, at "
                "least one element, and float16, bfloat16, float32 or float64"
            )
        expected = (len(v),) + (1,) * (v.ndim - 1)
        if g.shape != expected or g.dtype != v.dtype or g.device != v.device:
            raise ValueError(
                f"g of layer {index} is {tuple(g.shape)} {g.dtype} on {g.device}: one gain per row "
                f"of its v is {expected} {v.dtype} on {v.device}"
            )
