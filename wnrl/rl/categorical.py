"""Categorical values: distributions over fixed atoms in place of numbers, and their targets.

A network gives logits (..., Z); its value is the expectation over the atoms. Targets are
distributions over the same atoms, and the loss is the cross-entropy.

    c51       the distribution of r + discount z, moved to the nearest atoms (Bellemare et al. 2017)
    hl-gauss  a Gaussian around the number r + discount E[z], as a histogram (Imani & White 2018;
              for values Farebrother et al. 2024, arXiv 2403.03950)

Dimension key: B batch, Z atoms, K points of a distribution.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wnrl.rl.returns import td_target


def expectation(logits: Tensor, atoms: Tensor) -> Tensor:
    """Return the values (...) of logits (..., Z): sum_i softmax(logits)_i z_i.

    Raises:
        ValueError: `atoms` is not (Z,).
    """
    if atoms.ndim != 1 or logits.shape[-1:] != atoms.shape:
        raise ValueError(
            f"atoms are {tuple(atoms.shape)} for logits {tuple(logits.shape)}: expected (Z,) and "
            "(..., Z)"
        )
    return logits.softmax(dim=-1) @ atoms


def project(points: Tensor, probs: Tensor, atoms: Tensor) -> Tensor:
    """Move a distribution over any points to evenly spaced atoms; return probabilities (B, Z).

        m_i = sum_k p_k [1 - |clip(x_k, z_1, z_Z) - z_i| / (z_2 - z_1)] clipped to [0, 1]

    Each point's probability goes to its two neighbours, so that mass is kept, and inside the atoms'
    range the mean too.

    Args:
        points: (B, K) x.
        probs: (B, K) p.
        atoms: (Z,) z, rising, evenly spaced, Z at least 2.

    Raises:
        ValueError: a shape differs from the above.

    Source: Bellemare, Dabney & Munos 2017 (1707.06887), equation 7.
    """
    if points.ndim != 2 or points.shape != probs.shape or atoms.ndim != 1 or len(atoms) < 2:
        raise ValueError(
            f"points are {tuple(points.shape)}, probs {tuple(probs.shape)}, atoms "
            f"{tuple(atoms.shape)}: expected the same (B, K), and (Z,) with Z >= 2"
        )
    inside = points.clamp(atoms[0], atoms[-1])[:, None]  # (B, K) -> (B, 1, K)
    distance = (inside - atoms[:, None]).abs() / (atoms[1] - atoms[0])  # -> (B, Z, K)
    return ((1 - distance).clamp(min=0) * probs[:, None]).sum(dim=2)  # -> (B, Z)


def hl_gauss(target: Tensor, edges: Tensor, sigma: float) -> Tensor:
    """Return the probabilities (B, Z) of the bins of a histogram under N(target, sigma^2).

        p_i = (F(e_{i+1}) - F(e_i)) / (F(e_{Z+1}) - F(e_1))
        F(e) = erf((e - target) / (sqrt(2) sigma))

    A target beyond the edges is moved to the nearest one; the paper's code divides by zero there.

    Args:
        target: (B,) numbers.
        edges: (Z + 1,) of the bins, rising.
        sigma: standard deviation, above 0.

    Raises:
        ValueError: a shape differs from the above, or sigma is not above 0.

    Source: Farebrother et al. 2024 (2403.03950), section 3.1 and appendix A; Imani & White 2018.
    """
    if target.ndim != 1 or edges.ndim != 1 or len(edges) < 2 or not sigma > 0:
        raise ValueError(
            f"target is {tuple(target.shape)}, edges {tuple(edges.shape)}, sigma {sigma}: expected "
            "(B,), (Z + 1,) and a number above 0"
        )
    inside = target.clamp(edges[0], edges[-1])[:, None]
    below = torch.erf((edges - inside) / (math.sqrt(2) * sigma))  # (B, Z + 1)
    return below.diff(dim=1) / (below[:, -1:] - below[:, :1])


def cross_entropy(logits: Tensor, probs: Tensor) -> Tensor:
    """Return - sum_i p_i log softmax(logits)_i for logits and probabilities (B, Z): (B,).

    Raises:
        ValueError: the shapes are not the same (B, Z).
    """
    if logits.ndim != 2 or logits.shape != probs.shape:
        raise ValueError(
            f"logits are {tuple(logits.shape)}, probs {tuple(probs.shape)}: expected the same "
            "(B, Z)"
        )
    return -(probs * logits.log_softmax(dim=1)).sum(dim=1)


class Targets(Protocol):
    """How a value becomes a distribution over atoms."""

    @property
    def atoms(self) -> Tensor:
        """The value of each logit, (Z,), rising."""
        ...

    def of_values(self, target: Tensor) -> Tensor:
        """Return distributions (B, Z) of numbers (B,)."""
        ...

    def bootstrapped(self, r_t: Tensor, discount_t: Tensor, probs_t: Tensor) -> Tensor:
        """Return distributions (B, Z) of r_t + discount_t z for z from probs_t (B, Z)."""
        ...


@dataclass(frozen=True)
class C51:
    """Projected distributions over atoms (Z,); a number is a distribution of one point."""

    atoms: Tensor

    def of_values(self, target: Tensor) -> Tensor:
        """Return the two neighbours' shares of each number (B,): (B, Z)."""
        return project(target[:, None], torch.ones_like(target)[:, None], self.atoms)

    def bootstrapped(self, r_t: Tensor, discount_t: Tensor, probs_t: Tensor) -> Tensor:
        """Return the projection of r_t + discount_t z, (B, Z)."""
        points = r_t[:, None] + discount_t[:, None] * self.atoms  # (B, Z)
        return project(points, probs_t, self.atoms)


@dataclass(frozen=True)
class HLGauss:
    """Histograms between edges (Z + 1,); the atoms are the bins' centres."""

    edges: Tensor
    sigma: float

    @property
    def atoms(self) -> Tensor:
        """The centres of the bins (Z,)."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def of_values(self, target: Tensor) -> Tensor:
        """Return a Gaussian's histogram around each number (B,): (B, Z)."""
        return hl_gauss(target, self.edges, self.sigma)

    def bootstrapped(self, r_t: Tensor, discount_t: Tensor, probs_t: Tensor) -> Tensor:
        """Return a Gaussian's histogram around the number r_t + discount_t E[z], (B, Z)."""
        return self.of_values(td_target(r_t, discount_t, probs_t @ self.atoms))


MakeTargets = Callable[[int, float, float, float], Targets]  # (Z, v_min, v_max, sigma ratio)


def _c51(atoms: int, v_min: float, v_max: float, sigma_ratio: float) -> Targets:
    return C51(torch.linspace(v_min, v_max, atoms))


def _hl_gauss(atoms: int, v_min: float, v_max: float, sigma_ratio: float) -> Targets:
    return HLGauss(torch.linspace(v_min, v_max, atoms + 1), sigma_ratio * (v_max - v_min) / atoms)


# On torch's default device.
TARGETS: Mapping[str, MakeTargets] = {"hl-gauss": _hl_gauss, "c51": _c51}
