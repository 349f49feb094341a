"""Measure the curvature and the gradient noise of a learning problem.

Dimension key: D elements of all coordinates, S small batches, O rows of a weight, K their elements.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from wnrl.instruments.curvature.coordinates import (
    Coordinates,
    Named,
    Vectors,
    flat,
    gains_and_vectors,
    weights,
)
from wnrl.instruments.curvature.gradient_noise import (
    Covariance,
    covariance_of,
    noise_scale,
    products_of,
    projected,
)
from wnrl.instruments.curvature.lanczos import Spectrum, lanczos
from wnrl.instruments.curvature.products import Products, gradient_at
from wnrl.instruments.weight_rows import layer_weights
from wnrl.kernels.row_layout import output_first
from wnrl.nn.norms.convert import fold_
from wnrl.rl.problem import Problem

Readings = dict[str, float]  # by "<quantity>/<where>"
RATIO_OF = 5  # lambda_1 / lambda_5
ALL = "all"
NETWORK = "network"  # a layer that is the whole network


@dataclass(frozen=True)
class Effort:
    """What a measurement costs: about 5 K + 2 evaluations of a second derivative."""

    iterations: int = 30  # K of Lanczos, for each matrix
    small_rows: int = 32  # rows of a small batch
    seed: int = 0  # of Lanczos's start and of the small batches

    def generator(self) -> torch.Generator:
        """Return a generator on the CPU."""
        return torch.Generator().manual_seed(self.seed)


def measure(network: nn.Module, problem: Problem, vectors: Vectors, effort: Effort) -> Readings:
    """Return everything that can be read; neither the network nor a generator changes.

    The weights are those that the layers compute with. Quantities, each with where it was read:

        hessian_*, gauss_newton_*   in `w` and in `gv`: largest, smallest, mean_magnitude,
                                    condition, top5_ratio (see `Spectrum`)
        adaptive_sharpness          in `w`: largest eigenvalue of T H T with T = diag(|w|)
        noise_scale, noise_trace, gradient_squared      by layer, and for `all`
        covariance_rank_w, covariance_rank_v, covariance_top_w, covariance_top_v,
        covariance_removed          by layer's weight, and for `all` of them

    Args:
        network: may have any normalization; it is copied.
        problem: what it learns.
        vectors: from `weight_vectors`; empty without weight normalization.
        effort: iterations and batch sizes.

    Raises:
        ValueError: the batch is too small for two parts of `small_rows`, or the loss calls the
            network several times.
    """
    plain = fold_(copy.deepcopy(network).requires_grad_())
    both = {"w": weights(plain), "gv": gains_and_vectors(plain, vectors)}
    readings: Readings = {}
    for where, coordinates in both.items():
        products = Products(plain, partial(_loss_of, problem), coordinates)
        spectrum = _spectrum_of(products.gradient, effort)
        readings |= _spectrum_readings("hessian", where, spectrum(products.hessian))
        readings |= _spectrum_readings("gauss_newton", where, spectrum(products.gauss_newton))
        if where == "w":
            sharpness = spectrum(_scaled(products.hessian, flat(coordinates.point).abs()))
            readings["adaptive_sharpness/w"] = sharpness.largest
    return readings | _noise_readings(plain, problem, vectors, both["w"], effort)


def _loss_of(problem: Problem, network: nn.Module) -> Tensor:
    return problem.loss(network, problem.inputs)


def _spectrum_of(like: Tensor, effort: Effort) -> Callable[[Callable[[Tensor], Tensor]], Spectrum]:
    """Return product -> spectrum; every matrix has the same start."""
    return lambda product: lanczos(product, like, effort.iterations, effort.generator())


def _scaled(product: Callable[[Tensor], Tensor], scale: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the products of T A T, T = diag(scale).

    With |w| as the scale, the largest eigenvalue of the Hessian is the adaptive sharpness of Kwon
    et al. 2021 (arXiv 2102.11600, section 3, elementwise). If the loss does not change under
    w -> c w (element by element), T H T does not either: H becomes H / (c c^T), and T becomes |c|
    T. So it ignores the length of rows under batch and layer normalization, of v, and factors
    moved from one ReLU layer to the next.
    """
    return lambda vector: scale * product(scale * vector)


def _spectrum_readings(matrix: str, where: str, spectrum: Spectrum) -> Readings:
    return {
        f"{matrix}_largest/{where}": spectrum.largest,
        f"{matrix}_smallest/{where}": spectrum.smallest,
        f"{matrix}_mean_magnitude/{where}": spectrum.mean_magnitude,
        f"{matrix}_condition/{where}": spectrum.condition,
        f"{matrix}_top{RATIO_OF}_ratio/{where}": spectrum.ratio(RATIO_OF),
    }


def _noise_readings(
    network: nn.Module, problem: Problem, vectors: Vectors, point: Coordinates, effort: Effort
) -> Readings:
    """Read noise scales and covariances in w from a large batch and its random parts."""
    parts = problem.chunks(effort.small_rows, effort.generator())
    whole = gradient_at(network, partial(_loss_of, problem), point)
    small = [gradient_at(network, partial(_loss_of, part), point) for part in parts]
    readings: Readings = {}
    for layer, names in {**_by_layer(whole), ALL: list(whole)}.items():
        squared = torch.stack([_squared(gradient, names) for gradient in small])
        noise = noise_scale(squared, _squared(whole, names), effort.small_rows, problem.rows)
        readings[f"noise_scale/{layer}"] = noise.scale
        readings[f"noise_trace/{layer}"] = noise.trace
        readings[f"gradient_squared/{layer}"] = noise.gradient
    return readings | _covariance_readings(network, small, vectors)


def _by_layer(named: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return the names of Parameters by the name of their module, where they have gradients."""
    layers: dict[str, list[str]] = {}
    for name in named:
        layers.setdefault(name.rpartition(".")[0] or NETWORK, []).append(name)
    return layers


def _squared(gradient: Named, names: list[str]) -> Tensor:
    return torch.stack([gradient[name].double().square().sum() for name in names]).sum()


def _covariance_readings(network: nn.Module, small: list[Named], vectors: Vectors) -> Readings:
    """Read the covariance of dL/dw and of dL/dv (eq. 4), per weight and over all weights."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    readings: Readings = {}
    totals = [torch.zeros(len(small), len(small), dtype=torch.float64) for _ in range(3)]
    for weight in layer_weights(network):
        axis = int(getattr(weight.layer, "transposed", False))
        rows = torch.stack(
            [output_first(g[names[id(weight.parameter)]], axis).flatten(1) for g in small]
        )  # (S, O, K)
        w = weight.rows()
        gain, norm = vectors.get(weight.name, (torch.ones(len(w)), torch.ones(len(w))))
        speed = torch.where(norm > 0, gain / norm, 1.0).to(w)
        across = projected(rows, w, torch.ones_like(speed))
        each = [rows, across, across * speed[:, None]]
        products = [products_of(x.flatten(1)).cpu() for x in each]
        totals = [total + product for total, product in zip(totals, products, strict=True)]
        readings |= _covariance_of_weight(weight.name or NETWORK, *map(covariance_of, products))
    return readings | _covariance_of_weight(ALL, *map(covariance_of, totals))


def _covariance_of_weight(
    layer: str, before: Covariance, across: Covariance, after: Covariance
) -> Readings:
    removed = 1 - across.trace / before.trace if before.trace else torch.nan
    return {
        f"covariance_rank_w/{layer}": before.rank,
        f"covariance_rank_v/{layer}": after.rank,
        f"covariance_top_w/{layer}": before.largest,
        f"covariance_top_v/{layer}": after.largest,
        f"covariance_removed/{layer}": removed,
    }
