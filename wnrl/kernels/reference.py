"""Weight normalization in plain PyTorch: the oracle in the tests of every faster implementation.

Salimans & Kingma 2016 (arXiv 1602.07868), section 2. A row is one output unit, an index of axis 0
of a weight (O, I) or (O, I, kH, kW). A gain g has shape (O, 1, ...).

    w = g v / ||v||                                              (eq. 2)
    dL/dg = (dL/dw . v) / ||v||                                  (eq. 3)
    dL/dv = (g / ||v||) dL/dw - (g dL/dg / ||v||^2) v            (eq. 3)

A row of zeros has no direction. For it the formulas use ||v|| = 1: w is 0, dL/dg is 0 and dL/dv is
g dL/dw, so nothing is NaN and the row can leave zero. Half precision is computed in float32 and
rounded once.
"""

import torch
from torch import Tensor

_HALF = (torch.float16, torch.bfloat16)


def row_norm(v: Tensor) -> Tensor:
    """Return each row's Euclidean norm: (O, ...) -> (O, 1, ...), float32 for half precision."""
    _check_rows("v", v)
    wide = v.float() if v.dtype in _HALF else v
    norm: Tensor = torch.linalg.vector_norm(wide, dim=tuple(range(1, v.ndim)), keepdim=True)
    return norm


def effective_weight(v: Tensor, g: Tensor) -> Tensor:
    """Return w = g v / ||v|| (eq. 2) in the type of v, differentiable.

    Args:
        v: (O, ...) weight vectors.
        g: (O, 1, ...) gains.

    Raises:
        ValueError: shapes that do not fit, or a type that is not floating point.
    """
    _check_gain(v, g)
    wide = v.float() if v.dtype in _HALF else v
    return (wide * (g / _nonzero(row_norm(v)))).to(v.dtype)


def gradients(dw: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return (dL/dv, dL/dg) from dL/dw (eq. 3).

    Args:
        dw: (O, ...) gradient with respect to w.
        v: (O, ...) weight vectors.
        g: (O, 1, ...) gains.

    Returns:
        dv (O, ...) in the type of v, dg (O, 1, ...) in the type of g.

    Raises:
        ValueError: shapes that do not fit, or a type that is not floating point.
    """
    _check_gain(v, g)
    if dw.shape != v.shape:
        raise ValueError(f"dw has shape {tuple(dw.shape)}, v has {tuple(v.shape)}: they must agree")
    wide = torch.float32 if v.dtype in _HALF else v.dtype
    norm = _nonzero(row_norm(v))
    dw_wide, v_wide, g_wide = dw.to(wide), v.to(wide), g.to(wide)
    dg = (dw_wide * v_wide).sum(dim=tuple(range(1, v.ndim)), keepdim=True) / norm
    dv = (g_wide / norm) * dw_wide - (g_wide * dg / norm.square()) * v_wide
    return dv.to(v.dtype), dg.to(g.dtype)


def decompose(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return (v, g) with w = g v / ||v|| exactly: v = w, g = ||w||.

    A row of zeros gets the direction (1, ..., 1) / sqrt(row length) with g = 0, so that its gain
    has a gradient.
    """
    g = row_norm(w)
    diagonal = (w.numel() / w.shape[0]) ** -0.5
    return torch.where(g > 0, w, torch.full_like(w, diagonal)), g.to(w.dtype)


def _nonzero(norm: Tensor) -> Tensor:
    return norm.masked_fill(norm == 0, 1.0)


def _check_rows(name: str, v: Tensor) -> None:
    if torch._C._is_tracing():  # sizes are tensors there, whose values would be warned of
        return
    if v.ndim < 2 or not v.is_floating_point() or v.numel() == 0:
        raise ValueError(
            f"{name} is {tuple(v.shape)} {v.dtype}: it needs two or more axes, at least one "
            "element and a floating-point type"
        )


def _check_gain(v: Tensor, g: Tensor) -> None:
    _check_rows("v", v)
    expected = (v.shape[0],) + (1,) * (v.ndim - 1)
    if torch._C._is_tracing():
        return
    if g.shape != expected or not g.is_floating_point():
        raise ValueError(
            f"g is {tuple(g.shape)} {g.dtype}: v of shape {tuple(v.shape)} needs one "
            f"floating-point gain per row, {expected}"
        )
