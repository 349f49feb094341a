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
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from wnrl.errors import UsageError, nearest

PAPER_WEIGHT_STD = 0.05  # v ~ N(0, 0.05^2) (section 3), so ||v|| is about 0.05 sqrt(fan_in)
SMALLEST_GAIN = 1e-12  # a gain of exactly 0 would make w = 0 and lose the direction of v
BLOCK_ELEMENTS = 131_072  # of a weight: 0.5 MiB each of w, dw, dv and the moments
CLIP_EPSILON = 1e-6  # torch.nn.utils.clip_grad_norm_'s own

Group = dict[str, Any]
VNorm = str | Tensor

_PART = "weight_norm_part"


def mark_part(parameter: nn.Parameter, part: str) -> None:
    """Mark a Parameter as a gain ("g") or weight vector ("v"), which must not be normalized again.

    The mark does not survive a deepcopy of the Parameter: the layer that owns it marks it anew.
    """
    setattr(parameter, _PART, part)


@dataclass(frozen=True)
class _Rows:
    """One normalized weight in the middle of a step, as rows of its memory (O, K)."""

    weight: Tensor  # (O, K) a view of the parameter
    gradient: Tensor  # (O, K) dL/dw
    state: dict[str, Tensor]
    gain: Tensor  # (O, 1) |g|
    norm: Tensor  # (O, 1) n
    scale: Tensor  # (O, 1) g / n; 1 for a row of zeros

    def blocks(self) -> list[slice]:
        """Ranges of rows small enough that a block stays in a CPU's cache from pass to pass."""
        rows, length = self.weight.shape
        size = max(1, BLOCK_ELEMENTS // length) if self.weight.device.type == "cpu" else rows
        return [slice(start, start + size) for start in range(0, rows, size)]

    def gradients(self, block: slice) -> tuple[Tensor, Tensor]:
        """dL/dv (rows, K) and dL/dg (rows, 1) of a block (eq. 3), read through w."""
        gain, scale = self.gain[block], self.scale[block]
        # A row of zeros takes |g| = 1, which makes dL/dv = dL/dw and dL/dg = 0.
        gain = torch.where(gain > 0, gain, 1.0)
        # ATen's backward of w = g v / ||v||, at v = w, ||v|| = |g|, with g replaced by (g / n) |g|.
        dv, dg = torch.ops.aten._weight_norm_interface_backward(
            self.gradient[block], self.weight[block], scale * gain, gain, 0
        )
        return dv, dg.mul_(self.state["sign"][block])


class _WeightNormOptimizer(torch.optim.Optimizer):
    """What the weight-normalizing optimizers share; a subclass brings moments and an update rule.

    State of a normalized weight: `norm` n and `sign` s (O, 1), each moment of v in the weight's
    shape and of g as `<moment>_g` (O, 1), and `updates`, the steps so far. It is made at the first
    step on the weight's device. The counter is not called `step`, which torch would leave on the
    device it was saved from.
    """

    moments: tuple[str, ...] = ()

    def __init__(self, params: ParamsT, defaults: Group, max_norm: float | None) -> None:
        self.max_norm = None if max_norm is None else checked_max_norm(max_norm)
        self.grad_norm = torch.tensor(math.nan)
        check_not_negative(defaults)
        super().__init__(params, {"weight_norm": True, **defaults})

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
            if _normalized(group, parameter):
                if parameter.dtype not in (torch.float32, torch.float64):
                    raise UsageError(
                        f"{type(self).__name__} got a weight of type {parameter.dtype}: it takes "
                        "float32 or float64; keep the weights in float32 and use autocast"
                    )
                _memory_rows(parameter.detach())

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        normalized: list[tuple[Group, _Rows]] = []
        plain: list[tuple[Group, nn.Parameter]] = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if _normalized(group, parameter):
                    normalized.append((group, self._rows(group, parameter)))
                else:
                    plain.append((group, parameter))
        clip = self._clip_factor([rows for _, rows in normalized], [p for _, p in plain])
        for group, rows in normalized:
            self._step_rows(group, rows, clip)
        for group, parameter in plain:
            self._step_plain(group, parameter, clip)
        return loss

    def _rows(self, group: Group, parameter: nn.Parameter) -> _Rows:
        weight = _memory_rows(parameter.detach())
        gain = torch.linalg.vector_norm(weight, dim=1, keepdim=True)  # (O, K) -> (O, 1)
        state = self.state[parameter]
        if not state:
            fan_in = weight.shape[1]
            state["updates"] = torch.zeros((), device=weight.device)
            state["norm"] = starting_norm(group["v_norm"], gain, fan_in)
            state["sign"] = torch.ones_like(gain)
            for name in self.moments:
                state[name] = torch.zeros_like(parameter)
                state[f"{name}_g"] = torch.zeros_like(gain)
        _match_layout_(state, parameter)
        gradient = parameter.grad
        assert gradient is not None
        if gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        # A row that was zero when n was made has n = 0: it starts with v = w.
        norm = torch.where(state["norm"] > 0, state["norm"], gain)
        scale = torch.where(gain > 0, state["sign"] * gain / norm, 1.0)
        return _Rows(weight, _memory_rows(gradient), state, gain, norm, scale)

    def _clip_factor(self, normalized: list[_Rows], plain: list[nn.Parameter]) -> Tensor | None:
        """Measure the global norm over (g, v) and plain gradients; what to multiply them with."""
        if self.max_norm is None:
            return None
        gradients = [p.grad for p in plain if p.grad is not None]
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        for rows in normalized:
            for block in rows.blocks():
                norms += [torch.linalg.vector_norm(part) for part in rows.gradients(block)]
        self.grad_norm = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
        return clip_factor(self.grad_norm, self.max_norm)

    def _step_rows(self, group: Group, rows: _Rows, clip: Tensor | None) -> None:
        """Update one normalized weight: v block by block, then g, then w, n and s."""
        state, sign = rows.state, rows.state["sign"]
        state["updates"] += 1
        moments = [_memory_rows(state[name]) for name in self.moments]
        blocks = rows.blocks()
        # The rule adds its update to zeros: what is needed is the update, not v.
        update = torch.empty_like(rows.weight[blocks[0]])
        dg = torch.empty_like(rows.gain)
        length = torch.empty_like(rows.gain)
        for block in blocks:
            weight = rows.weight[block]
            dv, dg[block] = rows.gradients(block)
            if clip is not None:
                dv.mul_(clip)
            v_update = update[: len(weight)].zero_()
            self._update(group, state["updates"], v_update, dv, [m[block] for m in moments])
            weight.addcmul_(v_update, rows.scale[block])  # y
            torch.linalg.vector_norm(weight, dim=1, keepdim=True, out=length[block])
        if clip is not None:
            dg.mul_(clip)
        gain = sign * rows.gain
        self._update(group, state["updates"], gain, dg, [state[f"{m}_g"] for m in self.moments])
        smallest = rows.gain.clamp(max=SMALLEST_GAIN)
        gain = torch.where(gain.abs() < smallest, sign * smallest, gain)  # g'
        # y keeps the sign of the old g, so s y points along v'. A row that the step cancelled to
        # zero stays zero.
        alive = (rows.gain > 0) & (length > 0)
        rows.weight.mul_(torch.where(alive, sign * gain / length, 1.0))
        state["norm"].copy_(torch.where(alive, rows.norm * (length / rows.gain), rows.norm))
        state["sign"].copy_(torch.where(alive, gain.sign(), sign))

    def _step_plain(self, group: Group, parameter: nn.Parameter, clip: Tensor | None) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["updates"] = torch.zeros((), device=parameter.device)
            state.update({name: torch.zeros_like(parameter) for name in self.moments})
        _match_layout_(state, parameter)
        if clip is not None:
            gradient.mul_(clip)
        state["updates"] += 1
        moments = [state[name] for name in self.moments]
        self._update(group, state["updates"], parameter.detach(), gradient, moments)

    def _update(
        self, group: Group, updates: Tensor, target: Tensor, gradient: Tensor, moments: list[Tensor]
    ) -> None:
        """Add this rule's update number `updates` to the target, in place; move the moments."""
        raise NotImplementedError


class WNAdam(_WeightNormOptimizer):
    """Adam (Kingma & Ba 2015) on the gains and weight vectors of ordinary weights.

    Every parameter of two and more dimensions is normalized, per index of axis 0, output layers
    included; others, and groups with `weight_norm` false (see `wnrl.nn.weight_norm_groups`), take
    torch's plain step.

    Args:
        params: parameters or groups. weight_g and weight_v of a storage="gv" layer are refused.
        lr: learning rate of g, v and the plain parameters.
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
        UsageError: for settings out of range, gains or weight vectors, half-precision weights.
    """

    moments = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "v_norm": v_norm}, max_norm)

    def _update(
        self, group: Group, updates: Tensor, target: Tensor, gradient: Tensor, moments: list[Tensor]
    ) -> None:
        torch._fused_adam_(
            [target],
            [gradient],
            [moments[0]],
            [moments[1]],
            [],
            [updates],
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=0.0,
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


class WNAdamax(_WeightNormOptimizer):
    """Adamax (Kingma & Ba 2015, section 7.1) on gains and weight vectors; arguments as `WNAdam`.

    The optimizer of the weight normalization paper's DQN, there with a first beta of 0.5.
    """

    moments = ("exp_avg", "exp_inf")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "v_norm": v_norm}, max_norm)

    def _update(
        self, group: Group, updates: Tensor, target: Tensor, gradient: Tensor, moments: list[Tensor]
    ) -> None:
        (beta1, beta2), (average, largest) = group["betas"], moments
        average.lerp_(gradient, 1 - beta1)
        # torch adds eps to each new gradient, inside the maximum.
        torch.maximum(largest.mul_(beta2), gradient.abs().add_(group["eps"]), out=largest)
        target.sub_((average / largest).mul_(group["lr"] / (1 - beta1 ** updates.to(target))))


class WNRMSprop(_WeightNormOptimizer):
    """RMSprop on gains and weight vectors, `centered` as in Nature's DQN; others as `WNAdam`.

    Args:
        alpha: decay of the averages, per update.
        centered: divide by the standard deviation instead of the root mean square.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        *,
        centered: bool = False,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_alpha(alpha)
        self.moments = ("square_avg", "grad_avg") if centered else ("square_avg",)
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "v_norm": v_norm}
        super().__init__(params, defaults, max_norm)

    def _update(
        self, group: Group, updates: Tensor, target: Tensor, gradient: Tensor, moments: list[Tensor]
    ) -> None:
        alpha, square = group["alpha"], moments[0]
        square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        if len(moments) == 2:
            mean = moments[1].lerp_(gradient, 1 - alpha)
            # Rounding can make the variance of a steady gradient negative.
            root = square.addcmul(mean, mean, value=-1).clamp_(min=0).sqrt_()
        else:
            root = square.sqrt()
        target.addcdiv_(gradient, root.add_(group["eps"]), value=-group["lr"])


def _memory_rows(tensor: Tensor) -> Tensor:
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


def _match_layout_(state: dict[str, Tensor], parameter: nn.Parameter) -> None:
    """Give the moments the weight's strides: it may have moved to channels_last since."""
    for name, value in state.items():
        if value.shape == parameter.shape and value.stride() != parameter.stride():
            state[name] = torch.empty_like(parameter).copy_(value)


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


def clip_factor(total: Tensor, max_norm: float) -> Tensor | None:
    """() What clips gradients of a global norm `total` to max_norm; None where nothing can."""
    if not math.isfinite(max_norm):
        return None
    return (max_norm / (total + CLIP_EPSILON)).clamp(max=1.0)


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
