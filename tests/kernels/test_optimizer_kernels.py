"""The fused step, in Triton's interpreter, walks the same trajectory as torch's parametrization."""

import contextlib
import copy
import importlib.util
import io
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from trajectories import RULES, Truth

from wnrl.kernels import optimizer_launch
from wnrl.kernels.optimizer_launch import FusedStep
from wnrl.optim.weight_norm import WNSGD, WNAdam

if not torch.cuda.is_available():
    # Triton reads the variable when it is imported: nothing may have imported it without.
    assert "triton" not in sys.modules or os.environ.get("TRITON_INTERPRET") == "1"
    os.environ["TRITON_INTERPRET"] = "1"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1",
    reason="needs Triton and its interpreter",
)

# In float32, of the distance walked: a few roundings of 6e-8 a step, amplified near g = 0.
SAME_32 = 2e-4
# bfloat16 has 8 bits; the interpreter's cast truncates instead of rounding.
SAME_BF16 = 8e-3

# Short, whole and long rows for blocks of 8 and 16, aligned and not; a plain one in two chunks.
SHAPES = [(2, 4), (1, 2, 3, 1), (1, 16), (1, 13), (1, 41), (1, 64), (11,)]
A_ROW_OF_EACH_KIND = [(2, 4), (1, 13), (1, 41), (11,)]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch, choose_backend: Callable[[str], None]) -> None:
    choose_backend("triton")
    monkeypatch.setattr(optimizer_launch, "BLOCK_SHORT", 8)
    monkeypatch.setattr(optimizer_launch, "BLOCK_ROW", 16)


def parameters(shapes: list[tuple[int, ...]] = SHAPES) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(2)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def walk_both(
    weights: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    truth: Truth,
    gradient: Callable[[int, nn.Parameter], Tensor],
    steps: int,
) -> None:
    """Step both on the same dL/dw."""
    for step in range(steps):
        for weight in weights:
            weight.grad = gradient(step, weight)
        truth.step([weight.grad for weight in weights])
        optimizer.step()


def noise(seed: int = 4) -> Callable[[int, nn.Parameter], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda step, weight: torch.randn(weight.shape, generator=generator)


@pytest.mark.parametrize(("rule", "max_norm"), [*((rule, None) for rule in RULES), ("adam", 0.5)])
def test_the_kernel_walks_torchs_trajectory_in_float64(rule: str, max_norm: float | None) -> None:
    weights = parameters(SHAPES if rule == "adam" else A_ROW_OF_EACH_KIND)
    truth = Truth(weights, RULES[rule][1], max_norm)
    optimizer = RULES[rule][0](weights, max_norm=max_norm)
    walk_both(weights, optimizer, truth, noise(), 3)
    assert isinstance(optimizer._fused, FusedStep)
    assert truth.deviation(weights) < SAME_32
    if max_norm is not None:
        assert float(optimizer.grad_norm) == pytest.approx(truth.grad_norm, rel=1e-5)


@pytest.mark.parametrize("bound", [0.0, 1.2])
def test_the_kernel_bounds_the_length_of_v(bound: float) -> None:
    weights = parameters(A_ROW_OF_EACH_KIND)
    truth = Truth(weights, RULES["adam"][1], 0.5, bound)
    optimizer = RULES["adam"][0]([{"params": weights, "max_v_norm": bound}], max_norm=0.5)
    walk_both(weights, optimizer, truth, noise(), 3)
    assert isinstance(optimizer._fused, FusedStep)
    assert truth.deviation(weights) < SAME_32
    optimizer.param_groups[0]["max_v_norm"] = math.inf  # a new plan reads it
    walk_both(weights, optimizer, truth, noise(), 1)
    lengths = optimizer.state[weights[1]]["norm"]
    assert not torch.allclose(lengths, torch.full_like(lengths, 1.2), atol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_kernel_corrects_rectifies_and_remembers_for_tens_of_steps(rule: str) -> None:
    # Past RAdam's switch at step 6, with the norm clipped and a short row whose gain changes sign
    # after at most 16 steps.
    weights = parameters([(1, 4), (3,)])
    with torch.no_grad():
        weights[0].mul_(0.1)
    truth = Truth(weights, RULES[rule][1], 0.5)
    optimizer = RULES[rule][0](weights, max_norm=0.5)
    other_side, disturb = 30 * weights[0].detach(), noise()

    def gradient(step: int, weight: nn.Parameter) -> Tensor:
        away = other_side if weight is weights[0] else 0.0
        return weight.detach() + away + disturb(step, weight)

    walk_both(weights, optimizer, truth, gradient, 20)
    assert truth.gains(0) < 0
    assert optimizer.state[weights[0]]["sign"].item() == -1.0
    assert truth.deviation(weights) < SAME_32
    assert float(optimizer.grad_norm) == pytest.approx(truth.grad_norm, rel=1e-4)


def towards_the_other_side(step: int, weight: nn.Parameter) -> Tensor:
    # The loss -1 . w + 0.45 w_0^2 wants w to be large along 1; it starts short and opposite.
    gradient = -torch.ones_like(weight)
    gradient[:, 0] += 0.9 * weight.detach()[:, 0]
    return gradient


@pytest.mark.parametrize("steps", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_the_kernel_drives_a_gain_through_zero(steps: int) -> None:
    # w starts at -(0.1, 0.11, 0.12): its gain must pass through zero, which it does at step 20.
    weights = [nn.Parameter(-torch.tensor([[0.1, 0.11, 0.12]]))]
    truth = Truth(weights, lambda p: torch.optim.Adam(p, 0.01))
    optimizer = WNAdam(weights, 0.01)
    walk_both(weights, optimizer, truth, towards_the_other_side, steps)
    assert optimizer.state[weights[0]]["sign"].item() == -1.0
    assert weights[0][0, 1] > 0
    assert truth.deviation(weights) < SAME_32


@pytest.mark.parametrize(("rule", "max_norm"), [("adam", 0.5), ("rmsprop centered", None)])
def test_at_learning_rate_0_the_kernel_leaves_any_written_weight(
    rule: str, max_norm: float | None
) -> None:
    weights = parameters(A_ROW_OF_EACH_KIND)
    optimizer = RULES[rule][0](weights, max_norm=max_norm)
    gradient = noise()
    for scale in (1e-20, 1.0, 1e6):
        for weight in weights:
            weight.grad = gradient(0, weight)
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.0
        with torch.no_grad():
            for weight in weights:
                weight.copy_(gradient(0, weight) * scale)
                weight.grad = gradient(0, weight)
            weights[0][1] = 0.0
        before = [weight.detach().clone() for weight in weights]
        optimizer.step()
        assert all(map(torch.equal, before, weights))


def test_a_row_of_zeros_takes_a_plain_step_and_is_then_normalized() -> None:
    weight = nn.Parameter(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    plain = nn.Parameter(torch.zeros(2))
    optimizer = WNAdam([weight, plain], 0.1)
    for step in range(5):
        weight.grad = torch.tensor([[1.0, -2.0], [5.0, 0.0]])
        plain.grad = torch.tensor([1.0, -2.0])
        optimizer.step()
        assert torch.isfinite(weight).all()
        if step == 0:
            assert torch.allclose(weight[0], plain)
    assert bool((optimizer.state[weight]["norm"] > 0).all())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy in the interpreter: inf / inf
def test_a_norm_that_overflows_is_measured_and_changes_nothing() -> None:
    weight, bias = nn.Parameter(torch.ones(2, 4)), nn.Parameter(torch.ones(5))
    weight.grad, bias.grad = torch.ones(2, 4), torch.full((5,), 1.5e19)  # their squares overflow
    optimizer = WNAdam([weight, bias], 0.1, max_norm=math.inf)
    optimizer.step()
    assert float(optimizer.grad_norm) == math.inf
    assert torch.allclose(bias, torch.full((5,), 0.9))  # Adam's first step, by hand
    assert weight.isfinite().all()


def test_groups_keep_their_own_settings_and_missing_gradients_are_skipped() -> None:
    def make() -> tuple[list[nn.Parameter], WNAdam]:
        weights = parameters([(2, 4), (1, 5), (3,), (1, 3)])
        groups = [
            {"params": weights[:1], "lr": 0.1},
            {"params": weights[1:3], "betas": (0.5, 0.6)},
            {"params": weights[3:], "weight_norm": False, "v_norm": "unit"},
        ]
        return weights, WNAdam(groups, 0.01, max_norm=1.0)

    (fused, optimizer), (eager, expected) = make(), make()
    gradient = noise()
    for step in range(4):
        for mine, theirs in zip(fused, eager, strict=True):
            mine.grad = gradient(0, mine)
            theirs.grad = mine.grad.clone()
        if step in (1, 2):
            fused[1].grad = eager[1].grad = None
        for group in (optimizer.param_groups[0], expected.param_groups[0]):
            group["lr"] = 0.1 / (step + 1)
        optimizer.step()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wnrl.optim.normalizing_step.use_triton", lambda tensor: False)
            expected.step()
    assert optimizer._fused is not None
    assert expected._fused is None
    for mine, theirs in zip(fused, eager, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6)
        assert optimizer.state[mine]["updates"] == expected.state[theirs]["updates"]
        assert optimizer.state[mine].keys() == expected.state[theirs].keys()


def test_a_learning_rate_on_the_device_is_read_at_every_step() -> None:
    (weight,), rate = parameters([(1, 4)]), torch.tensor(0.1)
    optimizer = WNSGD([weight], lr=rate)
    weight.grad = torch.ones(1, 4)
    optimizer.step()
    rate.zero_()
    before = weight.detach().clone()
    optimizer.step()
    assert torch.equal(weight, before)
    rate.fill_(0.1)
    optimizer.step()
    assert not torch.equal(weight, before)


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_bfloat16_weights_follow_a_float32_master(max_norm: float | None) -> None:
    wide = parameters(A_ROW_OF_EACH_KIND)
    start = [weight.detach().bfloat16().float() for weight in wide]
    narrow = [nn.Parameter(first.bfloat16()) for first in start]
    with torch.no_grad():
        for weight, first in zip(wide, start, strict=True):
            weight.copy_(first)
    optimizers = [WNAdam(weights, 1e-3, max_norm=max_norm) for weights in (wide, narrow)]
    gradient = noise()
    for _ in range(3):
        for weight, half in zip(wide, narrow, strict=True):
            half.grad = gradient(0, weight).bfloat16()
            weight.grad = half.grad.float()
        for optimizer in optimizers:
            optimizer.step()
    for weight, half in zip(wide, narrow, strict=True):
        master = optimizers[1].state[half]["master"]
        assert torch.equal(master, weight)  # the steps are below what bfloat16 can hold
        assert torch.allclose(half.float(), weight, rtol=SAME_BF16)
    with torch.no_grad():
        narrow[0].fill_(0.5)
    for group in optimizers[1].param_groups:
        group["lr"] = 0.0
    optimizers[1].step()
    assert bool((narrow[0] == 0.5).all())
    assert bool((optimizers[1].state[narrow[0]]["master"] == 0.5).all())


def test_state_saved_from_the_kernel_continues_bit_for_bit_and_copies_stand_alone() -> None:
    weights = [nn.Parameter(p.detach().bfloat16()) for p in parameters([(2, 4), (1, 41), (5,)])]
    optimizer = WNAdam(weights, 0.05, max_norm=1.0)
    gradient = noise()

    def step(of: list[nn.Parameter], by: WNAdam, seed: int) -> None:
        gradient = noise(seed)
        for weight in of:
            weight.grad = gradient(0, weight).bfloat16()
        by.step()

    for weight in weights:
        weight.grad = gradient(0, weight).bfloat16()
    optimizer.step()
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    others = [nn.Parameter(weight.detach().clone()) for weight in weights]
    resumed = WNAdam(others, 0.05, max_norm=1.0)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    copied_weights, copied = copy.deepcopy((weights, optimizer))
    for seed in (1, 2):
        for each, by in ((weights, optimizer), (others, resumed), (copied_weights, copied)):
            step(each, by, seed)
    for mine, theirs, third in zip(weights, others, copied_weights, strict=True):
        assert torch.equal(mine, theirs)
        assert torch.equal(mine, third)
        assert torch.equal(optimizer.state[mine]["master"], resumed.state[theirs]["master"])


def test_each_row_has_its_own_kind_so_that_one_odd_length_narrows_no_other() -> None:
    weights = parameters([(2, 4), (4, 5), (1, 12), (1, 13), (1, 20), (1, 21), (8,), (11,)])
    optimizer = WNAdam(weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert isinstance(optimizer._fused, FusedStep)
    ((_, table, kinds),) = optimizer._fused.launches
    # Blocks of 8 and 16 here. Plain 0, short 1, whole 2, long 3; without vector loads 4 more.
    by_tensor = {tensor: kind for _, _, tensor, _, _, _, kind, _ in table.tolist()}
    assert by_tensor == {0: 1, 1: 5, 2: 2, 3: 6, 4: 3, 5: 7, 6: 0, 7: 4}
    assert kinds == 255
    lengths = [line[1] for line in table.tolist()]
    assert lengths == sorted(lengths, reverse=True)


def test_the_step_is_launched_on_the_device_of_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current: list[torch.device] = []

    @contextlib.contextmanager
    def device_of(tensor: Tensor) -> Iterator[None]:
        current.append(tensor.device)
        yield
        current.pop()

    launched, step = [], FusedStep.step

    def noted(fused: FusedStep, entries: Any) -> Tensor | None:
        launched.append(list(current))
        return step(fused, entries)

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    monkeypatch.setattr(FusedStep, "step", noted)
    (weight,) = parameters([(1, 4)])
    weight.grad = torch.ones(1, 4)
    WNAdam([weight]).step()
    assert launched == [[weight.device]]


def test_channels_last_weights_and_many_launches_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = [(2, 3, 2, 2), (1, 5), (3,)]
    once, often = parameters(shapes), parameters(shapes)
    once[0].data = once[0].data.to(memory_format=torch.channels_last)
    optimizers = [WNAdam(each, 0.05, max_norm=0.5) for each in (once, often)]
    gradient = noise()
    for _ in range(3):
        for mine, theirs in zip(once, often, strict=True):
            mine.grad = gradient(0, mine)
            theirs.grad = mine.grad.clone()
        optimizers[0].step()
        with monkeypatch.context() as patch:
            patch.setattr(optimizer_launch, "MAX_TENSORS", 2)
            patch.setattr(optimizer_launch, "MAX_PARTS", 2)
            optimizers[1].step()
    assert once[0].is_contiguous(memory_format=torch.channels_last)
    for mine, theirs in zip(once, often, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-7)
