"""Weight normalization as an optimizer's step over ordinary weights.

The network holds plain weights w, so acting, target networks and checkpoints cost what an
un-normalized network costs. The optimizer follows the (g, v) trajectory of Salimans & Kingma 2016:
its state holds n = ||v|| and s = sign(g) of each row and the moments of g and v; it reads
|g| = ||w|| from w at every step. So g = s ||w|| and v = (n / g) w exist only inside `step`.

One step, for a row with gradient d = dL/dw and the optimizer's updates U_v, U_g:

    dL/dg = s (d . w) / |g|                       dL/dv = (g / n) (d - w (d . w) / g^2)   (eq. 3)
    y = w + (g / n) U_v                           v' = (n / g) y,  n' = n ||y|| / |g|
    g' = g + U_g                                  w' = (g' / ||y||) s y                   (eq. 2)

The row w is never divided by g and multiplied again, so it keeps its bits if U = 0 (learning rate
0). A row of zeros has no direction: it takes a plain step in w, and is normalized from then on.

A group may bound n, which changes no w, only the relative size of later steps, 1 / n:

    max_v_norm = c > 0:  n' = min(n ||y|| / |g|, c)           max_v_norm = 0:  n' = n

This file holds the optimizers' shared class, its state and its checks. The five optimizers are in
`weight_norm`; the arithmetic is in `wnrl.kernels.optimizer_launch` (Triton, one launch),
`wnrl.kernels.optimizer_cpu` (numba, one pass over each row) and `wnrl.kernels.optimizer_aten`.
"""

import math
from collections.abc import Callable
from itertools import chain
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from wnrl._settings import UsageError
from wnrl.kernels import optimizer_aten, optimizer_cpu
from wnrl.kernels.backend import use_numba, use_triton
from wnrl.kernels.optimizer_aten import Entry
from wnrl.kernels.optimizer_cpu import CompiledStep
from wnrl.kernels.optimizer_launch import FusedStep
from wnrl.kernels.optimizer_rules import Rule, Settings
from wnrl.kernels.row_layout import memory_rows, output_first
from wnrl.optim.arguments import (
    Group,
    check_max_v_norm,
    check_not_negative,
    check_v_norm,
    checked_max_norm,
    output_axis,
    starting_norm,
)
from wnrl.optim.owners import check_owners

SMALLEST_GAIN = optimizer_aten.SMALLEST_GAIN
TYPES = (torch.float32, torch.float64, torch.bfloat16)

_PART = "weight_norm_part"


def mark_part(parameter: nn.Parameter, part: str) -> None:
    """Mark a Parameter as a gain ("g") or weight vector ("v"), which must not be normalized again.

    A deepcopy of the Parameter loses the mark, so the layer that owns it has to set it again.
    """
    setattr(parameter, _PART, part)


class NormalizingOptimizer(torch.optim.Optimizer):
    """Base class of the weight-normalizing optimizers; a subclass adds a rule and its settings.

    State of a normalized weight: `norm` n and `sign` s (O, 1), each moment of v in the weight's
    shape and of g as `<moment>_g` (O, 1), and `updates`, the number of steps. A bfloat16 parameter
    also has `master`, its weight in float32. State is made on the weight's device at the first
    step. The counter is not called `step` because torch would not move a `step` to the device.

    A group may have `output_axis` 1, for transposed convolutions. Then a contiguous copy of the
    weight, with that axis first, is stepped and written back; moments and master are shaped so.
    """

    def __init__(
        self, params: ParamsT, defaults: Group, rule: Rule, max_norm: float | None
    ) -> None:
        self.rule = rule
        self.max_norm = None if max_norm is None else checked_max_norm(max_norm)
        self.grad_norm = torch.tensor(math.nan)
        self._fused: FusedStep | None = None
        self._compiled = CompiledStep(rule)
        self._copies: dict[nn.Parameter, Tensor] = {}  # weights with the output axis first
        check_not_negative(defaults)
        super().__init__(params, {"weight_norm": True, "max_v_norm": math.inf, **defaults})

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs, without what the fused steps keep: the copy makes its own."""
        kept = {"rule": self.rule, "max_norm": self.max_norm, "grad_norm": self.grad_norm}
        new = {"_compiled": CompiledStep(self.rule), "_copies": {}}
        return {**super().__getstate__(), **kept, "_fused": None, **new}

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; if its `weight_norm` is false, all of its parameters take plain steps."""
        chosen = "weight_norm" in param_group  # by the user or `weight_norm_groups`
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        check_v_norm(group["v_norm"])
        check_max_v_norm(group["max_v_norm"])
        for parameter in group["params"]:
            self._check_parameter(group, parameter)
        if not chosen:
            check_owners(type(self).__name__, group["params"])

    def _check_parameter(self, group: Group, parameter: nn.Parameter) -> None:
        part = getattr(parameter, _PART, None)
        if group["weight_norm"] and part is not None:
            raise UsageError(
                f"{type(self).__name__} got a weight_{part} of shape {tuple(parameter.shape)}, "
                'which would be normalized twice: use torch\'s optimizer with storage="gv", build '
                'the layers with storage="w", or pass weight_norm_groups(module)'
            )
        if parameter.dtype not in TYPES:
            raise UsageError(
                f"{type(self).__name__} got a parameter of type {parameter.dtype}: it takes "
                "float32, float64, and bfloat16 (with a float32 master in its state); keep others "
                "in float32 and use autocast"
            )
        if _normalized(group, parameter) and not output_axis(group):  # others are copied
            memory_rows(parameter.detach())

    @property
    def capturable(self) -> bool:
        """Return whether the last step was one of Triton's, which reads its numbers there."""
        return self._fused is not None

    def prepare(self) -> None:
        """Compile what the first step would wait for."""
        if use_numba(self.param_groups[0]["params"][0]):
            optimizer_cpu.prepare()

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient.

        Raises:
            UsageError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        entries = [
            self._entry(index, group, settings, parameter)
            for index, group in enumerate(self.param_groups)
            for settings in [self._settings_of(group)]
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if entries and use_triton(entries[0].parameter) and FusedStep.takes(entries):
            if self._fused is None or not self._fused.fits(entries):
                self._fused = FusedStep(self.rule, entries, self.max_norm)
            with torch.cuda.device_of(entries[0].parameter):  # where Triton launches
                total = self._fused.step(entries)
        elif entries and use_numba(entries[0].parameter) and optimizer_cpu.takes(entries):
            total = self._compiled.step(entries, self.max_norm)
        else:
            total = optimizer_aten.step(self.rule, entries, self.max_norm)
        for entry in entries:
            if entry.original is not None:
                entry.original.copy_(entry.parameter)
        if total is not None:
            self.grad_norm = total
        return loss

    def write_settings_(self) -> None:
        """Copy every group's lr, decays and eps to the device, where the fused step reads them.

        `step` does this too, except while a CUDA graph is captured: if a schedule has written
        `group["lr"]`, call this before the replay. An lr that is a tensor on the device is read
        inside the graph and needs no call.
        """
        if self._fused is not None:
            self._fused.write_settings_([self._settings_of(group) for group in self.param_groups])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state, each tensor in the type it was saved in."""
        super().load_state_dict(state_dict)
        # torch casts all state to the parameter's type, which would round a bfloat16 weight's
        # master: copy such tensors again.
        saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        current = chain.from_iterable(group["params"] for group in self.param_groups)
        for index, parameter in zip(saved, current, strict=True):
            for name, value in state_dict["state"].get(index, {}).items():
                if value.dtype != parameter.dtype:
                    self.state[parameter][name] = value.detach().clone().to(parameter.device)

    def _settings_of(self, group: Group) -> Settings:
        """Return the rule's numbers and the bound on n, which older states do not have."""
        return self._settings(group)._replace(max_v_norm=group.get("max_v_norm", math.inf))

    def _settings(self, group: Group) -> Settings:
        """Return the group's numbers in the order in which the rules read them."""
        raise NotImplementedError

    def _entry(
        self, index: int, group: Group, settings: Settings, parameter: nn.Parameter
    ) -> Entry:
        gradient = parameter.grad
        assert gradient is not None
        if gradient.layout != torch.strided:
            raise UsageError(
                f"{type(self).__name__} got a gradient of layout {gradient.layout} for a parameter "
                f"of shape {tuple(parameter.shape)}: a row's norm needs the whole row; build the "
                "embedding with sparse=False, or step it with torch.optim.SparseAdam"
            )
        state, normalized = self.state[parameter], _normalized(group, parameter)
        weight, original = parameter.detach(), None
        if normalized and (axis := output_axis(group)):
            original, gradient = output_first(weight, axis), output_first(gradient, axis)
            weight = self._copy(parameter, original)
        if not state:
            self._make_state(state, group, weight, normalized)
        _match_layout_(state, weight)
        if gradient.stride() != weight.stride():
            gradient = torch.empty_like(weight).copy_(gradient)
        return Entry(weight, gradient, state, settings, index, normalized, original)

    def _copy(self, parameter: nn.Parameter, original: Tensor) -> Tensor:
        """Return a contiguous copy in the memory of the last one, which the fused step knows."""
        copy = self._copies.get(parameter)
        if copy is None or (copy.device, copy.dtype) != (original.device, original.dtype):
            copy = torch.empty_like(original, memory_format=torch.contiguous_format)
            self._copies[parameter] = copy
        return copy.copy_(original)

    def _make_state(
        self, state: dict[str, Tensor], group: Group, weight: Tensor, normalized: bool
    ) -> None:
        if weight.dtype == optimizer_aten.HALF:
            weight = weight.float()
            state["master"] = weight
        state["updates"] = torch.zeros((), device=weight.device)
        for name in self.rule.moments:
            state[name] = torch.full_like(weight, self.rule.start)
        if normalized:
            rows = memory_rows(weight)
            gain = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (O, K) -> (O, 1)
            state["norm"] = starting_norm(group["v_norm"], gain, rows.shape[1])
            state["sign"] = torch.ones_like(gain)
            for name in self.rule.moments:
                state[f"{name}_g"] = torch.full_like(gain, self.rule.start)


def _match_layout_(state: dict[str, Tensor], parameter: Tensor) -> None:
    """Give the moments the weight's strides, which change when it moves to channels_last."""
    if parameter.ndim < 3:
        return  # only one layout
    for name, value in state.items():
        if value.shape == parameter.shape and value.stride() != parameter.stride():
            state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _normalized(group: Group, parameter: Tensor) -> bool:
    """Return whether the parameter is a weight with rows that have a norm."""
    return bool(group["weight_norm"]) and parameter.ndim >= 2 and parameter.numel() > 0
