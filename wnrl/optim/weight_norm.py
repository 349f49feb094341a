"""Weight normalization as an optimizer's step over ordinary weights.

The network holds plain weights w, so acting, target networks and checkpoints cost what an
un-normalized network costs. The optimizer follows the (g, v) trajectory of Salimans & Kingma 2016:
per row it keeps n = ||v|| and s = sign(g) in its state, with the moments of g and of v, and reads
|g| = ||w|| from w itself at every step. So g = s ||w|| and v = (n / g) w exist only inside `step`.

One step, for a row with gradient d = dL/dw and the optimizer's own updates U_v, U_g:

    dL/dg = s (d . w) / |g|                       dL/dv = (g / n) (d - w (d . w) / g^2)   (eq. 3)
    y = w + (g / n) U_v                           v' = (n / g) y,  n' = n ||y|| / |g|
    g' = g + U_g                                  w' = (g' / ||y||) s y                   (eq. 2)

The row w is never divided by g and multiplied again, so with U = 0 (learning rate 0) it keeps its
bits. A row of zeros has no direction: it takes a plain step in w, and is normalized from then on.

This file holds the classes, their state and what they refuse; the step itself is
`wnrl.kernels.optimizer_launch` (Triton, one launch) or `wnrl.kernels.optimizer_aten`.
"""

import math
from collections.abc import Callable
from itertools import chain
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from wnrl._settings import UsageError, nearest
from wnrl.kernels import optimizer_aten
from wnrl.kernels.backend import use_triton
from wnrl.kernels.optimizer_aten import Entry, memory_rows
from wnrl.kernels.optimizer_launch import FusedStep
from wnrl.kernels.optimizer_rules import (
    ADAM,
    ADAMAX,
    CENTERED_RMSPROP,
    MOMENTUM_SGD,
    RADAM,
    RMSPROP,
    SGD,
    Rule,
    Settings,
)

PAPER_WEIGHT_STD = 0.05  # v ~ N(0, 0.05^2) (section 3), so ||v|| is about 0.05 sqrt(fan_in)
SMALLEST_GAIN = optimizer_aten.SMALLEST_GAIN
TYPES = (torch.float32, torch.float64, torch.bfloat16)

Group = dict[str, Any]
VNorm = str | Tensor

_PART = "weight_norm_part"


def mark_part(parameter: nn.Parameter, part: str) -> None:
    """Mark a Parameter as a gain ("g") or weight vector ("v"), which must not be normalized again.

    The mark does not survive a deepcopy of the Parameter: the layer that owns it marks it anew.
    """
    setattr(parameter, _PART, part)


class _WeightNormOptimizer(torch.optim.Optimizer):
    """What the weight-normalizing optimizers share; a subclass brings a rule and its settings.

    State of a normalized weight: `norm` n and `sign` s (O, 1), each moment of v in the weight's
    shape and of g as `<moment>_g` (O, 1), and `updates`, the steps so far. A bfloat16 parameter
    also has `master`, its weight in float32. It is made at the first step on the weight's device.
    The counter is not called `step`, which torch would leave on the device it was saved from.
    """

    def __init__(
        self, params: ParamsT, defaults: Group, rule: Rule, max_norm: float | None
    ) -> None:
        self.rule = rule
        self.max_norm = None if max_norm is None else checked_max_norm(max_norm)
        self.grad_norm = torch.tensor(math.nan)
        self._fused: FusedStep | None = None
        check_not_negative(defaults)
        super().__init__(params, {"weight_norm": True, **defaults})

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs; the fused step's plan is made anew."""
        own = {"rule": self.rule, "max_norm": self.max_norm, "grad_norm": self.grad_norm}
        return {**super().__getstate__(), **own, "_fused": None}

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; with `weight_norm` false all of it is stepped plainly."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        check_v_norm(group["v_norm"])
        for parameter in group["params"]:
            part = getattr(parameter, _PART, None)
            if group["weight_norm"] and part is not None:
                raise UsageError(
                    f"{type(self).__name__} got a weight_{part} of shape "
                    f"{tuple(parameter.shape)}, which would be normalized twice: use torch's own "
                    'optimizer with storage="gv", build the layers with storage="w", or pass '
                    "weight_norm_groups(module)"
                )
            if parameter.dtype not in TYPES:
                raise UsageError(
                    f"{type(self).__name__} got a parameter of type {parameter.dtype}: it takes "
                    "float32, float64, and bfloat16 with a float32 master in its state; keep "
                    "others in float32 and use autocast"
                )
            if _normalized(group, parameter):
                memory_rows(parameter.detach())

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient.

        Raises:
            UsageError: on a sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        entries = [
            self._entry(index, group, parameter)
            for index, group in enumerate(self.param_groups)
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if entries and use_triton(entries[0].parameter) and FusedStep.takes(entries):
            if self._fused is None or not self._fused.fits(entries):
                self._fused = FusedStep(self.rule, entries, self.max_norm)
            weight = entries[0].parameter
            # Triton launches on the current device, whichever that is.
            with torch.cuda.device_of(weight):
                total = self._fused.step(entries)
        else:
            total = optimizer_aten.step(self.rule, entries, self.max_norm)
        if total is not None:
            self.grad_norm = total
        return loss

    def write_settings_(self) -> None:
        """Copy every group's lr, decays and eps to the device, where the fused step reads them.

        `step` does it too, except while a CUDA graph is captured: before a replay call this when
        a schedule has written `group["lr"]`. An lr that is a tensor on the device is read inside
        the graph and needs no call.
        """
        if self._fused is not None:
            self._fused.write_settings_([self._settings(group) for group in self.param_groups])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the state was taken, each tensor in the type it was saved in."""
        super().load_state_dict(state_dict)
        # torch casts all state to the parameter's type: a bfloat16 weight's master would be lost.
        saved = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        own = chain.from_iterable(group["params"] for group in self.param_groups)
        for index, parameter in zip(saved, own, strict=True):
            for name, value in state_dict["state"].get(index, {}).items():
                if value.dtype != parameter.dtype:
                    self.state[parameter][name] = value.detach().clone().to(parameter.device)

    def _settings(self, group: Group) -> Settings:
        """The group's numbers in the order that the rules read them."""
        raise NotImplementedError

    def _entry(self, index: int, group: Group, parameter: nn.Parameter) -> Entry:
        gradient = parameter.grad
        assert gradient is not None
        if gradient.layout != torch.strided:
            raise UsageError(
                f"{type(self).__name__} got a gradient of layout {gradient.layout} for a parameter "
                f"of shape {tuple(parameter.shape)}: a row's norm needs all of it; build the "
                "embedding with sparse=False, or step it with torch.optim.SparseAdam"
            )
        state, normalized = self.state[parameter], _normalized(group, parameter)
        if not state:
            self._make_state(group, parameter, normalized)
        _match_layout_(state, parameter)
        if gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        weight = parameter.detach()
        return Entry(weight, gradient, state, self._settings(group), index, normalized)

    def _make_state(self, group: Group, parameter: nn.Parameter, normalized: bool) -> None:
        state, weight = self.state[parameter], parameter.detach()
        if weight.dtype == optimizer_aten.HALF:
            weight = weight.float()
            state["master"] = weight
        state["updates"] = torch.zeros((), device=weight.device)
        for name in self.rule.moments:
            state[name] = torch.zeros_like(weight)
        if normalized:
            rows = memory_rows(weight)
            gain = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (O, K) -> (O, 1)
            state["norm"] = starting_norm(group["v_norm"], gain, rows.shape[1])
            state["sign"] = torch.ones_like(gain)
            for name in self.rule.moments:
                state[f"{name}_g"] = torch.zeros_like(gain)


class WNAdam(_WeightNormOptimizer):
    """Adam (Kingma & Ba 2015) on the gains and weight vectors of ordinary weights.

    Every parameter of two and more dimensions is normalized, per index of axis 0, output layers
    included; others, and groups with `weight_norm` false (see `wnrl.nn.weight_norm_groups`), take
    torch's plain step.

    Args:
        params: parameters or groups. weight_g and weight_v of a storage="gv" layer are refused.
        lr: learning rate of g, v and the plain parameters; may be a tensor () on the device.
        betas: decay of the two moments, per update.
        eps: added to the root of the second moment.
        v_norm: n = ||v|| at the first step: "weight" (||w||), "paper" (0.05 sqrt(fan_in),
            section 3), "unit", or a tensor () or (O,). The relative step is about
            lr sqrt(fan_in) / n. A group may set its own.
        max_norm: clips the global norm of the gradients of g, v and the plain parameters, as
            `clip_grad_norm_` would; `inf` measures it only; None does neither. Clipping p.grad
            outside sees dL/dw, whose norm is another one.

    Attributes:
        grad_norm: () that norm, before clipping, of the last step; NaN where none was measured.

    Raises:
        UsageError: for settings out of range, gains or weight vectors, float16 weights.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_betas(betas)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "v_norm": v_norm}
        super().__init__(params, defaults, ADAM, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["betas"][0], group["betas"][1], group["eps"])


class WNAdamax(_WeightNormOptimizer):
    """Adamax (Kingma & Ba 2015, section 7.1) on gains and weight vectors; arguments as `WNAdam`.

    The optimizer of the weight normalization paper's DQN, there with a first beta of 0.5.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_betas(betas)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "v_norm": v_norm}
        super().__init__(params, defaults, ADAMAX, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["betas"][0], group["betas"][1], group["eps"])


class WNRAdam(_WeightNormOptimizer):
    """RAdam (Liu et al. 2020) on gains and weight vectors; arguments as `WNAdam`.

    As torch's: no rectification before the variance is tractable, eps outside of the root.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_betas(betas)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "v_norm": v_norm}
        super().__init__(params, defaults, RADAM, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["betas"][0], group["betas"][1], group["eps"])


class WNRMSprop(_WeightNormOptimizer):
    """RMSprop on gains and weight vectors, `centered` as in Nature's DQN; others as `WNAdam`.

    Args:
        alpha: decay of the averages, per update.
        centered: divide by the standard deviation instead of the root mean square.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        *,
        centered: bool = False,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_alpha(alpha)
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "v_norm": v_norm}
        super().__init__(params, defaults, CENTERED_RMSPROP if centered else RMSPROP, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["alpha"], 0.0, group["eps"])


class WNSGD(_WeightNormOptimizer):
    """Gradient descent on gains and weight vectors; others as `WNAdam`.

    The length of v never shrinks here: U_v is orthogonal to v (section 2.1).

    Args:
        momentum: decay of the running sum of gradients, per update; 0 keeps no such sum.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum is {momentum}: it must lie in [0, 1)")
        defaults = {"lr": lr, "momentum": momentum, "eps": 0.0, "v_norm": v_norm}
        super().__init__(params, defaults, MOMENTUM_SGD if momentum else SGD, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["momentum"], 0.0, group["eps"])


def _match_layout_(state: dict[str, Tensor], parameter: nn.Parameter) -> None:
    """Give the moments the weight's strides: it may have moved to channels_last since."""
    if parameter.ndim < 3:
        return  # has one layout
    for name, value in state.items():
        if value.shape == parameter.shape and value.stride() != parameter.stride():
            state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def starting_norm(v_norm: VNorm, gain: Tensor, fan_in: int) -> Tensor:
    """n (O, 1) at the first step."""
    if isinstance(v_norm, Tensor):
        if v_norm.shape not in ((), (gain.shape[0],)):
            raise UsageError(
                f"v_norm has shape {tuple(v_norm.shape)}: for a weight of {gain.shape[0]} output "
                f"units it must be () or ({gain.shape[0]},)"
            )
        return v_norm.to(gain).reshape(-1, 1).expand_as(gain).clone()
    fixed = {"paper": PAPER_WEIGHT_STD * math.sqrt(fan_in), "unit": 1.0}
    return torch.full_like(gain, fixed[v_norm]) if v_norm in fixed else gain.clone()


def _normalized(group: Group, parameter: Tensor) -> bool:
    return bool(group["weight_norm"]) and parameter.ndim >= 2


def checked_max_norm(max_norm: float) -> float:
    """The norm as a float. UsageError unless it is above 0."""
    if not max_norm > 0:
        raise UsageError(f"max_norm is {max_norm}: it must be above 0; inf clips nothing")
    return float(max_norm)


def check_not_negative(settings: Group) -> None:
    """UsageError unless `lr` and `eps` are finite and at least 0."""
    for name in ("lr", "eps"):
        if not (settings[name] >= 0 and math.isfinite(settings[name])):
            raise UsageError(f"{name} is {settings[name]}: it must be finite and at least 0")


def check_betas(betas: tuple[float, float]) -> None:
    """UsageError unless these are two numbers in [0, 1)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise UsageError(f"betas are {betas}: they must be two numbers in [0, 1)")


def check_alpha(alpha: float) -> None:
    """UsageError unless it lies in [0, 1)."""
    if not 0 <= alpha < 1:
        raise UsageError(f"alpha is {alpha}: it must lie in [0, 1)")


def check_v_norm(v_norm: VNorm) -> None:
    """UsageError unless it is a known word or a tensor of norms above 0."""
    if isinstance(v_norm, Tensor):
        if not bool((v_norm > 0).all()):
            raise UsageError(f"v_norm is {v_norm}: a norm must be above 0")
    elif v_norm not in ("weight", "paper", "unit"):
        raise UsageError(
            f"v_norm is {v_norm!r}: allowed are weight, paper, unit, or a tensor"
            + nearest(str(v_norm), ("weight", "paper", "unit"))
        )
