"""The weight-normalizing optimizer's step on a CPU: which rows each thread steps.

The arithmetic is in `optimizer_numba`, compiled by numba. Rows are divided among as many threads as
torch uses; each releases Python's lock while it works. `optimizer_aten` is the same step without
numba.

Dimension key: O rows of a normalized weight, B blocks of a plain parameter, K elements.
"""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
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


class _Arrays(NamedTuple):
    """A parameter and its state as arrays in the same memory."""

    key: tuple[object, ...]  # where that memory is
    updates: Array  # (), their number
    weight: Array  # (O, K), or (K,) of a plain parameter
    state: list[Array]  # in the order in which the compiled functions take them
    sums: Array  # (O, 3), or (B,) of a plain parameter
    squares: Array  # (O,) or (B,), the part of the sums that is a squared gradient norm


class _Target(NamedTuple):
    """A parameter with what changes from step to step."""

    arrays: _Arrays
    gradient: Array  # as the weight
    numbers: Array  # (6,) settings of the rule and the largest n, as in `optimizer_numba`

    @property
    def normalized(self) -> bool:
        """Return whether each row has a gain."""
        return self.arrays.sums.ndim == 2


class _Part(NamedTuple):
    """Some rows or blocks of a target, the work of one thread."""

    target: int  # its number
    start: int
    stop: int


def takes(entries: Sequence[Entry]) -> bool:
    """Return whether the compiled step can do these: on the CPU, dense, each of one type."""
    return all(
        entry.parameter.is_cpu
        and entry.parameter.dtype == entry.gradient.dtype
        and entry.parameter.numel() > 0
        and (
            entry.parameter.is_contiguous()
            or torch.ops.aten.is_non_overlapping_and_dense(entry.parameter)
        )
        for entry in entries
    )


def prepare() -> None:
    """Compile the step in float32, or load its compiled code, now and not in the first update."""
    settings, gradient = Settings(0.0, 0.0, 0.0, 0.0), torch.ones(1)
    state = {"norm": torch.ones(1, 1), "sign": torch.ones(1, 1), "updates": torch.zeros(())}
    row = Entry(torch.ones(1, 1), gradient.view(1, 1), state, settings, 0, normalized=True)
    plain = Entry(torch.ones(1), gradient, {"updates": torch.zeros(())}, settings, 0, False)
    CompiledStep(SGD).step([row, plain], max_norm=1.0)


class CompiledStep:
    """The compiled step of one optimizer; it keeps the arrays of the last step."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._arrays: dict[int, _Arrays] = {}

    def step(self, entries: Sequence[Entry], max_norm: float | None) -> Tensor | None:
        """Update every entry once; arguments and result are those of `optimizer_aten.step`."""
        numbers: dict[tuple[Settings, float], Array] = {}  # most parameters share them
        targets = [self._target(number, entry, numbers) for number, entry in enumerate(entries)]
        sizes = tuple((each.arrays.weight.size, len(each.arrays.sums)) for each in targets)
        threads = _divided(sizes, torch.get_num_threads())
        clips = max_norm is not None and math.isfinite(max_norm)
        total, clip = math.nan, 1.0
        if max_norm is not None and clips:
            in_threads([partial(_measure, targets, parts) for parts in threads])
            total = _total(targets)
            clip = max_norm / (total + CLIP_EPSILON)
            clip = 1.0 if clip > 1 else clip  # NaN stays
        rule = self._rule.kernel
        in_threads([partial(_step, rule, clip, clips, targets, parts) for parts in threads])
        for entry in entries:
            if "master" in entry.state:
                entry.parameter.copy_(entry.state["master"])
        if max_norm is None:
            return None
        wide = torch.float64 if entries[0].parameter.dtype == torch.float64 else torch.float32
        return torch.scalar_tensor(total if clips else _total(targets), dtype=wide)

    def _target(
        self, number: int, entry: Entry, numbers: dict[tuple[Settings, float], Array]
    ) -> _Target:
        rule, state, weight = self._rule, entry.state, current_weight(entry)
        gradient = entry.gradient.detach()
        if gradient.dtype != weight.dtype:  # the float32 master of a bfloat16 parameter
            gradient = torch.empty_like(weight).copy_(gradient)
        rows, updates = [weight, *(state[name] for name in rule.moments)], state["updates"]
        columns = []
        if entry.normalized:
            columns = [state["norm"], state["sign"], *(state[f"{x}_g"] for x in rule.moments)]
        key = (weight.shape, *(x.data_ptr() for x in (updates, *rows, *columns)))
        arrays = self._arrays.get(number)
        if arrays is None or arrays.key != key:
            arrays = self._arrays[number] = _arrays(key, updates.numpy(), rows, columns)
        arrays.updates[()] += 1
        step = entry.settings, float(arrays.updates)
        if step not in numbers:
            numbers[step] = np.array(_numbers(rule, *step))
        return _Target(arrays, _as_array(gradient, entry.normalized), numbers[step])


def _arrays(
    key: tuple[object, ...], updates: Array, rows: Sequence[Tensor], columns: Sequence[Tensor]
) -> _Arrays:
    """Return arrays of a weight and its moments, and of n, s and the moments of g."""
    from wnrl.kernels.optimizer_numba import BLOCK

    weight, *moments = (_as_array(x, bool(columns)) for x in rows)
    if not columns:
        blocks = np.empty(math.ceil(weight.size / BLOCK))
        return _Arrays(key, updates, weight, _two(moments, weight), blocks, blocks)
    norm, sign, *gain_moments = (x.view(-1).numpy() for x in columns)
    state = [norm, sign, *_two(moments, weight), *_two(gain_moments, norm)]
    sums = np.empty((len(norm), 3))
    return _Arrays(key, updates, weight, state, sums, sums[:, 2])


def _as_array(tensor: Tensor, normalized: bool) -> Array:
    """Return rows (O, K), or all elements (K,), in the order of memory, which all tensors share."""
    if normalized:
        return memory_rows(tensor).numpy()
    return tensor.as_strided((tensor.numel(),), (1,)).numpy()


def _two(moments: Sequence[Array], any_array: Array) -> list[Array]:
    """Return two moments, with any array for each that the rule does not have."""
    return [*moments, any_array, any_array][:2]


def _numbers(rule: Rule, settings: Settings, updates: float) -> list[float]:
    """Return a rule's rate, adaptive, 1 - first, 1 - second, eps and largest n at this update.

    `rate` and `adaptive` hold what depends on the number of updates, as in `optimizer_update`.
    """
    _, first, second, eps, max_v_norm = settings
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
    return [rate, adaptive, 1 - first, 1 - second, eps, max_v_norm]


@lru_cache(maxsize=16)
def _divided(sizes: tuple[tuple[int, int], ...], most: int) -> list[list[_Part]]:
    """Return the work of each thread: parts of about as many elements, none of them twice.

    Args:
        sizes: elements, and rows or blocks, of each target.
        most: threads, at most.
    """
    total = sum(elements for elements, _ in sizes)
    threads = max(1, min(most, total // LEAST_ELEMENTS))
    ends = [total * (k + 1) / threads for k in range(threads)]
    work: list[list[_Part]] = [[] for _ in range(threads)]
    before = 0
    for target, (elements, rows) in enumerate(sizes):
        start = 0
        for k, end in enumerate(ends):
            share = (end - before) / elements
            stop = rows if k == threads - 1 else min(rows, max(start, round(share * rows)))
            if stop > start:
                work[k].append(_Part(target, start, stop))
            start = stop
        before += elements
    return work


def _measure(targets: Sequence[_Target], parts: Sequence[_Part]) -> None:
    from wnrl.kernels import optimizer_numba

    for number, start, stop in parts:
        arrays, gradient = targets[number].arrays, targets[number].gradient
        if targets[number].normalized:
            weight, norm = arrays.weight, arrays.state[0]
            optimizer_numba.measure_rows(weight, gradient, norm, arrays.sums, start, stop)
        else:
            optimizer_numba.measure_blocks(gradient, arrays.sums, start, stop)


def _step(
    rule: int, clip: float, measured: bool, targets: Sequence[_Target], parts: Sequence[_Part]
) -> None:
    from wnrl.kernels import optimizer_numba

    for number, start, stop in parts:
        arrays, gradient, numbers = targets[number]
        normalized = targets[number].normalized
        call = optimizer_numba.step_rows if normalized else optimizer_numba.step_blocks
        state = (arrays.weight, gradient, *arrays.state, arrays.sums)
        call(rule, numbers, clip, measured, *state, start, stop)


def _total(targets: Sequence[_Target]) -> float:
    """Return the global norm of the gradients of v, g and plain parameters."""
    return math.sqrt(math.fsum(float(target.arrays.squares.sum()) for target in targets))
