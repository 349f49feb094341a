"""The noise of minibatch gradients: its scale, and its covariance before and after eq. 4.

Dimension key: b and B rows of a small and a large batch, S small batches, O rows of a weight, K
elements of a row.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class NoiseScale(NamedTuple):
    """Unbiased estimates from the squared norms of gradients at two batch sizes."""

    gradient: float  # |G|^2 of the true gradient; may be negative by chance
    trace: float  # tr(Sigma) of one row's gradient

    @property
    def scale(self) -> float:
        """B_simple = tr(Sigma) / |G|^2 in rows (eq. 2.9); infinite where |G|^2 is not above 0."""
        return self.trace / self.gradient if self.gradient > 0 else torch.inf


def noise_scale(
    small_squared: Tensor, big_squared: Tensor, small_rows: int, big_rows: int
) -> NoiseScale:
    """Return the gradient noise scale's parts.

        |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)
        tr(Sigma) = (|G_b|^2 - |G_B|^2) / (1/b - 1/B)

    Args:
        small_squared: (S,) |G_b|^2 of each small batch.
        big_squared: () |G_B|^2.
        small_rows: b.
        big_rows: B > b.

    Raises:
        ValueError: b is not below B, or wrong ranks.

    Source: McCandlish et al. 2018, arXiv 1812.06162, appendix A.1, equations A.2 and A.3.
    """
    if not 0 < small_rows < big_rows or small_squared.ndim != 1 or big_squared.ndim != 0:
        raise ValueError(
            f"batches of {small_rows} and {big_rows} rows, squared norms "
            f"{tuple(small_squared.shape)} and {tuple(big_squared.shape)}: expected b < B, (S,), ()"
        )
    small, big = float(small_squared.double().mean()), float(big_squared.double())
    gradient = (big_rows * big - small_rows * small) / (big_rows - small_rows)
    trace = (small - big) / (1 / small_rows - 1 / big_rows)
    return NoiseScale(gradient, trace)


def projected(gradient: Tensor, w: Tensor, speed: Tensor) -> Tensor:
    """Return dL/dv of rows: the gradient's part across w, scaled by g / ||v||.

        dL/dv = (g / ||v||) M_w dL/dw,   M_w = I - w w^T / ||w||^2

    A row of zeros has no direction, and its gradient is only scaled.

    Args:
        gradient: (..., O, K) dL/dw.
        w: (O, K).
        speed: (O,) g / ||v||.

    Source: Salimans & Kingma 2016, equation 4.
    """
    squared = w.square().sum(dim=1, keepdim=True)  # (O, 1)
    along = (gradient * w).sum(dim=-1, keepdim=True) / torch.where(squared > 0, squared, 1.0)
    return (gradient - along * w) * speed[:, None]


class Covariance(NamedTuple):
    """The covariance C of S gradients, by what can be said of it without writing it down."""

    trace: float
    largest: float  # its largest eigenvalue
    rank: (
        float  # tr(C)^2 / tr(C^2): D if C is a multiple of the identity, 1 if it has one direction
    )


def products_of(gradients: Tensor) -> Tensor:
    """Return the products (S, S) float64 of centred gradients (S, D), divided by S - 1.

    They have the nonzero eigenvalues of the sample covariance (D, D). Of several independent parts
    of D, the products add up.

    Raises:
        ValueError: fewer than 2 gradients, or another rank.
    """
    if gradients.ndim != 2 or len(gradients) < 2:
        raise ValueError(f"gradients are {tuple(gradients.shape)}: expected (S, D) with S >= 2")
    centred = gradients - gradients.mean(dim=0)
    return (centred @ centred.T).double() / (len(gradients) - 1)


def covariance_of(products: Tensor) -> Covariance:
    """Return what the products (S, S) of gradients tell of their covariance; NaN if not finite.

    S samples span S - 1 dimensions, so `rank` is at most that. It is NaN if all are equal.
    """
    if not bool(products.isfinite().all()):
        return Covariance(torch.nan, torch.nan, torch.nan)
    trace = float(products.trace())
    squared = float(products.square().sum())
    largest = float(torch.linalg.eigvalsh(products)[-1])
    return Covariance(trace, largest, trace**2 / squared if squared > 0 else torch.nan)
