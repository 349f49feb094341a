"""How much of a network is in use: dormant units, and the rank of its features, on tensors alone.

Dimension key: B batch, U units of a layer, F features, R singular values.
"""

import torch
from torch import Tensor

from wnrl.instruments.formulas import check_rank

SRANK_DELTA = 0.01  # Kumar et al. 2021, section 3
DORMANT_TAUS = (0.0, 0.025, 0.1)  # Sokar et al. 2023: exactly zero, and two of their thresholds


def dormant_scores(mean_activations: Tensor) -> Tensor:
    """s_i = E|h_i| / mean_j E|h_j| of each unit of a layer; all 0 where no unit is active.

    One activation that is not finite leaves a NaN among them.

    Args:
        mean_activations: (U,) E|h_i|, over a batch and its positions.

    Returns:
        (U,), 1 on average.

    Source: Sokar et al. 2023, arXiv 2302.12902, definition 3.1.
    """
    check_rank("mean_activations", mean_activations, 1)
    layer_mean = mean_activations.mean()
    return torch.where(layer_mean != 0, mean_activations / layer_mean, 0.0)


def dormant_fraction(scores: Tensor, tau: float) -> Tensor:
    """() Share of units with s_i <= tau (Sokar et al. 2023, definition 3.1); NaN if any is."""
    check_rank("scores", scores, 1)
    return torch.where(scores.isnan().any(), torch.nan, (scores <= tau).float().mean())


def singular_values(features: Tensor) -> Tensor:
    """Of features (B, F), not centred: (min(B, F),), largest first.

    Of a network that has diverged they are NaN: the algorithm would raise, and end the run.
    """
    check_rank("features", features, 2)
    finite = features.isfinite().all()
    values: Tensor = torch.linalg.svdvals(torch.where(finite, features, 0.0).float())
    return torch.where(finite, values, torch.nan)


def srank(sigma: Tensor, delta: float = SRANK_DELTA) -> Tensor:
    """() The smallest k with sum_{i<=k} sigma_i >= (1 - delta) sum_i sigma_i; 0 if all are 0.

    Args:
        sigma: (R,) from `singular_values`.
        delta: the share that is left out.

    Source: Kumar et al. 2021, arXiv 2010.14498, section 3.
    """
    check_rank("sigma", sigma, 1)
    shares = sigma.double().cumsum(0)
    missing = (shares < (1 - delta) * shares[-1]).sum()
    return torch.where(shares[-1] > 0, missing + 1.0, shares[-1])  # 0, or NaN


def effective_rank(sigma: Tensor) -> Tensor:
    """() exp(H(p)) with p_i = sigma_i / sum_j sigma_j: equal values count fully; 0 if all are 0.

    Args:
        sigma: (R,) from `singular_values`.

    Source: Roy & Vetterli 2007, EUSIPCO, "The effective rank", definition 2.
    """
    check_rank("sigma", sigma, 1)
    total = sigma.sum()
    p = sigma / torch.where(total > 0, total, 1.0)
    entropy = -torch.xlogy(p, p).sum()
    return torch.where(total > 0, entropy.exp(), total)  # 0, or NaN
