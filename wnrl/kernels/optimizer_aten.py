"""The weight-normalizing optimizer's step in ATen calls, for CPUs and GPUs without Triton.

The equations are in `wnrl.optim.normalizing_step`. Here they run over blocks of rows that stay in a
CPU's cache from call to call. `optimizer_step` is the same step in one Triton launch.

Dimension key: O output units (rows), K elements of a row.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wnrl.kernels.optimizer_rules import Rule, Settings
from wnrl.kernels.row_layout import memory_rows

SMALLEST_GAIN = 1e-12  # a gain of exactly 0 would make w = 0 and lose the direction of v
BLOCK_ELEMENTS = 786_432  # per thread, of each of w, dw, dv, the update and the moments
CLIP_EPSILON = 1e-6  # as in torch.nn.utils.clip_grad_norm_
HALF = torch.bfloat16  # stepped through float32 masters


class Entry(NamedTuple):
    """One parameter in one step."""

    parameter: Tensor
    gradient: Tensor  # dL/dw, with the parameter's strides
    state: dict[str, Tensor]
    settings: Settings
    group: int
    normalized: bool
    original: Tensor | None = None  # gets `parameter`, its copy with the output axis first


class _Block(NamedTuple):
    """Some rows of one normalized weight, few enough to stay in a core's cache from call to call.

    All values are from before the step; `norm`, `sign` and `moments` are views of the state.
    """

    entry: Entry
    weight: Tensor  # (O, K) view of the parameter, or of its float32 master
    norm: Tensor  # (O, 1) n
    sign: Tensor  # (O, 1) s
    moments: list[list[Tensor]]  # per moment: of v (O, K), of g (O, 1)
    gain: Tensor  # (O, 1) |g|
    scale: Tensor  # (O, 1) g / n; 1 for a row of zeros
    ordinary: bool  # known to have no row of zeros, so that some calls can be skipped
    dv: Tensor  # (O, K) dL/dv
    dg: Tensor  # (O, 1) dL/dg


def step(rule: Rule, entries: Sequence[Entry], max_norm: float | None) -> Tensor | None:
    """Update every entry once; its state must exist.

    Args:
        rule: the update rule for v, g and plain parameters.
        entries: parameters in float32, float64 or bfloat16.
        max_norm: largest global norm of the gradients of v, g and plain parameters; `inf` only
            measures it; None does neither. Clipping keeps all dL/dv in memory for the common norm.

    Returns:
        () the norm before clipping, or None.
    """
    entries = [_with_numbers(entry) for entry in entries]
    for entry in entries:
        entry.state["updates"] += 1
    clips = max_norm is not None and math.isfinite(max_norm)
    norms: list[Tensor] = []
    waiting: list[_Block] = []
    for entry in entries:
        for block in _blocks(rule, entry) if entry.normalized else ():
            if max_norm is not None:
                norms += [torch.linalg.vector_norm(part) for part in (block.dv, block.dg)]
            if clips:
                waiting.append(block)
            else:
                _step_block(rule, block)
    plain = [entry for entry in entries if not entry.normalized]
    total = clip = None
    if max_norm is not None:
        total = _total(norms + [_norm(entry.gradient) for entry in plain])
        clip = needed_clip(total, max_norm) if clips else None
    for block in waiting:
        if clip is not None:
            torch._foreach_mul_([block.dv, block.dg], clip)
        _step_block(rule, block)
    _step_plain(rule, plain, clip)
    for entry in entries:
        if "master" in entry.state:
            entry.parameter.copy_(entry.state["master"])
    return total


def current_weight(entry: Entry) -> Tensor:
    """Return the weight to step: the parameter, or the float32 master of a bfloat16 one.

    Elements that differ from the rounded master were written from outside: the master takes them.
    """
    if "master" not in entry.state:
        return entry.parameter
    master = entry.state["master"]
    same = master.to(entry.parameter.dtype) == entry.parameter
    return master.copy_(torch.where(same, master, entry.parameter.to(master.dtype)))


def clip_factor(total: Tensor, max_norm: float) -> Tensor:
    """Return the () factor that clips gradients of global norm `total` to max_norm."""
    return (max_norm / (total + CLIP_EPSILON)).clamp(max=1.0)


def _with_numbers(entry: Entry) -> Entry:
    """Return the entry with its learning rate as a number, read from the device if needed."""
    if not isinstance(entry.settings.lr, Tensor):
        return entry
    return entry._replace(settings=entry.settings._replace(lr=float(entry.settings.lr)))


def _blocks(rule: Rule, entry: Entry) -> Iterator[_Block]:
    """Yield the blocks of a weight with their dL/dv and dL/dg (eq. 3)."""
    state = entry.state
    whole = [memory_rows(current_weight(entry)), memory_rows(entry.gradient)]
    whole += [state["norm"], state["sign"]]
    for name in rule.moments:
        whole += [memory_rows(state[name]), state[f"{name}_g"]]
    for weight, gradient, norm, sign, *moments in _in_blocks(whole):
        gain = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # (O, K) -> (O, 1)
        ordinary = _above(torch.minimum(gain, norm), 0.0)
        if ordinary:
            scale, extent = sign * gain / norm, gain
        else:
            # A row that was zero when n was made has n = 0 and starts with v = w. For a row of
            # zeros |g| = 1 makes dL/dv = dL/dw and dL/dg = 0.
            norm.copy_(torch.where(norm > 0, norm, gain))
            scale = torch.where(gain > 0, sign * gain / norm, 1.0)
            extent = torch.where(gain > 0, gain, 1.0)
        # ATen's backward of w = g v / ||v||, at v = w, ||v|| = |g|, with g replaced by (g / n) |g|.
        dv, dg = torch.ops.aten._weight_norm_interface_backward(
            gradient.to(weight.dtype), weight, scale * extent, extent, 0
        )
        pairs = [moments[i : i + 2] for i in range(0, len(moments), 2)]
        yield _Block(entry, weight, norm, sign, pairs, gain, scale, ordinary, dv, dg.mul_(sign))


def _in_blocks(whole: list[Tensor]) -> Iterable[Sequence[Tensor]]:
    """Return the tensors in blocks of the same rows, small enough for a CPU's cache."""
    count, length = whole[0].shape
    blocks = math.ceil(count * length / (BLOCK_ELEMENTS * torch.get_num_threads()))
    if whole[0].device.type != "cpu" or blocks <= 1:
        return [whole]
    return zip(*(tensor.chunk(blocks) for tensor in whole), strict=True)


def _step_block(rule: Rule, block: _Block) -> None:
    """Update w, n, s and the moments of a block."""
    entry, gain, norm, sign = block.entry, block.gain, block.norm, block.sign
    # The rule adds its update to zeros, because the update is needed, not v.
    v_update, next_gain = torch.zeros_like(block.weight), sign * gain
    updates = [entry.state["updates"]] * 2
    rule.update(entry.settings, updates, [v_update, next_gain], [block.dv, block.dg], block.moments)
    y = block.weight.addcmul_(v_update, block.scale)
    length = torch.linalg.vector_norm(y, dim=1, keepdim=True)
    if block.ordinary and _above(torch.minimum(length, next_gain.abs()), SMALLEST_GAIN):
        y.mul_(sign * next_gain / length)
        _lengthen_(norm, length.div_(gain), entry.settings.max_v_norm)
        torch.sign(next_gain, out=sign)
        return
    smallest = gain.clamp(max=SMALLEST_GAIN)
    next_gain = torch.where(next_gain.abs() < smallest, sign * smallest, next_gain)
    # y keeps the sign of the old g, so s y has the direction of v'. A row that the step cancelled
    # to zero stays zero.
    alive = (gain > 0) & (length > 0)
    y.mul_(torch.where(alive, sign * next_gain / length, 1.0))
    _lengthen_(norm, torch.where(alive, length / gain, 1.0), entry.settings.max_v_norm)
    sign.copy_(torch.where(alive, next_gain.sign(), sign))


def _lengthen_(norm: Tensor, ratio: Tensor, max_v_norm: float) -> None:
    """Write n' = min(n ||y|| / |g|, max_v_norm), or leave n where the bound is 0."""
    if max_v_norm > 0:
        norm.mul_(ratio).clamp_(max=max_v_norm)


def _step_plain(rule: Rule, entries: Sequence[Entry], clip: Tensor | None) -> None:
    """Update the plain parameters, in one call per group."""
    for _, grouped in itertools.groupby(entries, key=lambda entry: entry.group):
        group = list(grouped)
        targets = [current_weight(entry) for entry in group]
        gradients = [e.gradient.to(t.dtype) for e, t in zip(group, targets, strict=True)]
        if clip is not None:
            gradients = [gradient * clip for gradient in gradients]
        updates = [entry.state["updates"] for entry in group]
        moments = [[entry.state[name] for entry in group] for name in rule.moments]
        rule.update(group[0].settings, updates, targets, gradients, moments)


def needed_clip(total: Tensor, max_norm: float) -> Tensor | None:
    """Return the () factor of the gradients; None if the CPU knows that nothing is clipped."""
    clip = clip_factor(total, max_norm)
    return None if clip.device.type == "cpu" and float(clip) == 1.0 else clip


def _above(values: Tensor, bound: float) -> bool:
    """Return whether all are known to be above the bound; False on a GPU, which is not awaited."""
    return values.device.type == "cpu" and float(values.min()) > bound


def _norm(part: Tensor) -> Tensor:
    """Return the () norm, in float32 for bfloat16."""
    norm: Tensor = torch.linalg.vector_norm(part.float() if part.dtype == HALF else part)
    return norm


def _total(norms: list[Tensor]) -> Tensor:
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
    return total
