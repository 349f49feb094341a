"""The fused optimizer step's table of rows, the layout of its state, and its launches.

State moves into arenas, one per moment, and the optimizer's state becomes views of them, so that a
launch needs only two pointers per tensor (weight and gradient). The pointers are those of the
parameters themselves: nothing is copied, and a captured CUDA graph needs no patching.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wnrl.kernels.backend import capturing
from wnrl.kernels.optimizer_aten import HALF, Entry
from wnrl.kernels.optimizer_rules import Rule, Settings
from wnrl.kernels.row_layout import memory_rows

BLOCK_SHORT = 1024  # elements: a plain chunk, or a short row
BLOCK_ROW = 4096  # elements of a row held in registers; Nature's longest has 3,136
MAX_TENSORS = 200  # per launch: 16 bytes of pointers each, and arguments take at most 4 KiB
MAX_PARTS = 2048  # sums that each program adds up; if there are more, torch adds them first
VECTOR = 4  # elements of one vector load
ARENA_STEP = 64  # elements: each tensor starts at a multiple of 256 bytes
LARGEST_ARENA = 2**31 - 1  # offsets are int32

Pointers = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # weights and gradients of one launch


class FusedStep:
    """The plan of one launch (two with clipping) over a fixed list of parameters.

    Args:
        rule: the optimizer's rule.
        entries: all on one device, of one type; their state becomes views of this plan's arenas.
        max_norm: as in `wnrl.kernels.optimizer_aten.step`.
    """

    def __init__(self, rule: Rule, entries: Sequence[Entry], max_norm: float | None) -> None:
        self.rule = rule
        self.max_norm = max_norm
        first = entries[0].parameter
        device = first.device
        self.master = first.dtype == HALF
        self._bounded = any(entry.settings.max_v_norm < math.inf for entry in entries)
        lines, size, rows = _rows(entries)
        names = [*rule.moments, *(["master"] if self.master else [])]
        self.arenas = {name: torch.zeros(size, device=device) for name in names}
        self.rows = torch.zeros(9, rows, device=device)
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
            launched = [line for line in lines if start <= line[2] < start + MAX_TENSORS]
            # Long rows first, so that the launch ends with short ones.
            launched.sort(key=lambda line: -line[1])
            table = torch.tensor(
                [[*line[:2], line[2] - start, *line[3:], 0] for line in launched],
                dtype=torch.int32,
            )
            kinds = sum({1 << line[6] for line in launched})
            self.launches.append((chosen, table.to(device), kinds))

    @staticmethod
    def takes(entries: Sequence[Entry]) -> bool:
        """Return whether one launch can step these: one device, one supported type, dense."""
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
        """Return whether this plan is for these parameters, with their state in its arenas."""
        return [_identity(entry) for entry in entries] == self._identity and all(
            entry.state.get(name) is view
            for entry, views in zip(entries, self._views, strict=True)
            for name, view in views.items()
        )

    def write_settings_(self, settings: Sequence[Settings]) -> None:
        """Copy the groups' numbers to the device if they have changed."""
        numbers = [
            s._replace(lr=0.0 if isinstance(s.lr, Tensor) else float(s.lr))
            for s in settings[: len(self.settings)]
        ]
        if numbers != self._written:
            lines = [[*s[:4], _log(s.first), _log(s.second), 0.0, 0.0] for s in numbers]
            # A small copy from pageable memory is staged, so the source may be freed at once.
            self.settings.copy_(torch.tensor(lines, dtype=torch.float64), non_blocking=True)
            self._written = numbers

    def step(self, entries: Sequence[Entry]) -> Tensor | None:
        """Launch; return () the global norm before clipping, None without a max_norm."""
        self._write_settings_of(entries)
        pointers = [
            (
                tuple(entry.parameter for entry in entries[chosen]),
                tuple(entry.gradient for entry in entries[chosen]),
            )
            for chosen, _, _ in self.launches
        ]
        if self.max_norm is not None:
            self._launch_measure(pointers)
        return self._launch_step(pointers)

    def _write_settings_of(self, entries: Sequence[Entry]) -> None:
        groups = {entry.group: entry.settings for entry in entries}
        if not capturing(self.rows):
            blank = entries[0].settings
            self.write_settings_([groups.get(i, blank) for i in range(len(self.settings))])
        for group, settings in groups.items():
            if isinstance(settings.lr, Tensor):
                self.settings[group, 0].copy_(settings.lr)

    def _launch_measure(self, pointers: Sequence[Pointers]) -> None:
        from wnrl.kernels import optimizer_step

        kernel: Any = optimizer_step.measure_kernel  # plain numbers in place of constexpr
        for (weights, gradients), (_, table, kinds) in zip(pointers, self.launches, strict=True):
            kernel[(len(table),)](
                weights,
                gradients,
                self._master,
                self.rows,
                table,
                self.rows.shape[1],
                KINDS=kinds,
                **self._options(),
            )

    def _launch_step(self, pointers: Sequence[Pointers]) -> Tensor | None:
        from wnrl.kernels import optimizer_row, optimizer_step

        kernel: Any = optimizer_step.step_kernel  # plain numbers in place of constexpr
        moments = [self.arenas[name] for name in self.rule.moments] or [self.rows]
        parts = self.rows[optimizer_row.SQUARES.value]
        total = torch.empty((), device=self.rows.device)
        if self.max_norm is not None and len(parts) > MAX_PARTS:
            parts = parts.sum(0, keepdim=True)
        for (weights, gradients), (_, table, kinds) in zip(pointers, self.launches, strict=True):
            kernel[(len(table),)](
                weights,
                gradients,
                self._master,
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
                CLIP=self.max_norm is not None,
                BOUNDED=self._bounded,
                KINDS=kinds,
                **self._options(),
            )
        return None if self.max_norm is None else total

    @property
    def _master(self) -> Tensor:
        """The masters' arena; any tensor if there are none."""
        return self.arenas["master"] if self.master else self.rows

    def _options(self) -> dict[str, Any]:
        """Return the constants and launch options that both kernels share."""
        backend = "hip" if torch.version.hip else "cuda"
        return {
            "MASTER": self.master,
            "BLOCK_SHORT": BLOCK_SHORT,
            "BLOCK_ROW": BLOCK_ROW,
            **launch_options(self.max_norm is not None, backend),
        }

    def _adopt(self, entry: Entry, offset: int, row: int) -> dict[str, Tensor]:
        """Move an entry's state into the arenas; return the views that replace it."""
        parameter, state, count = entry.parameter, entry.state, _count(entry)
        views = {
            name: arena.as_strided(parameter.shape, parameter.stride(), offset)
            for name, arena in self.arenas.items()
        }
        fields = self.rows[:, row : row + count]
        fields[4] = state["updates"]
        fields[8] = entry.settings.max_v_norm
        views["updates"] = fields[4, 0]
        if entry.normalized:
            names = ["norm", "sign", *(f"{name}_g" for name in self.rule.moments)]
            views |= {name: fields[i].view(-1, 1) for i, name in enumerate(names)}
        for name, view in views.items():
            view.copy_(state[name])
            state[name] = view
        return views


def launch_options(clipping: bool, backend: str) -> dict[str, int]:
    """Return warps and registers that keep 16 warps on a multiprocessor without spills on sm_90.

    Two blocks of 8 warps with 128 registers each; clipping needs more scalars and would spill, so
    it takes one block of 16 warps.

    Args:
        clipping: whether a measuring launch precedes the step.
        backend: Triton's name: "cuda", or "hip", which takes no limit of registers.
    """
    if clipping:
        return {"num_warps": 16}
    return {"num_warps": 8} | ({"maxnreg": 128} if backend == "cuda" else {})


def _identity(entry: Entry) -> tuple[Any, ...]:
    parameter = entry.parameter
    shape = (parameter.shape, parameter.stride(), parameter.dtype)
    bound = entry.settings.max_v_norm
    return (parameter.data_ptr(), *shape, entry.group, entry.normalized, bound)


def _count(entry: Entry) -> int:
    """Return the rows of an entry: output units, or chunks of a plain parameter."""
    parameter = entry.parameter
    return parameter.shape[0] if entry.normalized else math.ceil(parameter.numel() / BLOCK_SHORT)


def _starts(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """Return each entry's first element in the arenas and first row of the row state."""
    starts, offset, row = [], 0, 0
    for entry in entries:
        starts.append((offset, row))
        offset += math.ceil(entry.parameter.numel() / ARENA_STEP) * ARENA_STEP
        row += _count(entry)
    return starts


def _rows(entries: Sequence[Entry]) -> tuple[list[list[int]], int, int]:
    """Return the table's lines (see `optimizer_row`), an arena's elements, and the row count."""
    from wnrl.kernels.optimizer_row import LONG, PLAIN, SHORT, UNALIGNED, WHOLE

    lines = []
    for tensor, (entry, (offset, row)) in enumerate(zip(entries, _starts(entries), strict=True)):
        elements = entry.parameter.numel()
        length = BLOCK_SHORT
        if entry.normalized:
            length = memory_rows(entry.parameter).shape[1]
        for i, start in enumerate(range(0, elements, length)):
            size = min(length, elements - start)
            kind = PLAIN.value
            if entry.normalized:
                kind = SHORT if size <= BLOCK_SHORT else WHOLE if size <= BLOCK_ROW else LONG
                kind = kind.value
            # Triton checks at launch whether the pointers themselves are aligned.
            if size % VECTOR or start % VECTOR:
                kind += UNALIGNED.value
            lines.append([offset + start, size, tensor, start, entry.group, row + i, kind])
    last_offset, last_row = _starts(entries)[-1]
    arena = last_offset + math.ceil(entries[-1].parameter.numel() / ARENA_STEP) * ARENA_STEP
    return lines, arena, last_row + _count(entries[-1])


def _log(decay: float) -> float:
    return math.log(decay) if decay > 0 else -math.inf
