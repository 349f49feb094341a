"""The instruments' formulas: pure functions on tensors.

They cover drift of activations, rotation of weights, gaps between statistics, churn of the policy,
dormant units and ranks of features. `weight_rows` and `activations` read the tensors from a
network, `instruments` combines them.

Dimension key: B batch, N samples, U units of a layer, O output units (rows of a weight), K elements
of a row, F features, R singular values.
"""

from typing import NamedTuple

import torch
from torch import Tensor

STATISTICS_EPS = 1e-5  # as in torch's batch normalization
SRANK_DELTA = 0.01  # Kumar et al. 2021, section 3
DORMANT_TAUS = (0.0, 0.025, 0.1)  # Sokar et al. 2023: exactly zero, and two of their thresholds


class Moments(NamedTuple):
    """Mean and standard deviation of each unit, over a batch and its positions."""

    mean: Tensor  # (U,)
    std: Tensor  # (U,) of the population


def moments(values: Tensor) -> Moments:
    """Return mean and standard deviation of samples (N, U); ValueError for another rank."""
    _check_rank("values", values, 2)
    mean = values.mean(dim=0)
    return Moments(mean, (values - mean).square_().mean(dim=0).sqrt_())


def shift(first: Moments, now: Moments) -> Tensor:
    """Return () how far the units' means have moved, relative to the layer's first spread.

    rms_i(mean_i(now) - mean_i(first)) / rms_i(std_i(first)), over the units i.
    """
    return _ratio(now.mean - first.mean, first.std)


def stretch(first: Moments, now: Moments) -> Tensor:
    """Return () the layer's spread relative to its first: rms_i std_i(now) / rms_i std_i(first)."""
    return _ratio(now.std, first.std)


def row_angles(before: Tensor, after: Tensor) -> Tensor:
    """Return the angle in radians between each row before and after.

        2 atan2(||a - b||, ||a + b||),    a and b the rows at unit length

    Unlike arccos(a . b) this is exact for small angles. A row of zeros has no direction: its angle
    is 0.

    Args:
        before: (O, K).
        after: (O, K).

    Returns:
        (O,) in [0, pi].

    Raises:
        ValueError: the shapes are not the same (O, K).

    Source: Kahan 2006, "How Futile are Mindless Assessments of Roundoff", section 12.
    """
    _check_same("before", before, "after", after)
    lengths = [torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (before, after)]
    a, b = (rows / length for rows, length in zip((before, after), lengths, strict=True))
    apart = torch.linalg.vector_norm(a - b, dim=1)
    together = torch.linalg.vector_norm(a.add_(b), dim=1)
    angles = 2 * torch.atan2(apart, together)
    # Tests == 0, not > 0, so that the rows of a diverged network have an angle of NaN.
    return torch.where((lengths[0] * lengths[1]).squeeze(1) == 0, 0.0, angles)


def row_cosines(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the cosine of each row's gradient and weight; 0 if either is a row of zeros.

    The projection M_w = I - w w^T / ||w||^2 of eq. 4 removes the squared cosine from the squared
    length of dL/dw.

    Args:
        gradient: (O, K) dL/dw.
        weight: (O, K) w.

    Returns:
        (O,) in [-1, 1].

    Raises:
        ValueError: the shapes are not the same (O, K).

    Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.1.
    """
    _check_same("gradient", gradient, "weight", weight)
    lengths = torch.linalg.vector_norm(gradient, dim=1) * torch.linalg.vector_norm(weight, dim=1)
    inner = torch.linalg.vecdot(gradient, weight)
    return torch.where(lengths == 0, 0.0, (inner / lengths).clamp(-1.0, 1.0))


def relative_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return () ||dL/dw|| / ||w||: times the learning rate, the relative step of gradient descent.

    Args:
        gradient: (O, K) dL/dw.
        weight: (O, K) w.
    """
    _check_same("gradient", gradient, "weight", weight)
    return _ratio(gradient, weight)


def sign_flips(before: Tensor, after: Tensor) -> Tensor:
    """Return () how many gains (O,) changed their sign; ValueError if the shapes differ."""
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
    """Return () mean_i |batch mean_i - running mean_i| / std_i, the gap of learning and acting.

    std is the running deviation, or the batch's if the layer has no running variance.

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
    """Return () mean_i (batch variance_i + eps) / (running variance_i + eps), variances (U,)."""
    return ((batch_var + eps) / (running_var + eps)).mean()


def policy_churn(before: Tensor, after: Tensor) -> Tensor:
    """Return the share () of states whose greedy action one update changed.

    Args:
        before: (B,) actions.
        after: (B,) actions.

    Raises:
        ValueError: the shapes are not the same (B,).

    Source: Schaul et al. 2022, arXiv 2206.00730, section 2.
    """
    _check_rank("before", before, 1)
    if before.shape != after.shape:
        raise ValueError(f"before is {tuple(before.shape)}, after is {tuple(after.shape)}")
    return (before != after).float().mean()


def dormant_scores(mean_activations: Tensor) -> Tensor:
    """Return s_i = E|h_i| / mean_j E|h_j| of each unit of a layer; all 0 if no unit is active.

    An activation that is not finite gives a NaN.

    Args:
        mean_activations: (U,) E|h_i| over a batch and its positions.

    Returns:
        (U,), 1 on average.

    Source: Sokar et al. 2023, arXiv 2302.12902, definition 3.1.
    """
    _check_rank("mean_activations", mean_activations, 1)
    layer_mean = mean_activations.mean()
    return torch.where(layer_mean != 0, mean_activations / layer_mean, 0.0)


def dormant_fraction(scores: Tensor, tau: float) -> Tensor:
    """Return () the share of units with s_i <= tau; NaN if any score is.

    Args:
        scores: (U,) s_i, from `dormant_scores`.
        tau: threshold.

    Source: Sokar et al. 2023, arXiv 2302.12902, definition 3.1.
    """
    _check_rank("scores", scores, 1)
    return torch.where(scores.isnan().any(), torch.nan, (scores <= tau).float().mean())


def singular_values(features: Tensor) -> Tensor:
    """Return the singular values of features (B, F), not centred: (min(B, F),), largest first.

    They are NaN for a diverged network, on which the algorithm would raise and end the run.
    """
    _check_rank("features", features, 2)
    finite = features.isfinite().all()
    values: Tensor = torch.linalg.svdvals(torch.where(finite, features, 0.0).float())
    return torch.where(finite, values, torch.nan)


def srank(sigma: Tensor, delta: float = SRANK_DELTA) -> Tensor:
    """Return () the smallest k with sum_{i<=k} sigma_i >= (1 - delta) sum_i sigma_i.

    It is 0 if all singular values are 0.

    Args:
        sigma: (R,) from `singular_values`.
        delta: share of the sum that is left out.

    Source: Kumar et al. 2021, arXiv 2010.14498, section 3.
    """
    _check_rank("sigma", sigma, 1)
    shares = sigma.double().cumsum(0)
    missing = (shares < (1 - delta) * shares[-1]).sum()
    return torch.where(shares[-1] > 0, missing + 1.0, shares[-1])  # 0, or NaN


def effective_rank(sigma: Tensor) -> Tensor:
    """Return () exp(H(p)) with p_i = sigma_i / sum_j sigma_j; 0 if all are 0.

    Args:
        sigma: (R,) from `singular_values`.

    Source: Roy & Vetterli 2007, EUSIPCO, "The effective rank", definition 2.
    """
    _check_rank("sigma", sigma, 1)
    total = sigma.sum()
    p = sigma / torch.where(total > 0, total, 1.0)
    entropy = -torch.xlogy(p, p).sum()
    return torch.where(total > 0, entropy.exp(), total)  # 0, or NaN


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return () ||a|| / ||b||, each over all elements."""
    ratio: Tensor = torch.linalg.vector_norm(a) / torch.linalg.vector_norm(b)
    return ratio


def _check_rank(name: str, tensor: Tensor, rank: int) -> None:
    """Raise a ValueError unless the tensor has `rank` axes and is not empty."""
    if tensor.ndim != rank or tensor.numel() == 0:
        raise ValueError(f"{name} is {tuple(tensor.shape)}: expected {rank} axes with elements")


def _check_same(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    _check_rank(name, tensor, 2)
    if tensor.shape != other.shape:
        raise ValueError(
            f"{name} is {tuple(tensor.shape)}, {other_name} is {tuple(other.shape)}: expected rows "
            "(O, K) of the same shape"
        )
