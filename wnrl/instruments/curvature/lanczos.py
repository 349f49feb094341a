"""The spectrum of a symmetric matrix that is known only by its products with vectors.

Lanczos 1950 with full reorthogonalization, and stochastic Lanczos quadrature for the share of the
spectrum that each eigenvalue represents (Golub & Meurant 2010; Ghorbani et al. 2019, arXiv
1901.10159).

Dimension key: D size of the matrix, K iterations.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]  # (D,) -> (D,)

# An eigenvalue of multiplicity 1 has a quadrature weight of chi-squared(1) / D: beyond this
# multiple of 1/D with probability 6e-5.
_SIMPLE = 16.0
_CONVERGED = 1e-3  # error of a Ritz value, relative to the largest, at which it counts as exact
_BREAKDOWN = 100.0  # multiples of the type's precision at which a new direction is noise


class Spectrum(NamedTuple):
    """Ritz values of a symmetric matrix, with the share of its D eigenvalues that each stands for.

    Ritz values lie inside the true spectrum: the largest is at most lambda_1, the smallest at least
    lambda_D. With K = D they are the eigenvalues.
    """

    values: Tensor  # (K,) float64, ascending; NaN if a product was not finite
    shares: Tensor  # (K,) float64, sum 1
    errors: Tensor  # (K,) float64: an eigenvalue is at most this far from the value
    size: int  # D

    @property
    def largest(self) -> float:
        """Largest Ritz value, a lower bound of lambda_1."""
        return float(self.values[-1])

    @property
    def smallest(self) -> float:
        """Smallest Ritz value, an upper bound of lambda_D."""
        return float(self.values[0])

    @property
    def mean_magnitude(self) -> float:
        """Estimated mean of |lambda_i| over all D eigenvalues, the size of the spectrum's bulk."""
        return float((self.shares * self.values.abs()).sum())

    @property
    def trace(self) -> float:
        """Estimated sum of all D eigenvalues."""
        return self.size * float((self.shares * self.values).sum())

    @property
    def condition(self) -> float:
        """Estimated max_i |lambda_i| / mean_i |lambda_i|; NaN for a matrix of zeros.

        It is 1 if all |lambda_i| are equal. The mean is at least the smallest, so it never exceeds
        the condition number max |lambda_i| / min |lambda_i|. A network's own condition number is
        no use: its matrices are singular, and so it is infinite.
        """
        mean = self.mean_magnitude
        return float(self.values.abs().max()) / mean if mean > 0 else math.nan

    def ratio(self, k: int) -> float:
        """Return lambda_1 / lambda_k; NaN if fewer than k Ritz values are positive."""
        if len(self.values) < k or not self.values[-k] > 0:
            return math.nan
        return float(self.values[-1] / self.values[-k])


@torch.no_grad()
def lanczos(product: Product, like: Tensor, steps: int, generator: torch.Generator) -> Spectrum:
    """Return the spectrum of a symmetric matrix (D, D).

    With a unit start q_1, and every r orthogonalized twice against all earlier q:

        r = A q_i - alpha_i q_i - beta_{i-1} q_{i-1},  alpha_i = q_i . A q_i,  beta_i = ||r||,
        q_{i+1} = r / beta_i

    The eigenvalues of the tridiagonal T are Ritz values, and the squares of its eigenvectors' first
    components their shares. A value that has converged with a share that fits multiplicity 1 gets
    its exact share, 1/D, and the others divide the rest. This removes the noise of the few large
    eigenvalues from means, like the deflation of Hutch++ (Meyer et al. 2021). Where the space is
    exhausted (beta = 0), a new random direction begins another block.

    Args:
        product: v (D,) -> A v (D,), in the type and on the device of `like`.
        like: (D,) any vector.
        steps: K, at most D are done.
        generator: draws the start, on the CPU: a direction that is uniform on the sphere.

    Raises:
        ValueError: `like` is not a vector with elements, or K < 1.
    """
    if like.ndim != 1 or like.numel() == 0 or steps < 1:
        raise ValueError(f"like is {tuple(like.shape)}, steps {steps}: expected (D,) and K >= 1")
    size, steps = like.numel(), min(steps, like.numel())
    basis = like.new_empty(steps, size)
    alphas: list[float] = []
    betas: list[float] = []
    direction = _unit(_random(like, generator))
    for step in range(steps):
        basis[step] = direction
        rest = product(direction)
        alphas.append(float(direction @ rest))
        if not math.isfinite(alphas[-1]):
            nan = torch.full((1,), math.nan, dtype=torch.float64)
            return Spectrum(nan, torch.ones_like(nan), nan, size)
        if step + 1 == steps:
            beta = float(torch.linalg.vector_norm(_orthogonal(rest, basis[: step + 1])))
            break
        rest = _orthogonal(rest, basis[: step + 1])
        beta = float(torch.linalg.vector_norm(rest))
        scale = max(*map(abs, alphas), *betas, 1e-300)
        if beta <= _BREAKDOWN * torch.finfo(like.dtype).eps * scale:
            beta = 0.0
            rest = _orthogonal(_random(like, generator), basis[: step + 1])
        betas.append(beta)
        direction = _unit(rest)
    return _spectrum(alphas, betas, 0.0 if steps == size else beta, size)


def _spectrum(alphas: list[float], betas: list[float], last: float, size: int) -> Spectrum:
    """Return the spectrum from T's diagonals and the norm of what the last step left."""
    tridiagonal = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    if betas:
        upper = torch.diag(torch.tensor(betas, dtype=torch.float64), 1)
        tridiagonal = tridiagonal + upper + upper.T
    values, vectors = torch.linalg.eigh(tridiagonal)
    errors = last * vectors[-1].abs()
    shares = vectors[0].square()
    if len(values) == size:
        return Spectrum(values, torch.full_like(values, 1 / size), errors, size)
    converged = errors <= _CONVERGED * values.abs().max()
    simple = converged & (shares <= _SIMPLE / size)
    left, divided = 1 - simple.sum() / size, shares[~simple].sum()
    if divided > 0:
        shares = torch.where(simple, 1 / size, shares * left / divided)
    return Spectrum(values, shares / shares.sum(), errors, size)


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw (D,) normal numbers."""
    return torch.randn(like.numel(), generator=generator).to(like)


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / torch.linalg.vector_norm(vector)
    return unit


def _orthogonal(vector: Tensor, basis: Tensor) -> Tensor:
    """Return (D,) without its part in the span of the orthonormal rows (k, D); twice is enough."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector
