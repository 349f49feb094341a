"""The weight-normalizing optimizer's step on a CPU: which rows each thread steps.

The arithmetic is in `optimizer_numba`, compiled by numba. Rows are divided among as many threads as
torch uses; each releases Python's lock while it works. `optimizer_aten` is the same step without
numba.

Dimension key: O rows of a normalized weight, B blocks of a plain parameter, K elements.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl.kernels.compiled import in_threads
from wnrl.kernels.optimizer_aten import CLIP_EPSILON, Entry, current_weight
from wnrl.kernels.optimizer_rules import ADAM, ADAMAX, RADAM, SGD, Rule, Settings
from wnrl.kernels.row_layout import memory_rows

Array = npt.NDArray[Any]

LEAST_ELEMENTS = 65_536  # of a thread: below, waking another one takes longer than the work


class _Target(NamedTuple):
    """A parameter and its state as arrays."""

    numbers: Array  # (5,) settings of the rule, as in `optimizer_numba`
    arrays: list[Array]  # in the order in which the compiled functions take them
    sums: Array  # (O, 3), or (B,) of a plain parameter
    elements: int  # of a row or block

    @property
    def normalized(self) -> bool:
        """Return whether each row has a gain."""
        return self.sums.ndim == 2

    def part(self, rows: slice) -> "_Target":
        """Return some rows or blocks."""
        arrays = [array[rows] for array in self.arrays]
        if not self.normalized:
            elements = slice(rows.start * self.elements, rows.stop * self.elements)
            arrays = [array[elements] for array in self.arrays]
        return self._replace(arrays=arrays, sums=self.sums[rows])


def takes(entries: Sequence[Entry]) -> bool:
    """Return whether the compiled step can do these: on the CPU, dense, each of one type."""
    return all(
        entry.parameter.device.type == "cpu"
        and entry.parameter.dtype == entry.gradient.dtype
        and entry.parameter.numel() > 0
        and torch.ops.aten.is_non_overlapping_and_dense(entry.parameter)
        for entry in entries
    )


def prepare() -> None:
    """Compile the step in float32, or load its compiled code, now and not in the first update."""
    settings, gradient = Settings(0.0, 0.0, 0.0, 0.0), torch.ones(1)
    state = {"norm": torch.ones(1, 1), "sign": torch.ones(1, 1), "updates": torch.zeros(())}
    row = Entry(torch.ones(1, 1), gradient.view(1, 1), state, settings, 0, normalized=True)
    plain = Entry(torch.ones(1), gradient, {"updates": torch.zeros(())}, settings, 0, False)
    step(SGD, [row, plain], max_norm=1.0)


def step(rule: Rule, entries: Sequence[Entry], max_norm: float | None) -> Tensor | None:
    """Update every entry once; arguments and result are those of `optimizer_aten.step`."""
    torch._foreach_add_([entry.state["updates"] for entry in entries], 1)
    targets = [_target(rule, entry) for entry in entries]
    threads = _divided(targets, torch.get_num_threads())
    clips = max_norm is not None and math.isfinite(max_norm)
    total, clip = math.nan, 1.0
    if max_norm is not None and clips:
        in_threads([partial(_measure, work) for work in threads])
        total = _total(targets)
        clip = max_norm / (total + CLIP_EPSILON)
        clip = 1.0 if clip > 1 else clip  # NaN stays
    in_threads([partial(_step, rule.kernel, clip, clips, work) for work in threads])
    for entry in entries:
        if "master" in entry.state:
            entry.parameter.copy_(entry.state["master"])
    if max_norm is None:
        return None
    wide = torch.float64 if entries[0].parameter.dtype == torch.float64 else torch.float32
    return torch.tensor(total if clips else _total(targets), dtype=wide)


def _target(rule: Rule, entry: Entry) -> _Target:
    from wnrl.kernels.optimizer_numba import BLOCK

    state, weight = entry.state, current_weight(entry)
    gradient = entry.gradient.detach()
    if gradient.dtype != weight.dtype:  # the float32 master of a bfloat16 parameter
        gradient = torch.empty_like(weight).copy_(gradient)
    tensors = [weight, gradient, *(state[name] for name in rule.moments)]
    numbers = np.array(_numbers(rule, entry.settings, float(state["updates"])))
    if not entry.normalized:
        # The elements of all are in the same order of memory.
        flat = [x.as_strided((x.numel(),), (1,)).numpy() for x in tensors]
        blocks = np.empty(math.ceil(weight.numel() / BLOCK))
        return _Target(numbers, [*flat[:2], *_two(flat[2:], flat[0])], blocks, BLOCK)
    rows = [memory_rows(x).numpy() for x in tensors]
    names = ["norm", "sign", *(f"{name}_g" for name in rule.moments)]
    columns = [state[name].view(-1).numpy() for name in names]
    arrays = [
        *rows[:2],
        *columns[:2],
        *_two(rows[2:], rows[0]),
        *_two(columns[2:], columns[0]),
    ]
    return _Target(numbers, arrays, np.empty((len(columns[0]), 3)), rows[0].shape[1])


def _two(moments: Sequence[Array], any_array: Array) -> list[Array]:
    """Return two moments, with any array for each that the rule does not have."""
    return [*moments, any_array, any_array][:2]


def _numbers(rule: Rule, settings: Settings, updates: float) -> list[float]:
    """Return a rule's rate, adaptive, 1 - first, 1 - second and eps at this update.

    `rate` and `adaptive` hold what depends on the number of updates, as in `optimizer_update`.
    """
    _, first, second, eps = settings
    lr = float(settings.lr)
    rate, adaptive = lr, 1.0
    if rule in (ADAM, ADAMAX, RADAM):
        rate = lr / (1 - first**updates)
    if rule in (ADAM, RADAM):
        decay = second**updates
        adaptive = 1 / math.sqrt(1 - decay)
    if rule is RADAM:
        longest = 2 / (1 - second) - 1
        length = longest - 2 * updates * decay / (1 - decay)
        share = (length - 4) * (length - 2) * longest
        share /= (longest - 4) * (longest - 2) * length
        # The threshold is torch's; 0 means a step without the second moment.
        adaptive = math.sqrt(share * (1 - decay)) if length > 5 else 0.0
    return [rate, adaptive, 1 - first, 1 - second, eps]


def _divided(targets: Sequence[_Target], most: int) -> list[list[_Target]]:
    """Return the work of each thread: parts of about as many elements, none of them twice."""
    sizes = [len(target.sums) * target.elements for target in targets]
    threads = max(1, min(most, sum(sizes) // LEAST_ELEMENTS))
    if threads == 1:
        return [list(targets)]
    ends = [sum(sizes) * (k + 1) / threads for k in range(threads)]
    work: list[list[_Target]] = [[] for _ in range(threads)]
    before = 0
    for target, size in zip(targets, sizes, strict=True):
        rows, start = len(target.sums), 0
        for k, end in enumerate(ends):
            stop = min(rows, max(start, round((end - before) / target.elements)))
            if stop > start:
                work[k].append(target.part(slice(start, stop)))
            start = stop
        if start < rows:
            work[-1].append(target.part(slice(start, rows)))
        before += size
    return work


def _measure(work: Sequence[_Target]) -> None:
    from wnrl.kernels import optimizer_numba

    for target in work:
        weight, gradient, *others = target.arrays
        if target.normalized:
            optimizer_numba.measure_rows(weight, gradient, others[0], target.sums)
        else:
            optimizer_numba.measure_blocks(gradient, target.sums)


def _step(rule: int, clip: float, measured: bool, work: Sequence[_Target]) -> None:
    from wnrl.kernels import optimizer_numba

    for target in work:
        call = optimizer_numba.step_rows if target.normalized else optimizer_numba.step_blocks
        call(rule, target.numbers, clip, measured, *target.arrays, target.sums)


def _total(targets: Sequence[_Target]) -> float:
    """Return the global norm of the gradients of v, g and plain parameters."""
    return math.sqrt(
        math.fsum(float(x.sums.reshape(len(x.sums), -1)[:, -1].sum()) for x in targets)
    )
