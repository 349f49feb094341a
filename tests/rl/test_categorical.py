"""Distributions over atoms on hand numbers, and on those of their authors' code."""

import math

import pytest
import torch
from torch import Tensor

from wnrl.rl import losses
from wnrl.rl.categorical import C51, HLGauss, cross_entropy, expectation, hl_gauss, project
from wnrl.rl.value_losses import CategoricalLoss, ErrorLoss

EXACT = 1e-12  # float64, a few roundings


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=EXACT)


def test_the_expectation_is_over_the_atoms() -> None:
    logits = torch.stack([f64(0.0, math.log(3.0)), f64(1.0, 1.0)])[None]  # (1, 2, 2)
    assert_equal(expectation(logits, f64(-4.0, 4.0)), f64(2.0, 0.0)[None])
    with pytest.raises(ValueError, match=r"atoms are \(3,\) for logits \(1, 2, 2\)"):
        expectation(logits, f64(0.0, 1.0, 2.0))


def test_probability_moves_to_the_two_nearest_atoms() -> None:
    # 0.25 is a quarter of the way from 0 to 1; 1 stays; 7 and -3 go to the ends.
    points, probs = f64(0.25, 1.0, 7.0, -3.0)[None], f64(0.4, 0.3, 0.2, 0.1)[None]
    assert_equal(project(points, probs, f64(0.0, 1.0, 2.0)), f64(0.4, 0.4, 0.2)[None])


def test_a_projection_keeps_mass_and_inside_the_atoms_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.linspace(-3.0, 2.0, 11, dtype=torch.float64)
    points = torch.empty(50, 7, dtype=torch.float64).uniform_(-3.0, 2.0, generator=generator)
    probs = torch.rand(50, 7, generator=generator, dtype=torch.float64)
    projected = project(points, probs, atoms)
    assert bool((projected >= 0).all())
    assert_equal(projected.sum(1), probs.sum(1))
    assert_equal(projected @ atoms, (points * probs).sum(1))


def test_a_projection_is_that_of_rlax() -> None:
    # rlax 4c5d25b, categorical_l2_project(z_p, p, linspace(-2, 2, 9)), jax in float64, rounded.
    points, probs = f64(-3.0, -0.4, 0.25, 1.0, 2.9)[None], f64(0.1, 0.2, 0.3, 0.15, 0.25)[None]
    expected = f64(0.1, 0.0, 0.0, 0.16, 0.19, 0.15, 0.15, 0.0, 0.25)
    assert_equal(project(points, probs, torch.linspace(-2, 2, 9, dtype=torch.float64))[0], expected)


def test_a_histogram_is_that_of_the_papers_code() -> None:
    # hl_gauss_transform(-2, 2, 5, sigma=0.6) of the appendix of 2403.03950, jax in float64.
    edges = torch.linspace(-2.0, 2.0, 6, dtype=torch.float64)
    expected = torch.stack(
        [
            f64(0.004862352661, 0.101062917433, 0.428854113544, 0.389681696949, 0.075538919413),
            f64(2.10378e-07, 0.000111430379, 0.010855937136, 0.203931713706, 0.785100708401),
        ]
    )
    assert_equal(hl_gauss(f64(0.35, 1.9), edges, 0.6), expected)


def test_a_histogram_is_symmetric_and_what_is_beyond_the_edges_is_moved_to_them() -> None:
    edges = f64(-1.0, 0.0, 1.0)
    assert_equal(hl_gauss(f64(0.0), edges, 0.3), f64(0.5, 0.5)[None])
    far, edge = hl_gauss(f64(1e6, -1e6), edges, 0.3), hl_gauss(f64(1.0, -1.0), edges, 0.3)
    assert_equal(far, edge)
    assert_equal(far.sum(1), f64(1.0, 1.0))


def test_a_histogram_inside_the_edges_has_nearly_its_targets_mean() -> None:
    targets = HLGauss(torch.linspace(-10.0, 10.0, 52, dtype=torch.float64), 0.75 * 20 / 51)
    values = torch.linspace(-8.0, 8.0, 33, dtype=torch.float64)
    assert (targets.of_values(values) @ targets.atoms - values).abs().max() < 1e-4


def test_cross_entropy_and_its_gradient() -> None:
    logits, probs = f64(0.0, math.log(3.0))[None].requires_grad_(), f64(0.5, 0.5)[None]
    loss = cross_entropy(logits, probs)
    assert_equal(loss.detach(), f64(0.5 * math.log(4.0) + 0.5 * math.log(4 / 3)))
    loss.sum().backward()
    assert_equal(logits.grad[0], f64(0.25 - 0.5, 0.75 - 0.5))  # softmax - p
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, target), many)


# Two actions with distributions over the atoms 0, 1, 2; at s_t the first has the value 1.5, the
# second 1.
ATOMS = f64(0.0, 1.0, 2.0)
Q_T = torch.stack([f64(1e-9, 1.0, 1.0), f64(1.0, 1.0, 1.0)]).log()[None]
Q_TM1 = torch.zeros(1, 2, 3, dtype=torch.float64)
ACTION = torch.tensor([1])


@pytest.mark.parametrize(
    ("select_second", "target", "value"),
    # 0.25 + 0.5 z: points at 0.25, 0.75, 1.25. Greedy: 0.75 and 1.25 with a half each, their shares
    # 1/8, 3/8 + 3/8 and 1/8. The second action: a third each, their shares 3/4 + 1/4,
    # 1/4 + 3/4 + 3/4 and 1/4.
    [(False, (0.125, 0.75, 0.125), 1.0), (True, (1 / 3, 7 / 12, 1 / 12), 0.75)],
)
def test_a_c51_loss_projects_the_target_networks_distribution_of_the_selected_action(
    select_second: bool, target: tuple[float, ...], value: float
) -> None:
    selector = Q_T.flip(1) if select_second else None
    q = Q_TM1.clone().requires_grad_()
    loss, td, _ = CategoricalLoss(C51(ATOMS)).bootstrapped(
        q, ACTION, f64(0.25), f64(0.5), Q_T, selector
    )
    assert loss.item() == pytest.approx(math.log(3.0))  # of a uniform prediction
    assert td.item() == pytest.approx(value - 1.0, abs=1e-8)
    loss.sum().backward()
    assert not q.grad[0, 0].any()  # the other action
    torch.testing.assert_close(q.grad[0, 1], 1 / 3 - f64(*target), rtol=0, atol=1e-8)


def test_targets_beyond_the_atoms_are_counted() -> None:
    found = CategoricalLoss(C51(ATOMS)).towards(
        Q_TM1.expand(5, 2, 3), ACTION.expand(5), f64(-0.1, 0.0, 1.0, 2.0, 2.1)
    )
    assert found.report(Tensor.mean)["train/targets_outside"].item() == 0.4
    plain = ErrorLoss(losses.squared).towards(Q_TM1[:, :, 0], ACTION, f64(2.0))
    assert plain.report(Tensor.mean) == {"train/loss": 2.0, "train/td_error_abs": 2.0}


def test_an_hl_gauss_loss_has_a_histogram_around_the_targets_mean() -> None:
    targets = HLGauss(f64(-0.5, 0.5, 1.5, 2.5), 0.75)  # the same atoms
    assert_equal(targets.atoms, ATOMS)
    q = Q_TM1.clone().requires_grad_()
    loss, td, _ = CategoricalLoss(targets).bootstrapped(q, ACTION, f64(0.25), f64(0.5), Q_T, None)
    assert td.item() == pytest.approx(0.0, abs=1e-8)  # 0.25 + 0.5 * 1.5, against 1
    loss.sum().backward()
    expected = 1 / 3 - hl_gauss(f64(1.0), targets.edges, 0.75)[0]
    torch.testing.assert_close(q.grad[0, 1], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("targets", [C51(ATOMS), HLGauss(f64(-0.5, 0.5, 1.5, 2.5), 0.75)])
def test_a_number_is_met_as_a_distribution_without_spread(targets: C51 | HLGauss) -> None:
    loss = CategoricalLoss(targets)
    point = Q_T.new_tensor([[[-50.0, 0.0, -50.0]] * 2])  # the value 1 for certain
    met = loss.towards(Q_TM1, ACTION, f64(0.75))
    same = loss.bootstrapped(Q_TM1, ACTION, f64(0.25), f64(0.5), point, None)
    assert_equal(met.loss, same.loss)
    assert_equal(met.td, same.td)
    uneven = f64(0.0, math.log(3.0), -80.0).expand(1, 2, 3)  # of value 0.75
    assert_equal(loss.towards(uneven, ACTION, f64(0.5)).td, f64(-0.25))
    with pytest.raises(ValueError, match=r"logits are \(1, 3\)"):
        loss.towards(Q_TM1[:, 0], ACTION, f64(0.75))


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match=r"points are \(3,\)"):
        project(ATOMS, ATOMS, ATOMS)
    with pytest.raises(ValueError, match=r"target is \(1, 3\)"):
        hl_gauss(ATOMS[None], ATOMS, 1.0)
    with pytest.raises(ValueError, match=r"sigma 0"):
        hl_gauss(ATOMS, ATOMS, 0.0)
    with pytest.raises(ValueError, match=r"logits are \(1, 3\), probs \(3,\)"):
        cross_entropy(ATOMS[None], ATOMS)
