"""The weight-normalizing optimizers: Adam, Adamax, RAdam, RMSprop and SGD on g and v.

The step that they share, its equations and its state are in `normalizing_step`.
"""

from typing import ClassVar

from torch import Tensor
from torch.optim.optimizer import ParamsT

from wnrl._settings import UsageError
from wnrl.kernels.optimizer_rules import (
    ADAM,
    ADAMAX,
    CENTERED_RMSPROP,
    MOMENTUM_SGD,
    RADAM,
    RMSPROP,
    RMSPROP_TF,
    SGD,
    Rule,
    Settings,
)
from wnrl.optim.arguments import Group, VNorm, check_alpha, check_betas
from wnrl.optim.normalizing_step import NormalizingOptimizer


class _AdamLike(NormalizingOptimizer):
    """Base class of the optimizers that have two betas."""

    _rule: ClassVar[Rule]

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
        super().__init__(params, defaults, self._rule, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["betas"][0], group["betas"][1], group["eps"])


class WNAdam(_AdamLike):
    """Adam (Kingma & Ba 2015) on the gains and weight vectors of ordinary weights.

    Every parameter with two or more dimensions is normalized per index of axis 0, output layers
    included. Other parameters, and groups whose `weight_norm` is false (see
    `wnrl.nn.weight_norm_groups`), take plain steps.

    Args:
        params: parameters or groups, without weight_g and weight_v of storage="gv" layers.
        lr: learning rate of g, v and the plain parameters; may be a tensor () on the device.
        betas: decay of the two moments, per update.
        eps: added to the root of the second moment.
        v_norm: n = ||v|| at the first step: "weight" (||w||), "paper" (0.05 sqrt(fan_in),
            section 3), "unit", or a tensor () or (O,). The relative step is about
            lr sqrt(fan_in) / n. Each group may have its own.
        max_norm: largest global norm of the gradients of g, v and the plain parameters, clipped
            like `clip_grad_norm_`; `inf` only measures it; None does neither. Clipping p.grad
            outside the optimizer uses the norm of dL/dw, which differs.

    Attributes:
        grad_norm: () that norm before clipping, at the last step; NaN if it was not measured.

    Raises:
        UsageError: settings out of range, gains or weight vectors, float16 weights.
    """

    _rule = ADAM


class WNAdamax(_AdamLike):
    """Adamax (Kingma & Ba 2015, section 7.1) on gains and weight vectors; arguments as `WNAdam`.

    The weight normalization paper's DQN uses it, with a first beta of 0.5.
    """

    _rule = ADAMAX

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
        super().__init__(params, lr, betas, eps, v_norm=v_norm, max_norm=max_norm)


class WNRAdam(_AdamLike):
    """RAdam (Liu et al. 2020) on gains and weight vectors; arguments as `WNAdam`.

    Like torch's: no rectification until the variance is tractable, and eps outside the root.
    """

    _rule = RADAM


class WNRMSprop(NormalizingOptimizer):
    """RMSprop on gains and weight vectors, `centered` in Nature's DQN.

    Arguments that are not listed are those of `WNAdam`.

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


class WNRMSpropTFLike(NormalizingOptimizer):
    """RMSprop as in TensorFlow 1 and Stable-Baselines3's `RMSpropTFLike`, on g and v.

        s <- alpha s + (1 - alpha) d^2, from s = 1        x <- x - lr d / sqrt(s + eps)

    From s = 0, as in `WNRMSprop`, the first step is lr / sqrt(1 - alpha) in every element, however
    small its gradient. Arguments that are not listed are those of `WNAdam`.

    Args:
        alpha: decay of the average, per update.
        eps: term inside the root.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        *,
        v_norm: VNorm = "weight",
        max_norm: float | None = None,
    ) -> None:
        check_alpha(alpha)
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "v_norm": v_norm}
        super().__init__(params, defaults, RMSPROP_TF, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["alpha"], 0.0, group["eps"])


class WNSGD(NormalizingOptimizer):
    """Gradient descent on gains and weight vectors.

    The length of v never shrinks: U_v is orthogonal to v (section 2.1). Arguments that are not
    listed are those of `WNAdam`.

    Args:
        momentum: decay of the running sum of gradients, per update; 0 for none.
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
            raise UsageError(f"momentum is {momentum}: it must be in [0, 1)")
        defaults = {"lr": lr, "momentum": momentum, "eps": 0.0, "v_norm": v_norm}
        super().__init__(params, defaults, MOMENTUM_SGD if momentum else SGD, max_norm)

    def _settings(self, group: Group) -> Settings:
        return Settings(group["lr"], group["momentum"], 0.0, group["eps"])
