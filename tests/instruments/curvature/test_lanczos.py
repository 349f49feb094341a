"""Spectra of matrices that are known, to 1e-6 and better."""

import math

import pytest
import torch
from torch import Tensor

from wnrl.instruments.curvature.lanczos import Spectrum, lanczos


def spectrum(matrix: Tensor, steps: int, seed: int = 0) -> Spectrum:
    """The spectrum from products with a matrix."""
    return lanczos(lambda v: matrix @ v, matrix[0], steps, torch.Generator().manual_seed(seed))


def rotated(eigenvalues: list[float], seed: int = 3) -> Tensor:
    """A dense symmetric matrix with these eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    noise = torch.randn(size, size, generator=generator, dtype=torch.float64)
    basis, _ = torch.linalg.qr(noise)
    return basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T


def test_as_many_steps_as_dimensions_find_every_eigenvalue() -> None:
    found = spectrum(rotated([-4.0, 0.5, 1.0, 2.0, 9.0]), 5)
    assert found.values.tolist() == pytest.approx([-4.0, 0.5, 1.0, 2.0, 9.0], abs=1e-9)
    assert found.shares.tolist() == pytest.approx([0.2] * 5)
    assert found.trace == pytest.approx(8.5, abs=1e-9)


def test_repeated_eigenvalues_are_found_as_often_as_they_are() -> None:
    found = spectrum(rotated([0.0, 0.0, 0.0, 3.0, 3.0, 7.0]), 6)
    assert found.values.tolist() == pytest.approx([0.0, 0.0, 0.0, 3.0, 3.0, 7.0], abs=1e-9)
    assert found.mean_magnitude == pytest.approx(13 / 6, abs=1e-9)


def test_the_condition_is_the_largest_magnitude_over_the_mean_magnitude() -> None:
    found = spectrum(rotated([1.0, 2.0, 3.0, 6.0]), 4)
    assert found.condition == pytest.approx(6 / 3, abs=1e-9)
    assert found.ratio(2) == pytest.approx(2.0, abs=1e-9)
    assert found.ratio(4) == pytest.approx(6.0, abs=1e-9)
    indefinite = spectrum(rotated([-4.0, 1.0, 1.0]), 3)
    assert indefinite.condition == pytest.approx(4 / 2, abs=1e-9)
    assert math.isnan(indefinite.ratio(3))
    assert math.isnan(indefinite.ratio(4))
    assert spectrum(5 * torch.eye(4, dtype=torch.float64), 4).condition == pytest.approx(1.0)
    assert math.isnan(spectrum(torch.zeros(3, 3, dtype=torch.float64), 3).condition)


def test_a_few_steps_give_exact_means_of_outliers_over_a_flat_bulk() -> None:
    diagonal = torch.ones(2_000, dtype=torch.float64)
    diagonal[:2] = torch.tensor([100.0, -50.0])
    found = lanczos(lambda v: diagonal * v, diagonal, 12, torch.Generator().manual_seed(0))
    assert found.largest == pytest.approx(100.0, abs=1e-9)
    assert found.smallest == pytest.approx(-50.0, abs=1e-9)
    assert found.trace == pytest.approx(50 + 1_998, rel=1e-6)
    assert found.mean_magnitude == pytest.approx((150 + 1_998) / 2_000, rel=1e-6)


def test_a_spread_bulk_is_estimated_and_ritz_values_stay_inside_it() -> None:
    diagonal = torch.cat([torch.linspace(0, 1, 3_000), torch.tensor([20.0])]).double()
    found = lanczos(lambda v: diagonal * v, diagonal, 20, torch.Generator().manual_seed(0))
    assert found.mean_magnitude == pytest.approx(float(diagonal.mean()), rel=0.05)
    assert found.largest == pytest.approx(20.0, abs=1e-9)
    assert found.smallest >= 0
    assert float(found.shares.sum()) == pytest.approx(1.0)


def test_errors_bound_the_distance_to_an_eigenvalue() -> None:
    eigenvalues = [0.1 * k for k in range(40)]
    found = spectrum(rotated(eigenvalues), 8)
    for value, error in zip(found.values.tolist(), found.errors.tolist(), strict=True):
        nearest = min(abs(value - eigenvalue) for eigenvalue in eigenvalues)
        assert nearest <= error + 1e-9
    assert float(found.errors.max()) > 1e-3


def test_a_product_that_is_not_finite_gives_nan() -> None:
    found = lanczos(lambda v: v * math.nan, torch.zeros(3), 3, torch.Generator())
    assert math.isnan(found.largest)
    assert math.isnan(found.condition)


def test_no_steps_or_no_vector_are_refused() -> None:
    with pytest.raises(ValueError, match=r"like is \(2, 2\)"):
        lanczos(lambda v: v, torch.zeros(2, 2), 3, torch.Generator())
    with pytest.raises(ValueError, match="steps 0"):
        lanczos(lambda v: v, torch.zeros(2), 0, torch.Generator())
