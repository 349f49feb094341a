"""Update rules of optimizers as plain functions over lists of tensors, in ATen calls.

A rule adds its update to each target in place and updates the moments. It is independent of weight
normalization: targets are weight vectors, gains or plain parameters, and all tensors of a target
have one shape. `optimizer_update` has the same equations in Triton.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Settings(NamedTuple):
    """Numbers of a parameter group, which a schedule may change between steps."""

    lr: Any  # float, or a tensor () on the device
    first: float  # beta1, alpha of RMSprop, momentum of SGD
    second: float  # beta2
    eps: float
    max_v_norm: float = math.inf  # largest n = ||v||; 0 holds n where it started


Moments = Sequence[Sequence[Tensor]]  # one list per moment, one tensor per target
Update = Callable[
    [Settings, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor], Moments], None
]  # (settings, number of updates () including this one, targets, gradients, moments)


@dataclass(frozen=True)
class Rule:
    """One optimizer's equations: `update` in ATen, `kernel` the number of the Triton branch."""

    name: str
    moments: tuple[str, ...]  # names in the optimizer's state, as in torch
    kernel: int
    update: Update
    start: float = 0.0  # value of every moment before the first update


def _adam(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    # Kingma & Ba 2015, algorithm 1: x -= lr m_hat / (sqrt(s_hat) + eps)
    torch._fused_adam_(
        list(targets),
        list(gradients),
        list(moments[0]),
        list(moments[1]),
        [],
        list(updates),
        lr=settings.lr,
        beta1=settings.first,
        beta2=settings.second,
        weight_decay=0.0,
        eps=settings.eps,
        amsgrad=False,
        maximize=False,
    )


def _adamax(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    # Kingma & Ba 2015, algorithm 2; torch adds eps to each new gradient, inside the maximum.
    for t, target, d, mean, largest in zip(updates, targets, gradients, *moments, strict=True):
        mean.lerp_(d, 1 - settings.first)
        torch.maximum(largest.mul_(settings.second), d.abs().add_(settings.eps), out=largest)
        target.sub_((mean / largest).mul_(settings.lr / (1 - settings.first ** t.to(target))))


def _rmsprop(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    for target, d, square in zip(targets, gradients, *moments, strict=True):
        square.mul_(settings.first).addcmul_(d, d, value=1 - settings.first)
        target.addcdiv_(d, square.sqrt().add_(settings.eps), value=-settings.lr)


def _rmsprop_tf(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    # TensorFlow 1's, as in Stable-Baselines3's RMSpropTFLike: eps is inside the root.
    for target, d, square in zip(targets, gradients, *moments, strict=True):
        square.mul_(settings.first).addcmul_(d, d, value=1 - settings.first)
        target.addcdiv_(d, square.add(settings.eps).sqrt_(), value=-settings.lr)


def _centered_rmsprop(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    # Graves 2013 (arXiv 1308.0850), eq. 38 to 41, with eps outside the root as in torch.
    for target, d, square, mean in zip(targets, gradients, *moments, strict=True):
        square.mul_(settings.first).addcmul_(d, d, value=1 - settings.first)
        mean.lerp_(d, 1 - settings.first)
        # Rounding can make the variance of a steady gradient negative.
        root = square.addcmul(mean, mean, value=-1).clamp_(min=0).sqrt_()
        target.addcdiv_(d, root.add_(settings.eps), value=-settings.lr)


def _radam(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    # Liu et al. 2020 (arXiv 1908.03265), algorithm 2; the threshold 5 and eps are torch's.
    for t, target, d, mean, square in zip(updates, targets, gradients, *moments, strict=True):
        if t.device.type == "cpu":  # reading the number costs nothing
            _radam_by_adam(settings, t, target, d, mean, square)
            continue
        mean.lerp_(d, 1 - settings.first)
        square.mul_(settings.second).addcmul_(d, d, value=1 - settings.second)
        steps = t.double()
        decay = settings.second**steps
        longest = 2 / (1 - settings.second) - 1
        length = longest - 2 * steps * decay / (1 - decay)
        rectified = (length - 4) * (length - 2) * longest
        rectified = rectified / ((longest - 4) * (longest - 2) * length)
        root = (rectified.clamp(min=0) * (1 - decay)).sqrt()
        adaptive = torch.where(length > 5, root.to(d) / (square.sqrt() + settings.eps), 1.0)
        target.sub_(mean * adaptive * (settings.lr / (1 - settings.first**steps)).to(d))


def _radam_by_adam(
    settings: Settings, t: Tensor, target: Tensor, d: Tensor, mean: Tensor, square: Tensor
) -> None:
    """Step one target by RAdam in one pass: after the start it is Adam with another lr and eps."""
    lr, beta1, beta2, eps, _ = settings
    steps = float(t)
    decay = beta2**steps
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * steps * decay / (1 - decay)
    if length <= 5:
        mean.lerp_(d, 1 - beta1)
        square.mul_(beta2).addcmul_(d, d, value=1 - beta2)
        target.sub_(mean, alpha=lr / (1 - beta1**steps))
        return
    rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    # Adam adds eps to the root of the *corrected* second moment.
    equivalent = Settings(lr * math.sqrt(rectified), beta1, beta2, eps / math.sqrt(1 - decay))
    _adam(equivalent, [t], [target], [d], [[mean], [square]])


def _sgd(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    for target, d in zip(targets, gradients, strict=True):
        target.add_(d, alpha=-settings.lr)


def _momentum_sgd(
    settings: Settings,
    updates: Sequence[Tensor],
    targets: Sequence[Tensor],
    gradients: Sequence[Tensor],
    moments: Moments,
) -> None:
    for target, d, buffer in zip(targets, gradients, *moments, strict=True):
        target.add_(buffer.mul_(settings.first).add_(d), alpha=-settings.lr)


ADAM = Rule("adam", ("exp_avg", "exp_avg_sq"), 0, _adam)
ADAMAX = Rule("adamax", ("exp_avg", "exp_inf"), 1, _adamax)
RMSPROP = Rule("rmsprop", ("square_avg",), 2, _rmsprop)
CENTERED_RMSPROP = Rule("centered rmsprop", ("square_avg", "grad_avg"), 3, _centered_rmsprop)
RADAM = Rule("radam", ("exp_avg", "exp_avg_sq"), 4, _radam)
SGD = Rule("sgd", (), 5, _sgd)
MOMENTUM_SGD = Rule("momentum sgd", ("momentum_buffer",), 6, _momentum_sgd)
RMSPROP_TF = Rule("rmsprop-tf", ("square_avg",), 7, _rmsprop_tf, start=1.0)
