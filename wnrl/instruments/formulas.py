"""What a normalization does to a network, as mathematics on tensors: the instruments' formulas.

Nothing here reads a network or keeps anything: wnrl.instruments.weight_rows,
wnrl.instruments.activations and
wnrl.instruments do. How much of a network is in use is wnrl.instruments.capacity's.

Dimension key: B batch, U units of a layer, O output units (rows of a weight), K elements of a row,
A actions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

STATISTICS_EPS = 1e-5  # torch's batch normalization's own


class Moments(NamedTuple):
    """Mean and standard deviation of each unit, over a batch and its positions."""

    mean: Tensor  # (U,)
    std: Tensor  # (U,) of the population


def moments(values: Tensor) -> Moments:
    """Of samples (N, U). ValueError on another rank."""
    check_rank("values", values, 2)
    mean = values.mean(dim=0)
    return Moments(mean, (values - mean).square_().mean(dim=0).sqrt_())


def shift(first: Moments, now: Moments) -> Tensor:
    """() How far the units' means have gone, in units of the layer's spread at first.

    rms_i(mean_i(now) - mean_i(first)) / rms_i(std_i(first)), over the units i.
    """
    return _ratio(now.mean - first.mean, first.std)


def stretch(first: Moments, now: Moments) -> Tensor:
    """() The layer's spread in units of that at first: rms_i std_i(now) / rms_i std_i(first)."""
    return _ratio(now.std, first.std)


def row_angles(before: Tensor, after: Tensor) -> Tensor:
    """Angle in radians between each row before and after: 2 atan2(||a - b||, ||a + b||).

    a and b are the rows at unit length. Unlike arccos(a . b) this is exact for small angles. A row
    of zeros has no direction: its angle is 0.

    Args:
        before: (O, K).
        after: (O, K).

    Returns:
        (O,) in [0, pi].

    Raises:
        ValueError: on shapes that are not the same (O, K).

    Source: Kahan 2006, "How Futile are Mindless Assessments of Roundoff", section 12.
    """
    _check_same("before", before, "after", after)
    lengths = [torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (before, after)]
    a, b = (rows / length for rows, length in zip((before, after), lengths, strict=True))
    apart = torch.linalg.vector_norm(a - b, dim=1)
    together = torch.linalg.vector_norm(a.add_(b), dim=1)
    angles = 2 * torch.atan2(apart, together)
    # Not where it is > 0: rows of a network that has diverged have an angle of NaN.
    return torch.where((lengths[0] * lengths[1]).squeeze(1) == 0, 0.0, angles)


def row_cosines(gradient: Tensor, weight: Tensor) -> Tensor:
    """Cosine of each row's gradient and weight: the share that the projection of eq. 4 removes.

    Of the squared length of dL/dw the projection M_w = I - w w^T / ||w||^2 takes away the squared
    cosine. 0 where either row is zero.

    Args:
        gradient: (O, K) dL/dw.
        weight: (O, K) w.

    Returns:
        (O,) in [-1, 1].

    Raises:
        ValueError: on shapes that are not the same (O, K).

    Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.1.
    """
    _check_same("gradient", gradient, "weight", weight)
    lengths = torch.linalg.vector_norm(gradient, dim=1) * torch.linalg.vector_norm(weight, dim=1)
    inner = torch.linalg.vecdot(gradient, weight)
    return torch.where(lengths == 0, 0.0, (inner / lengths).clamp(-1.0, 1.0))


def relative_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """() ||dL/dw|| / ||w||: times eta, what a step of plain gradient descent would change.

    Args:
        gradient: (O, K).
        weight: (O, K).
    """
    _check_same("gradient", gradient, "weight", weight)
    return _ratio(gradient, weight)


def sign_flips(before: Tensor, after: Tensor) -> Tensor:
    """() How many gains (O,) changed their sign. ValueError on shapes that differ."""
    if before.shape != after.shape:
        raise ValueError(f"before is {tuple(before.shape)}, after is {tuple(after.shape)}")
    return (before.sign() * after.sign() < 0).sum()


def statistics_gap(
    batch_mean: Tensor,
    batch_var: Tensor,
    running_mean: Tensor,
    running_var: Tensor | None,
    eps: float = STATISTICS_EPS,
) -> Tensor:
    """() mean_i |batch mean_i - running mean_i| / std_i: how far apart learning and acting are.

    std is the running one; the batch's, for a layer that keeps none.

    Args:
        batch_mean: (U,).
        batch_var: (U,).
        running_mean: (U,).
        running_var: (U,) or None.
        eps: added to the variance.
    """
    variance = batch_var if running_var is None else running_var
    return ((batch_mean - running_mean).abs() / (variance + eps).sqrt()).mean()


def variance_ratio(batch_var: Tensor, running_var: Tensor, eps: float = STATISTICS_EPS) -> Tensor:
    """() mean_i (batch variance_i + eps) / (running variance_i + eps), variances (U,)."""
    return ((batch_var + eps) / (running_var + eps)).mean()


def policy_churn(before: Tensor, after: Tensor) -> Tensor:
    """() Share of states whose greedy action one update changed.

    Args:
        before: (B,) actions.
        after: (B,) actions.

    Raises:
        ValueError: on shapes that are not the same (B,).

    Source: Schaul et al. 2022, arXiv 2206.00730, section 2.
    """
    check_rank("before", before, 1)
    if before.shape != after.shape:
        raise ValueError(f"before is {tuple(before.shape)}, after is {tuple(after.shape)}")
    return (before != after).float().mean()


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """() ||a|| / ||b||, each over all elements."""
    ratio: Tensor = torch.linalg.vector_norm(a) / torch.linalg.vector_norm(b)
    return ratio


def check_rank(name: str, tensor: Tensor, rank: int) -> None:
    """ValueError unless the tensor has that many axes, and elements."""
    if tensor.ndim != rank or tensor.numel() == 0:
        raise ValueError(f"{name} is {tuple(tensor.shape)}: {rank} axes with elements are expected")


def _check_same(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    check_rank(name, tensor, 2)
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} is {tuple(tensor.shape)}, {other_name} is {tuple(other.shape)}: rows "
            "(O, K) of the same shape are expected"
        )
