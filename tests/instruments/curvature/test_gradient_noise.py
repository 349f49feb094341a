"""Noise scales and covariances against hand numbers and the known covariance of a linear model."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from wnrl.instruments.curvature.gradient_noise import (
    covariance_of,
    noise_scale,
    products_of,
    projected,
)
from wnrl.kernels import reference


def squared_norms(gradients: Tensor, groups: list[tuple[int, ...]]) -> Tensor:
    """The squared norms of the mean gradients of some groups of rows."""
    return torch.stack([gradients[list(group)].mean(dim=0).square().sum() for group in groups])


def test_two_gradients_by_hand() -> None:
    # Gradients 1 and 3: mean square 5 with one row, 4 with both.
    noise = noise_scale(torch.tensor([1.0, 9.0]), torch.tensor(4.0), 1, 2)
    assert noise.gradient == pytest.approx(3.0)  # (2 * 4 - 1 * 5) / (2 - 1)
    assert noise.trace == pytest.approx(2.0)  # (5 - 4) / (1 - 1/2), the sample variance
    assert noise.scale == pytest.approx(2 / 3)


def test_of_single_rows_the_trace_is_that_of_the_sample_covariance() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    gradients = 3.0 * x + 1.0  # of the linear model L = (3 x + 1) . w: covariance 9 cov(x)
    noise = noise_scale(gradients.square().sum(dim=1), gradients.mean(dim=0).square().sum(), 1, 50)
    assert noise.trace == pytest.approx(9 * float(torch.cov(x.T).trace()), rel=1e-9)
    mean_squared = float(gradients.mean(dim=0).square().sum())
    assert noise.gradient == pytest.approx(mean_squared - noise.trace / 50, rel=1e-9)


def test_over_all_batches_of_two_the_estimate_is_that_of_single_rows() -> None:
    gradients = torch.tensor([[1.0, 0.0], [2.0, 5.0], [-1.0, 3.0], [4.0, 1.0]]).double()
    whole = gradients.mean(dim=0).square().sum()
    single = noise_scale(gradients.square().sum(dim=1), whole, 1, 4)
    pairs = list(itertools.combinations(range(4), 2))
    pair = noise_scale(squared_norms(gradients, pairs), whole, 2, 4)
    assert pair.trace == pytest.approx(single.trace, rel=1e-9)
    assert pair.gradient == pytest.approx(single.gradient, rel=1e-9)


def test_a_gradient_that_noise_hides_has_an_infinite_scale() -> None:
    assert noise_scale(torch.tensor([4.0, 4.0]), torch.tensor(0.0), 1, 2).scale == math.inf


def test_batches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="batches of 4 and 4 rows"):
        noise_scale(torch.zeros(2), torch.tensor(0.0), 4, 4)
    with pytest.raises(ValueError, match=r"squared norms \(\) and \(\)"):
        noise_scale(torch.tensor(0.0), torch.tensor(0.0), 1, 4)


def test_the_projection_is_the_gradient_of_v() -> None:
    generator = torch.Generator().manual_seed(5)
    gradient, v = (torch.randn(3, 4, generator=generator).double() for _ in range(2))
    g = torch.tensor([[2.0], [-0.5], [1.0]]).double()
    w = reference.effective_weight(v, g)
    speed = g[:, 0] / torch.linalg.vector_norm(v, dim=1)
    dv, _ = reference.gradients(gradient, v, g)  # equation 3
    torch.testing.assert_close(projected(gradient, w, speed), dv, rtol=1e-6, atol=1e-9)


def test_the_covariance_of_dv_is_the_projected_and_scaled_one() -> None:
    generator = torch.Generator().manual_seed(6)
    gradients = torch.randn(400, 1, 3, generator=generator).double() * torch.tensor([3.0, 1, 2])
    w, speed = torch.tensor([[2.0, 0.0, 0.0]]).double(), torch.tensor([0.5]).double()
    after = covariance_of(products_of(projected(gradients, w, speed).flatten(1)))
    covariance = torch.cov(gradients[:, 0].T)
    keep = torch.diag(torch.tensor([0.0, 1.0, 1.0])).double()  # M_w
    eigenvalues = torch.linalg.eigvalsh(0.25 * keep @ covariance @ keep)
    assert after.trace == pytest.approx(float(eigenvalues.sum()), rel=1e-9)
    assert after.largest == pytest.approx(float(eigenvalues[-1]), rel=1e-9)
    assert after.rank == pytest.approx(
        float(eigenvalues.sum() ** 2 / eigenvalues.square().sum()), rel=1e-9
    )


def test_rank_counts_the_directions() -> None:
    four = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert covariance_of(products_of(four)).rank == pytest.approx(2.0)
    assert covariance_of(products_of(four * torch.tensor([1.0, 0.0]))).rank == pytest.approx(1.0)
    assert math.isnan(covariance_of(products_of(torch.ones(3, 2))).rank)


def test_products_of_parts_add_up() -> None:
    gradients = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).double()
    both = products_of(gradients[:, :3]) + products_of(gradients[:, 3:])
    torch.testing.assert_close(both, products_of(gradients))


def test_gradients_that_are_not_finite_give_nan() -> None:
    assert math.isnan(covariance_of(products_of(torch.tensor([[1.0], [math.inf]]))).trace)


def test_one_gradient_has_no_covariance() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        products_of(torch.ones(1, 2))
