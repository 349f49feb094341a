"""The weight-normalizing optimizer's step in ATen calls: the CPU, and wherever Triton is missing.

`wnrl.optim` states the equations. Here they run over blocks of rows that stay in a CPU's cache
from call to call. `optimizer_step` is the same step in one launch.
Dimension key: O output units (rows), K elements of a row.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wnrl.kernels.optimizer_rules import Rule, Settings

SMALLEST_GAIN = 1e-12  # a gain of exactly 0 would make w = 0 and lose the direction of v
BLOCK_ELEMENTS = 262_144  # of a weight: 1 MiB each of w, dw, dv, the update and the moments
CLIP_EPSILON = 1e-6  # torch.nn.utils.clip_grad_norm_'s own
HALF = torch.bfloat16  # its master weights are float32


@dataclass(frozen=True)
class Entry:
    """One parameter in one step."""

    parameter: Tensor
    gradient: Tensor  # dL/dw, with the parameter's strides
    state: dict[str, Tensor]
    settings: Settings
    group: int
    normalized: bool


@dataclass(frozen=True)
class _Block:
    """Some rows of one normalized weight, few enough to stay in cache through the step (O, K)."""

    entry: Entry
    rows: slice
    weight: Tensor  # (O, K) a view of the parameter, or of its float32 master
    gradient: Tensor  # (O, K) dL/dw
    moments: list[list[Tensor]]  # per moment: of v (O, K), of g (O, 1)
    gain: Tensor  # (O, 1) |g|
    norm: Tensor  # (O, 1) n
    sign: Tensor  # (O, 1) s
    scale: Tensor  # (O, 1) g / n; 1 for a row of zeros
    ordinary: bool  # known to have no row of zeros: small calls can be left out

    def gradients(self, clip: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Clipped dL/dv (O, K) and dL/dg (O, 1) (eq. 3), read through w."""
        # A row of zeros takes |g| = 1, which makes dL/dv = dL/dw and dL/dg = 0.
        gain = self.gain if self.ordinary else torch.where(self.gain > 0, self.gain, 1.0)
        length = self.scale * gain if clip is None else self.scale * gain * clip
        # ATen's backward of w = g v / ||v||, at v = w, ||v|| = |g|, with g replaced by (g / n) |g|.
        # dL/dv is linear in that g: the clip costs no pass over the row.
        dv, dg = torch.ops.aten._weight_norm_interface_backward(
            self.gradient, self.weight, length, gain, 0
        )
        dg.mul_(self.sign if clip is None else self.sign * clip)
        return dv, dg

    def step(self, rule: Rule, dv: Tensor, dg: Tensor) -> None:
        """Update w, n, s and the moments."""
        state = self.entry.state
        # The rule adds its update to zeros: what is needed is the update, not v.
        v_update, gain = torch.zeros_like(self.weight), self.sign * self.gain
        updates = [state["updates"]] * 2
        rule.update(self.entry.settings, updates, [v_update, gain], [dv, dg], self.moments)
        y = self.weight.addcmul_(v_update, self.scale)
        length = torch.linalg.vector_norm(y, dim=1, keepdim=True)
        if self.ordinary and _above(length, 0.0) and _above(gain.abs(), SMALLEST_GAIN):
            y.mul_(self.sign * gain / length)
            torch.mul(self.norm, length.div_(self.gain), out=state["norm"][self.rows])
            torch.sign(gain, out=state["sign"][self.rows])
            return
        smallest = self.gain.clamp(max=SMALLEST_GAIN)
        gain = torch.where(gain.abs() < smallest, self.sign * smallest, gain)  # g'
        # y keeps the sign of the old g, so s y points along v'. A row that the step cancelled to
        # zero stays zero.
        alive = (self.gain > 0) & (length > 0)
        y.mul_(torch.where(alive, self.sign * gain / length, 1.0))
        norm = torch.where(alive, self.norm * (length / self.gain), self.norm)
        state["norm"][self.rows] = norm
        state["sign"][self.rows] = torch.where(alive, gain.sign(), self.sign)


def step(rule: Rule, entries: Sequence[Entry], max_norm: float | None) -> Tensor | None:
    """One update of every entry; state is made already.

    Args:
        rule: how v, g and the plain parameters are stepped.
        entries: each with float32, float64 or bfloat16 storage.
        max_norm: largest global norm of the gradients of v, g and plain parameters; `inf` measures
            it only, in the same pass; None does neither.

    Returns:
        () the norm before clipping, or None.
    """
    entries = [_with_numbers(entry) for entry in entries]
    for entry in entries:
        entry.state["updates"] += 1
    clip = total = None
    if max_norm is not None and math.isfinite(max_norm):
        total = _norm_before(rule, entries)
        clip = clip_factor(total, max_norm)
    measured: list[Tensor] | None = [] if max_norm is not None and total is None else None
    for entry in entries:
        for block in _blocks(rule, entry) if entry.normalized else ():
            dv, dg = block.gradients(clip)
            if measured is not None:
                measured += [torch.linalg.vector_norm(part) for part in (dv, dg)]
            block.step(rule, dv, dg)
    _step_plain(rule, [entry for entry in entries if not entry.normalized], clip, measured)
    for entry in entries:
        if "master" in entry.state:
            entry.parameter.copy_(entry.state["master"])
    return total if measured is None else _total(measured)


def current_weight(entry: Entry) -> Tensor:
    """The weight to step: the parameter, or the float32 master of a bfloat16 one.

    Where the parameter is not the master rounded it was written from outside: the master follows.
    """
    if "master" not in entry.state:
        return entry.parameter
    master = entry.state["master"]
    same = master.to(entry.parameter.dtype) == entry.parameter
    return master.copy_(torch.where(same, master, entry.parameter.to(master.dtype)))


def memory_rows(tensor: Tensor) -> Tensor:
    """A view (O, K) of a weight (O, ...): row by row, elements in the order of memory.

    The order inside a row is the layout's (channels_last is H, W, I): norms and elementwise
    updates do not care, as long as everything that meets has one layout.

    Raises:
        ValueError: if the rows do not lie one after another in memory.
    """
    trailing = sorted(range(1, tensor.ndim), key=tensor.stride, reverse=True)
    ordered = tensor.permute(0, *trailing)
    if not ordered.is_contiguous():
        raise ValueError(
            f"a weight of shape {tuple(tensor.shape)} has strides {tensor.stride()}: its output "
            "units must lie one after another in memory; make it contiguous or channels_last"
        )
    return ordered.view(tensor.shape[0], -1)


def clip_factor(total: Tensor, max_norm: float) -> Tensor:
    """() What clips gradients of a global norm `total` to max_norm."""
    return (max_norm / (total + CLIP_EPSILON)).clamp(max=1.0)


def _with_numbers(entry: Entry) -> Entry:
    """The learning rate as a number; reads it from the device where it is a tensor there."""
    if not isinstance(entry.settings.lr, Tensor):
        return entry
    return replace(entry, settings=entry.settings._replace(lr=float(entry.settings.lr)))


def _blocks(rule: Rule, entry: Entry) -> Iterator[_Block]:
    """The blocks of a weight's rows, each read when its turn comes."""
    state = entry.state
    weight, gradient = memory_rows(current_weight(entry)), memory_rows(entry.gradient)
    vectors = [memory_rows(state[name]) for name in rule.moments]
    count, length = weight.shape
    size = max(1, BLOCK_ELEMENTS // length) if weight.device.type == "cpu" else count
    for start in range(0, count, size):
        rows = slice(start, start + size)
        own, norm, sign = weight[rows], state["norm"][rows], state["sign"][rows]
        gain = torch.linalg.vector_norm(own, dim=1, keepdim=True)  # (O, K) -> (O, 1)
        ordinary = _above(gain, 0.0) and _above(norm, 0.0)
        if ordinary:
            scale = sign * gain / norm
        else:
            # A row that was zero when n was made has n = 0: it starts with v = w.
            norm = torch.where(norm > 0, norm, gain)
            scale = torch.where(gain > 0, sign * gain / norm, 1.0)
        moments = [
            [vector[rows], state[f"{name}_g"][rows]]
            for name, vector in zip(rule.moments, vectors, strict=True)
        ]
        wide = gradient[rows].to(own.dtype)
        yield _Block(entry, rows, own, wide, moments, gain, norm, sign, scale, ordinary)


def _norm_before(rule: Rule, entries: Sequence[Entry]) -> Tensor:
    """() The global norm over the gradients of g, v and plain parameters, in a pass of its own."""
    norms = []
    for entry in entries:
        if entry.normalized:
            parts = [part for block in _blocks(rule, entry) for part in block.gradients()]
        else:
            parts = [entry.gradient]
        norms += [_norm(part) for part in parts]
    return _total(norms)


def _step_plain(
    rule: Rule, entries: Sequence[Entry], clip: Tensor | None, measured: list[Tensor] | None
) -> None:
    """The plain parameters, in one call for each group."""
    for _, group in itertools.groupby(entries, key=lambda entry: entry.group):
        own = list(group)
        targets = [current_weight(entry) for entry in own]
        gradients = [e.gradient.to(t.dtype) for e, t in zip(own, targets, strict=True)]
        if measured is not None:
            measured += [_norm(gradient) for gradient in gradients]
        if clip is not None:
            gradients = [gradient * clip for gradient in gradients]
        updates = [entry.state["updates"] for entry in own]
        moments = [[entry.state[name] for entry in own] for name in rule.moments]
        rule.update(own[0].settings, updates, targets, gradients, moments)


def _above(values: Tensor, bound: float) -> bool:
    """Whether all are above the bound, as far as the CPU knows without waiting for a device."""
    return values.device.type == "cpu" and float(values.min()) > bound


def _norm(part: Tensor) -> Tensor:
    """() in float32 for bfloat16."""
    norm: Tensor = torch.linalg.vector_norm(part.float() if part.dtype == HALF else part)
    return norm


def _total(norms: list[Tensor]) -> Tensor:
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
    return total
