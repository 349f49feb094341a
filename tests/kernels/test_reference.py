"""The oracle itself: hand numbers, the paper's equations, torch's own op and zero rows."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wnrl.kernels.reference import decompose, effective_weight, gradients, row_norm

ROUNDING_64 = 1e-12  # float64 sums of tens of terms
HALF_STEP = {torch.float16: 1e-3, torch.bfloat16: 8e-3}  # one rounding at that precision


def rows(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    v, dw = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2))
    gain_shape = (shape[0],) + (1,) * (len(shape) - 1)
    return v, torch.randn(gain_shape, dtype=torch.float64, generator=generator), dw


def test_hand_numbers_of_equations_2_and_3() -> None:
    v, g = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[10.0], [-1.0]])
    assert torch.equal(row_norm(v), torch.tensor([[5.0], [2.0]]))
    assert torch.equal(effective_weight(v, g), torch.tensor([[6.0, 8.0], [0.0, -1.0]]))
    dv, dg = gradients(torch.tensor([[5.0, 0.0], [1.0, 1.0]]), v, g)
    # dg = 15 / 5; dv = 2 (5, 0) - (10 * 3 / 25) (3, 4). Second row: dg = 2 / 2; dv = -(1, 0) / 2.
    assert torch.allclose(dg, torch.tensor([[3.0], [1.0]]))
    assert torch.allclose(dv, torch.tensor([[6.4, -4.8], [-0.5, 0.0]]))


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 3, 2, 5)])
def test_gradients_equal_autograd_through_torchs_own_weight_norm(shape: tuple[int, ...]) -> None:
    v, g, dw = rows(0, *shape)
    v.requires_grad_()
    g.requires_grad_()
    w = torch._weight_norm(v, g, 0)
    expected = torch.autograd.grad(w, (v, g), dw)
    assert torch.allclose(effective_weight(v, g), w, rtol=ROUNDING_64)
    for own, theirs in zip(gradients(dw, v.detach(), g.detach()), expected, strict=True):
        assert torch.allclose(own, theirs, rtol=ROUNDING_64, atol=ROUNDING_64)
    through_own = torch.autograd.grad(effective_weight(v, g), (v, g), dw)
    for own, theirs in zip(through_own, expected, strict=True):
        assert torch.allclose(own, theirs, rtol=ROUNDING_64, atol=ROUNDING_64)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 9), st.floats(0.01, 100))
def test_properties_of_the_parametrization(seed: int, out: int, fan_in: int, scale: float) -> None:
    v, g, dw = rows(seed, out, fan_in)
    w = effective_weight(v, g)
    assert torch.allclose(row_norm(w), g.abs())
    assert torch.allclose(effective_weight(scale * v, g), w)
    dv, _ = gradients(dw, v, g)
    size = (dv.abs() * v.abs()).sum(1) + (g.abs() / row_norm(v) * dw.abs() * v.abs()).sum(1)
    assert bool(((dv * v).sum(1).abs() <= ROUNDING_64 * size + 1e-300).all())


def test_a_zero_row_has_output_zero_and_finite_gradients() -> None:
    v, g = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0], [2.0]])
    dw = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    dv, dg = gradients(dw, v, g)
    assert torch.equal(effective_weight(v, g)[0], torch.zeros(2))
    assert torch.equal(dv, torch.tensor([[2.0, -2.0], [0.0, 2.0]]))
    assert torch.equal(dg, torch.tensor([[0.0], [1.0]]))
    v.requires_grad_()
    g.requires_grad_()
    own = torch.autograd.grad(effective_weight(v, g), (v, g), dw)
    assert torch.equal(own[0], dv)
    assert torch.equal(own[1], dg)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    v = torch.full((1, 4096), 8.0, dtype=dtype)  # the sum of squares exceeds float16
    g = torch.full((1, 1), 3.0, dtype=dtype)
    assert row_norm(v).dtype == torch.float32
    assert row_norm(v).item() == 512.0
    w = effective_weight(v, g)
    assert w.dtype == dtype
    assert torch.allclose(w.float(), torch.tensor(3 / 64), rtol=HALF_STEP[dtype])
    assert all(part.dtype == dtype for part in gradients(v, v, g))


def test_decompose_gives_back_w_bit_for_bit_and_a_direction_to_zero_rows() -> None:
    w = rows(3, 4, 5)[0].float()
    w[1] = 0
    v, g = decompose(w)
    assert torch.equal(effective_weight(v, g), w)
    assert g[1] == 0
    assert row_norm(v)[1].item() == pytest.approx(1.0)


def test_shapes_and_types_that_do_not_fit_raise() -> None:
    v, g = torch.ones(2, 3), torch.ones(2, 1)
    with pytest.raises(ValueError, match=r"g is \(2,\)"):
        effective_weight(v, torch.ones(2))
    with pytest.raises(ValueError, match="two or more axes"):
        row_norm(torch.ones(3))
    with pytest.raises(ValueError, match="floating-point"):
        effective_weight(v.long(), g)
    with pytest.raises(ValueError, match="they must agree"):
        gradients(torch.ones(1, 3), v, g)
