"""Which rows the fused optimizer step has, where their state lies, and how it is launched.

State moves into arenas, one per moment, and the optimizer's state becomes views of them, so that
two pointers per tensor (weight and gradient) are all that a launch is told. A launch's arguments
are the parameters' own memory: nothing is copied, and a captured CUDA graph needs no patching.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wnrl.kernels.optimizer_aten import HALF, Entry
from wnrl.kernels.optimizer_rules import Rule, Settings
from wnrl.kernels.row_layout import memory_rows

BLOCK_SHORT = 1024  # elements: a plain chunk, or a short row
BLOCK_ROW = 4096  # elements of a row held in registers; Nature's longest has 3,136
MAX_TENSORS = 200  # per launch: 16 bytes of pointers each, and arguments are 4 KiB at most
MAX_PARTS = 2048  # that every program adds up; beyond, one sum in between
VECTOR = 4  # elements of one vector load
ARENA_STEP = 64  # elements: each tensor starts at a multiple of 256 bytes
LARGEST_ARENA = 2**31 - 1  # offsets are int32


class FusedStep:
    """The plan of one launch (two with clipping) over a fixed list of parameters.

    Args:
        rule: the optimizer's.
        entries: all on one device, of one type; their state becomes views of this plan's arenas.
        max_norm: as `wnrl.kernels.optimizer_aten.step`.
    """

    def __init__(self, rule: Rule, entries: Sequence[Entry], max_norm: float | None) -> None:
        self.rule = rule
        self.max_norm = max_norm
        first = entries[0].parameter
        device = first.device
        self.master = first.dtype == HALF
        lines, size, rows = _rows(entries)
        names = [*rule.moments, *(["master"] if self.master else [])]
        self.arenas = {name: torch.zeros(size, device=device) for name in names}
        self.rows = torch.zeros(8, rows, device=device)
        self.settings = torch.zeros(
            max(entry.group for entry in entries) + 1, 8, dtype=torch.float64, device=device
        )
        self._written: list[Settings] = []
        self._views = [
            self._adopt(entry, offset, row)
            for entry, (offset, row) in zip(entries, _starts(entries), strict=True)
        ]
        self._identity = [_identity(entry) for entry in entries]
        self.launches = []
        for start in range(0, len(entries), MAX_TENSORS):
            chosen = slice(start, start + MAX_TENSORS)
            own = [line for line in lines if start <= line[2] < start + MAX_TENSORS]
            # Long rows first: the launch ends with short ones.
            own.sort(key=lambda line: -line[1])
            table = torch.tensor(
                [[*line[:2], line[2] - start, *line[3:], 0] for line in own], dtype=torch.int32
            )
            kinds = sum({1 << line[6] for line in own})
            self.launches.append((chosen, table.to(device), kinds))

    @staticmethod
    def takes(entries: Sequence[Entry]) -> bool:
        """Whether one launch can serve these: one device, one type that it knows, dense memory."""
        first = entries[0].parameter
        return (
            first.dtype in (torch.float32, HALF)
            and sum(entry.parameter.numel() + ARENA_STEP for entry in entries) <= LARGEST_ARENA
            and all(
                entry.parameter.device == first.device
                and entry.parameter.dtype == first.dtype
                and entry.gradient.dtype == first.dtype
                and entry.parameter.numel() > 0
                and torch.ops.aten.is_non_overlapping_and_dense(entry.parameter)
                for entry in entries
            )
        )

    def fits(self, entries: Sequence[Entry]) -> bool:
        """Whether this plan is for these parameters, with their state still in its arenas."""
        return [_identity(entry) for entry in entries] == self._identity and all(
            entry.state.get(name) is view
            for entry, views in zip(entries, self._views, strict=True)
            for name, view in views.items()
        )

    def write_settings_(self, settings: Sequence[Settings]) -> None:
        """Bring the groups' numbers to the device where they changed since."""
        numbers = [
            s._replace(lr=0.0 if isinstance(s.lr, Tensor) else float(s.lr))
            for s in settings[: len(self.settings)]
        ]
        if numbers != self._written:
            lines = [[*s, _log(s.first), _log(s.second), 0.0, 0.0] for s in numbers]
            # A copy from ordinary memory this small is staged: it need not be waited for.
            self.settings.copy_(torch.tensor(lines, dtype=torch.float64), non_blocking=True)
            self._written = numbers

    def step(self, entries: Sequence[Entry]) -> Tensor | None:
        """Launch; returns () the global norm before clipping where there is a max_norm."""
        from wnrl.kernels import optimizer_step

        # Triton's launches take plain numbers where the kernels say constexpr.
        measure_kernel: Any = optimizer_step.measure_kernel
        step_kernel: Any = optimizer_step.step_kernel
        groups = {entry.group: entry.settings for entry in entries}
        if not (self.rows.is_cuda and torch.cuda.is_current_stream_capturing()):
            blank = entries[0].settings
            self.write_settings_([groups.get(i, blank) for i in range(len(self.settings))])
        for group, settings in groups.items():
            if isinstance(settings.lr, Tensor):
                self.settings[group, 0].copy_(settings.lr)
        clipping = self.max_norm is not None
        moments = [self.arenas[name] for name in self.rule.moments] or [self.rows]
        master = self.arenas["master"] if self.master else self.rows
        parts, total = (
            self.rows[optimizer_step.SQUARES.value],
            torch.empty((), device=self.rows.device),
        )
        common: dict[str, Any] = {
            "MASTER": self.master,
            "BLOCK_SHORT": BLOCK_SHORT,
            "BLOCK_ROW": BLOCK_ROW,
        }
        backend = "hip" if torch.version.hip else "cuda"
        pointers = []
        for chosen, table, kinds in self.launches:
            weights = tuple(entry.parameter for entry in entries[chosen])
            gradients = tuple(entry.gradient for entry in entries[chosen])
            pointers.append((weights, gradients))
            if clipping:
                measure_kernel[(len(table),)](
                    weights,
                    gradients,
                    master,
                    self.rows,
                    table,
                    self.rows.shape[1],
                    KINDS=kinds,
                    **launch_options(clipping, backend),
                    **common,
                )
        if clipping and len(parts) > MAX_PARTS:
            parts = parts.sum(0, keepdim=True)
        for (weights, gradients), (_, table, kinds) in zip(pointers, self.launches, strict=True):
            step_kernel[(len(table),)](
                weights,
                gradients,
                master,
                moments[0],
                moments[-1],
                self.rows,
                table,
                self.settings,
                parts,
                total,
                self.rows.shape[1],
                len(parts),
                math.inf if self.max_norm is None else self.max_norm,
                RULE=self.rule.kernel,
                CLIP=clipping,
                KINDS=kinds,
                **launch_options(clipping, backend),
                **common,
            )
        return total if clipping else None

    def _adopt(self, entry: Entry, offset: int, row: int) -> dict[str, Tensor]:
        """Move an entry's state into the arenas; the views that now are its state."""
        parameter, state, count = entry.parameter, entry.state, _count(entry)
        views = {
            name: arena.as_strided(parameter.shape, parameter.stride(), offset)
            for name, arena in self.arenas.items()
        }
        fields = self.rows[:, row : row + count]
        fields[4] = state["updates"]
        views["updates"] = fields[4, 0]
        if entry.normalized:
            names = ["norm", "sign", *(f"{name}_g" for name in self.rule.moments)]
            views |= {name: fields[i].view(-1, 1) for i, name in enumerate(names)}
        for name, view in views.items():
            view.copy_(state[name])
            state[name] = view
        return views


def launch_options(clipping: bool, backend: str) -> dict[str, int]:
    """Warps and registers that leave 16 warps on a multiprocessor and spill nothing on sm_90.

    8 warps of 128 registers, two blocks; with the clip's scalars that spills, so 16 warps in one.

    Args:
        clipping: a measuring launch goes before the step.
        backend: Triton's name, "cuda", or "hip", which takes no cap.
    """
    if clipping:
        return {"num_warps": 16}
    return {"num_warps": 8} | ({"maxnreg": 128} if backend == "cuda" else {})


def _identity(entry: Entry) -> tuple[Any, ...]:
    parameter = entry.parameter
    shape = (parameter.shape, parameter.stride(), parameter.dtype)
    return (parameter.data_ptr(), *shape, entry.group, entry.normalized)


def _count(entry: Entry) -> int:
    """Rows of an entry: output units, or chunks of a plain parameter."""
    parameter = entry.parameter
    return parameter.shape[0] if entry.normalized else math.ceil(parameter.numel() / BLOCK_SHORT)


def _starts(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """Each entry's first element in the arenas and first row of the row state."""
    starts, offset, row = [], 0, 0
    for entry in entries:
        starts.append((offset, row))
        offset += math.ceil(entry.parameter.numel() / ARENA_STEP) * ARENA_STEP
        row += _count(entry)
    return starts


def _rows(entries: Sequence[Entry]) -> tuple[list[list[int]], int, int]:
    """The table's lines (see `optimizer_step`), elements of an arena, rows of the row state."""
    from wnrl.kernels.optimizer_step import LONG, PLAIN, SHORT, UNALIGNED, WHOLE

    lines = []
    for tensor, (entry, (offset, row)) in enumerate(zip(entries, _starts(entries), strict=True)):
        elements = entry.parameter.numel()
        length = BLOCK_SHORT
        if entry.normalized:
            length = memory_rows(entry.parameter).shape[1]
        for i, start in enumerate(range(0, elements, length)):
            own = min(length, elements - start)
            kind = PLAIN.value
            if entry.normalized:
                kind = SHORT if own <= BLOCK_SHORT else WHOLE if own <= BLOCK_ROW else LONG
                kind = kind.value
            # Where a pointer itself is not aligned, Triton sees it at the launch.
            if own % VECTOR or start % VECTOR:
                kind += UNALIGNED.value
            lines.append([offset + start, own, tensor, start, entry.group, row + i, kind])
    last_offset, last_row = _starts(entries)[-1]
    size = last_offset + math.ceil(entries[-1].parameter.numel() / ARENA_STEP) * ARENA_STEP
    return lines, size, last_row + _count(entries[-1])


def _log(decay: float) -> float:
    return math.log(decay) if decay > 0 else -math.inf
