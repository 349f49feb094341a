"""Weights as rows: views (O, K) of a weight (O, ...), its elements in the order of memory.

A channels_last weight becomes a permuted view instead of a copy. The order inside a row is then
H, W, I; norms and elementwise updates do not depend on it, if all tensors have the same layout.
"""

import torch
from torch import Tensor


def memory_rows(tensor: Tensor) -> Tensor:
    """Return a view (O, K) of a weight (O, ...), its elements in the order of memory.

    Raises:
        ValueError: the rows are not one after another in memory.
    """
    if tensor.is_contiguous():
        return tensor.flatten(1)
    trailing = sorted(range(1, tensor.ndim), key=tensor.stride, reverse=True)
    ordered = tensor.permute(0, *trailing)
    if not ordered.is_contiguous():
        raise ValueError(
            f"a weight of shape {tuple(tensor.shape)} has strides {tensor.stride()}: its output "
            "units must be one after another in memory; make it contiguous or channels_last"
        )
    return ordered.view(tensor.shape[0], -1)


def output_first(tensor: Tensor, axis: int) -> Tensor:
    """Return a view of a weight with its output axis first.

    `axis` is 1 for a transposed convolution, whose weight is (I, O / groups, ...), else 0.
    """
    return tensor.transpose(0, axis) if axis else tensor


def output_back(tensor: Tensor, axis: int) -> Tensor:
    """Return a weight whose output axis is first with that axis in its place, contiguous there."""
    return tensor.transpose(0, axis).contiguous() if axis else tensor


def axis_order(v: Tensor) -> tuple[int, ...]:
    """Return the axes of v (O, ...) from the slowest to the fastest in memory.

    If its rows are not one after another in memory, return the axes in their own order: such a v
    is copied, and its w is contiguous.
    """
    order = tuple(range(v.ndim))
    if v.is_contiguous():
        return order
    by_stride = (0, *sorted(order[1:], key=v.stride, reverse=True))
    return by_stride if v.permute(by_stride).is_contiguous() else order


def to_rows(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    """(O, ...) -> (O, K) with its axes in an order; a view if that is the order of memory."""
    if tensor.ndim == 2 and tensor.is_contiguous():
        return tensor
    return tensor.permute(order).flatten(1).contiguous()


def from_rows(rows: Tensor, v: Tensor, order: tuple[int, ...]) -> Tensor:
    """(O, K) -> (O, ...) of the shape of v, a view: the inverse of `to_rows`."""
    if v.ndim == 2:
        return rows
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return rows.view([v.shape[axis] for axis in order]).permute(inverse)


def gain_rows(g: Tensor) -> Tensor:
    """(O, 1, ...) -> (O, 1)."""
    return g.reshape(len(g), 1).contiguous()


def empty_like_weight(v: Tensor) -> Tensor:
    """Return an uninitialized tensor of v's shape, type and memory layout."""
    return torch.empty_permuted(v.shape, axis_order(v), dtype=v.dtype, device=v.device)
