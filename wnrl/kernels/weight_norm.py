"""Weight normalization of all layers at once: one Triton launch forward, one backward.

Each program computes one row (one output unit of one layer), longest rows first. With the row v,
its gain g and n = ||v|| (1 for a row of zeros), Salimans & Kingma 2016 (arXiv 1602.07868), eq. 2
and 3:

    forward    n = sqrt(sum_k v_k^2)            w = (g / n) v
    backward   dg = (sum_k dw_k v_k) / n        dv = (g / n) (dw - (dg / n) v)

Sums are in float32 (float64 for float64). Each row is read twice, the second time from cache, so a
parameter moves 2 words forward and 3 backward. The kernels' arguments are tuples of pointers, one
per layer: gradients need no copy into one arena, and a CUDA graph needs no patching.

Importing this file needs Triton; `ops` imports it only if `backend` chose Triton.
"""

import functools
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # elements of a row per pass: 8 per thread of 4 warps
NUM_WARPS = 4
VECTOR_BYTES = 16  # one load of a thread, if the row's length allows it
MAX_LAYERS = 64  # per launch: backward passes 6 pointers a layer; arguments take at most 4 KiB


@triton.jit
def _pick(pointers, index):
    """Return pointers[index] for an index known only at run time."""
    picked = pointers[0]
    for i in tl.static_range(1, len(pointers)):
        picked = tl.where(index == i, pointers[i], picked)
    return picked


@triton.jit
def _forward_row(v_ptr, w_ptr, g, length, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Store one row of w; return n, which is 1 for a row of zeros."""
    squares = tl.zeros((BLOCK,), WIDE)
    for start in range(0, length, BLOCK):
        k = start + tl.arange(0, BLOCK)
        v = tl.load(v_ptr + k, mask=k < length, other=0.0).to(WIDE)
        squares += v * v
    norm = tl.sqrt(tl.sum(squares, 0))
    norm = tl.where(norm == 0, 1.0, norm)
    scale = g / norm
    for start in range(0, length, BLOCK):
        k = start + tl.arange(0, BLOCK)
        v = tl.load(v_ptr + k, mask=k < length, other=0.0).to(WIDE)
        tl.store(w_ptr + k, (v * scale).to(w_ptr.dtype.element_ty), mask=k < length)
    return norm


@triton.jit
def _backward_row(dw_ptr, v_ptr, dv_ptr, g, norm, length, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Store one row of dv; return dg."""
    products = tl.zeros((BLOCK,), WIDE)
    for start in range(0, length, BLOCK):
        k = start + tl.arange(0, BLOCK)
        dw = tl.load(dw_ptr + k, mask=k < length, other=0.0).to(WIDE)
        products += dw * tl.load(v_ptr + k, mask=k < length, other=0.0).to(WIDE)
    dg = tl.sum(products, 0) / norm
    scale = g / norm
    along = dg / norm
    for start in range(0, length, BLOCK):
        k = start + tl.arange(0, BLOCK)
        dw = tl.load(dw_ptr + k, mask=k < length, other=0.0).to(WIDE)
        v = tl.load(v_ptr + k, mask=k < length, other=0.0).to(WIDE)
        dv = scale * (dw - along * v)
        tl.store(dv_ptr + k, dv.to(dv_ptr.dtype.element_ty), mask=k < length)
    return dg


@triton.jit
def forward_kernel(
    v_ptrs,
    g_ptrs,
    w_ptrs,
    norm_ptrs,
    rows_ptr,
    WIDE: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute w and n of the row in the program's entry of the table."""
    entry = rows_ptr + tl.program_id(0) * 3
    layer = tl.load(entry)
    row = tl.load(entry + 1).to(tl.int64)
    length = tl.load(entry + 2)
    v_ptr = _pick(v_ptrs, layer)
    w_ptr = _pick(w_ptrs, layer)
    g = tl.load(_pick(g_ptrs, layer) + row).to(WIDE)
    if length % VECTOR == 0:
        length = tl.multiple_of(length, VECTOR)
        offset = row * length
        norm = _forward_row(v_ptr + offset, w_ptr + offset, g, length, WIDE, BLOCK)
    else:
        offset = row * length
        norm = _forward_row(v_ptr + offset, w_ptr + offset, g, length, WIDE, BLOCK)
    tl.store(_pick(norm_ptrs, layer) + row, norm)


@triton.jit
def backward_kernel(
    dw_ptrs,
    v_ptrs,
    g_ptrs,
    norm_ptrs,
    dv_ptrs,
    dg_ptrs,
    rows_ptr,
    WIDE: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute dv and dg of the row in the program's entry of the table."""
    entry = rows_ptr + tl.program_id(0) * 3
    layer = tl.load(entry)
    row = tl.load(entry + 1).to(tl.int64)
    length = tl.load(entry + 2)
    dw_ptr = _pick(dw_ptrs, layer)
    v_ptr = _pick(v_ptrs, layer)
    dv_ptr = _pick(dv_ptrs, layer)
    dg_ptr = _pick(dg_ptrs, layer) + row
    g = tl.load(_pick(g_ptrs, layer) + row).to(WIDE)
    norm = tl.load(_pick(norm_ptrs, layer) + row)
    if length % VECTOR == 0:
        length = tl.multiple_of(length, VECTOR)
        o = row * length
        dg = _backward_row(dw_ptr + o, v_ptr + o, dv_ptr + o, g, norm, length, WIDE, BLOCK)
    else:
        o = row * length
        dg = _backward_row(dw_ptr + o, v_ptr + o, dv_ptr + o, g, norm, length, WIDE, BLOCK)
    tl.store(dg_ptr, dg.to(dg_ptr.dtype.element_ty))


def forward(vs: Sequence[Tensor], gs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return w and n of every layer, in one launch per `MAX_LAYERS` layers.

    Args:
        vs: weight vectors (O, K), contiguous, of one floating type and on one device.
        gs: gains (O, 1), likewise.

    Returns:
        The weights (O, K), and the norms (O, 1) in float32 (float64 for float64), 1 for a row of
        zeros.

    Raises:
        ValueError: a tensor of another layout, type or device.
    """
    _check(vs, gs)
    ws = [torch.empty_like(v) for v in vs]
    norms = [torch.empty_like(g, dtype=_wide(g.dtype)) for g in gs]
    _launch(forward_kernel, (vs, gs, ws, norms), vs)
    return ws, norms


def backward(
    dws: Sequence[Tensor], vs: Sequence[Tensor], gs: Sequence[Tensor], norms: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return dL/dv (O, K) and dL/dg (O, 1) of every layer, launched as in `forward`.

    Args:
        dws: dL/dw (O, K), with the type of `vs`.
        vs: weight vectors (O, K).
        gs: gains (O, 1).
        norms: (O, 1), from `forward`.

    Raises:
        ValueError: a tensor of another layout, type or device.
    """
    _check(vs, gs, dws)
    dvs, dgs = [torch.empty_like(v) for v in vs], [torch.empty_like(g) for g in gs]
    _launch(backward_kernel, (dws, vs, gs, norms, dvs, dgs), vs)
    return dvs, dgs


def kernel_constants(dtype: torch.dtype) -> dict[str, Any]:
    """Return the constants with which both kernels are compiled for weights of one type."""
    wide = tl.float64 if dtype == torch.float64 else tl.float32
    return {"WIDE": wide, "VECTOR": VECTOR_BYTES // dtype.itemsize, "BLOCK": BLOCK}


def _launch(kernel: Any, lists: tuple[Sequence[Tensor], ...], vs: Sequence[Tensor]) -> None:
    constants = kernel_constants(vs[0].dtype)
    with torch.cuda.device_of(vs[0]):  # Triton launches on the current device
        for start in range(0, len(vs), MAX_LAYERS):
            part = slice(start, start + MAX_LAYERS)
            table = _row_table(tuple((len(v), v.shape[1]) for v in vs[part]), vs[0].device)
            kernel[(len(table),)](
                *(tuple(tensors[part]) for tensors in lists),
                table,
                **constants,
                num_warps=NUM_WARPS,
            )


@functools.lru_cache(maxsize=64)
def _row_table(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """Return (R, 3) int32: layer, row in the layer, length; the longest rows come first.

    It is copied to the device once, which must happen before a CUDA graph is captured.
    """
    entries = [(layer, row, k) for layer, (rows, k) in enumerate(shapes) for row in range(rows)]
    entries.sort(key=lambda entry: -entry[2])
    return torch.tensor(entries, dtype=torch.int32, device=device)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _check(vs: Sequence[Tensor], gs: Sequence[Tensor], dws: Sequence[Tensor] | None = None) -> None:
    for index, (v, g, dw) in enumerate(zip(vs, gs, vs if dws is None else dws, strict=True)):
        for name, tensor, shape in (("v", v, v.shape), ("g", g, (len(v), 1)), ("dw", dw, v.shape)):
            if (
                v.ndim != 2
                or tensor.shape != shape
                or not tensor.is_contiguous()
                or tensor.dtype != vs[0].dtype
                or tensor.device != vs[0].device
            ):
                raise ValueError(
                    f"{name} of layer {index} is {tuple(tensor.shape)} {tensor.dtype} on "
                    f"{tensor.device}, strides {tensor.stride()}: the kernels take contiguous rows "
                    f"{tuple(shape)} of {vs[0].dtype} on {vs[0].device}"
                )
