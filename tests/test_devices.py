"""The optimizer, the op over all layers and an agent's update, on a GPU: at the real shapes.

Every body is a function of the device. With marker `gpu` it runs on CUDA, at the Nature network's
shapes and some odd ones; without, the same body runs small on the CPU, the step in Triton's
interpreter, a captured graph replaced by the calls themselves. `test_optimizer_kernels` and
`test_weight_norm_kernels` go further into the kernels.
"""

import contextlib
import copy
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from script_modules import load_script
from torch import Tensor, nn
from trajectories import RULES, Truth

from wnrl.kernels import ops, optimizer_launch, reference
from wnrl.kernels.backend import backend_of
from wnrl.kernels.ops import weight_norm_many
from wnrl.nn import build_q_network, get_norm
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.optim.step import ClippedStep, OptimizerSpec
from wnrl.optim.weight_norm import WNAdam
from wnrl.rl import losses

captured = load_script("bench/timing.py").captured
HAS_CUDA = torch.cuda.is_available()
if not HAS_CUDA:
    # Triton reads the variable when it is imported: nothing may have imported it without.
    assert "triton" not in sys.modules or os.environ.get("TRITON_INTERPRET") == "1"
    os.environ["TRITON_INTERPRET"] = "1"

SAME_32 = 2e-4  # of the distance walked; a few roundings of 6e-8 a step, amplified near g = 0
SAME_BF16 = 8e-3  # 8 bits; the interpreter's cast truncates
LAST_PLACE = 2.0**-23

Shapes = list[tuple[int, ...]]
NATURE: Shapes = [(32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3), (512, 3136), (6, 512)]
ODD: Shapes = [(3, 27), (5, 45), (2, 20_000), (7, 1), (1025,), (6,)]
SMALL: Shapes = [(1, 4), (1, 41), (3,)]
SMALL_LAYERS: Shapes = [(2, 4), (1, 2, 3, 1), (1, 41), (2, 1)]


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not HAS_CUDA, reason="no GPU")]
        ),
    ]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Triton on both, where it can: a process with a GPU has no interpreter."""
    if request.param == "cpu" and not HAS_CUDA and importlib.util.find_spec("triton"):
        monkeypatch.setenv("WNRL_BACKEND", "triton")
        monkeypatch.setattr(optimizer_launch, "BLOCK_SHORT", 8)
        monkeypatch.setattr(optimizer_launch, "BLOCK_ROW", 16)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    backend_of.cache_clear()
    yield request.param
    backend_of.cache_clear()


def seed_of(device: str) -> int:
    """On a GPU, where rounding may differ anyway, fresh inputs each time; printed on failure."""
    seed = int.from_bytes(os.urandom(4)) if device == "cuda" else 2
    print(f"seed {seed}")
    return seed


class Inputs:
    """Weights and a stream of gradients for them, drawn on the CPU."""

    def __init__(self, device: str, shapes: Shapes | None = None) -> None:
        self.device = device
        self.shapes = shapes or (NATURE + ODD if device == "cuda" else SMALL)
        self._generator = torch.Generator().manual_seed(seed_of(device))

    def draw(self) -> list[Tensor]:
        """One tensor per shape, on the device."""
        drawn = [torch.randn(shape, generator=self._generator) for shape in self.shapes]
        return [tensor.to(self.device) for tensor in drawn]

    def parameters(self) -> list[nn.Parameter]:
        """Weights with rows about as long as a new layer's."""
        return [nn.Parameter(w / max(w[0].numel(), 1) ** 0.5) for w in self.draw()]


def give(weights: Sequence[nn.Parameter], gradients: Sequence[Tensor]) -> list[Tensor]:
    """Write gradients where the weights have them already, for a captured graph reads there."""
    for weight, gradient in zip(weights, gradients, strict=True):
        if weight.grad is None:
            weight.grad = torch.empty_like(gradient, dtype=weight.dtype)
        weight.grad.copy_(gradient)
    return list(gradients)


def steps_so_far(optimizer: Any, parameter: nn.Parameter) -> int:
    """As the optimizer counts them: a capture warms up first, with steps that are real."""
    state = optimizer.state[parameter]
    return int(state["updates"] if "updates" in state else state["step"])


def use_aten_on_the_cpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the interpreter would take a minute."""
    if device == "cpu":
        monkeypatch.setenv("WNRL_BACKEND", "aten")
        backend_of.cache_clear()


@contextlib.contextmanager
def not_waiting(device: str) -> Iterator[None]:
    """An error where the host waits for the GPU."""
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ---- the optimizer ----


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("rule", RULES)
def test_every_rules_step_is_float64s(device: str, rule: str, max_norm: float | None) -> None:
    inputs = Inputs(device, None if device == "cuda" else [(1, 5), (3,)])
    weights = inputs.parameters()
    truth = Truth(weights, RULES[rule][1], max_norm)
    optimizer = RULES[rule][0](weights, max_norm=max_norm)
    for _ in range(3):
        truth.step(give(weights, inputs.draw()))
        optimizer.step()
    assert truth.deviation(weights) < SAME_32
    if max_norm is not None:
        assert float(optimizer.grad_norm) == pytest.approx(truth.grad_norm, rel=1e-5)


def test_long_odd_and_short_rows_step_as_in_float64(device: str) -> None:
    inputs = Inputs(device)
    weights = inputs.parameters()
    truth = Truth(weights, RULES["adam"][1])
    optimizer = RULES["adam"][0](weights)
    for _ in range(3):
        truth.step(give(weights, inputs.draw()))
        optimizer.step()
    assert truth.deviation(weights) < SAME_32


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_two_runs_from_one_state_have_the_same_bits(device: str, max_norm: float | None) -> None:
    inputs = Inputs(device)
    weights = inputs.parameters()
    others = copy.deepcopy(weights)
    optimizers = [WNAdam(each, 0.02, max_norm=max_norm) for each in (weights, others)]
    for _ in range(2):
        gradients = inputs.draw()
        for each, optimizer in zip((weights, others), optimizers, strict=True):
            give(each, gradients)
            optimizer.step()
    for mine, theirs in zip(weights, others, strict=True):
        assert torch.equal(mine, theirs)
        own, other = optimizers[0].state[mine], optimizers[1].state[theirs]
        assert all(torch.equal(own[name], other[name]) for name in own)


def test_channels_last_weights_step_as_in_float64(device: str) -> None:
    inputs = Inputs(device, NATURE[:3] if device == "cuda" else [(2, 3, 2, 2)])
    drawn = [p.detach().to(memory_format=torch.channels_last) for p in inputs.parameters()]
    weights = [nn.Parameter(weight) for weight in drawn]
    truth = Truth(weights, RULES["adam"][1], 0.5)
    optimizer = RULES["adam"][0](weights, max_norm=0.5)
    for _ in range(2):
        gradients = inputs.draw()
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient  # contiguous, as a kernel may leave it
        truth.step(gradients)
        optimizer.step()
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
    assert truth.deviation(weights) < SAME_32


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_bfloat16_weights_are_their_float32_masters_rounded(
    device: str, max_norm: float | None
) -> None:
    inputs = Inputs(device)
    narrow = [nn.Parameter(p.detach().bfloat16()) for p in inputs.parameters()]
    wide = [nn.Parameter(p.detach().float()) for p in narrow]
    optimizers = [WNAdam(each, 1e-3, max_norm=max_norm) for each in (narrow, wide)]
    for _ in range(3):
        gradients = [gradient.bfloat16() for gradient in inputs.draw()]
        for each, optimizer in zip((narrow, wide), optimizers, strict=True):
            give(each, gradients)
            optimizer.step()
    for half, weight in zip(narrow, wide, strict=True):
        master = optimizers[0].state[half]["master"]
        assert torch.allclose(master, weight, rtol=1e-6, atol=1e-5)  # a hundredth of a step
        assert torch.allclose(half.float(), master, rtol=SAME_BF16)
        assert device == "cpu" or torch.equal(half, master.bfloat16())


def test_weights_without_gradient_are_left_out_and_join_again(device: str) -> None:
    inputs = Inputs(device)
    weights = inputs.parameters()
    truth = Truth(weights, RULES["adam"][1], 0.5)
    optimizer = RULES["adam"][0](weights, max_norm=0.5)
    for step in range(4):
        gradients: list[Tensor | None] = list(give(weights, inputs.draw()))
        if step in (1, 2):
            gradients[0] = weights[0].grad = None
        before = weights[0].detach().clone()
        truth.step(gradients)
        optimizer.step()
        assert torch.equal(before, weights[0]) == (step in (1, 2))
    assert truth.deviation(weights) < SAME_32


@pytest.mark.parametrize("how", ["write_settings_", "a tensor on the device"])
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_a_captured_step_follows_a_schedule_of_the_learning_rate(
    device: str, max_norm: float | None, how: str
) -> None:
    inputs = Inputs(device)
    weights = inputs.parameters()
    truth = Truth(weights, RULES["adam"][1], max_norm)
    rate: Any = torch.tensor(0.02, device=device) if how.startswith("a tensor") else 0.02
    optimizer = WNAdam(weights, rate, (0.8, 0.9), 1e-6, max_norm=max_norm)
    gradients = give(weights, inputs.draw())
    replay = captured(optimizer.step, device)
    for _ in range(steps_so_far(optimizer, weights[0])):
        truth.step(gradients)
    for new in (0.02, 0.05, 0.0, 0.01):
        truth.optimizer.param_groups[0]["lr"] = new
        truth.step(give(weights, inputs.draw()))
        if isinstance(rate, Tensor):
            rate.fill_(new)
        else:
            optimizer.param_groups[0]["lr"] = new
            optimizer.write_settings_()
        replay()
    assert truth.deviation(weights) < SAME_32
    if max_norm is not None:
        assert float(optimizer.grad_norm) == pytest.approx(truth.grad_norm, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_a_step_waits_for_nothing(device: str, max_norm: float | None, dtype: torch.dtype) -> None:
    inputs = Inputs(device)
    weights = [nn.Parameter(p.detach().to(dtype)) for p in inputs.parameters()]
    optimizer = WNAdam(weights, 0.02, max_norm=max_norm)
    give(weights, inputs.draw())
    optimizer.step()
    with not_waiting(device):
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.01  # a schedule of plain numbers
        optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.0
    before = [weight.detach().clone() for weight in weights]
    optimizer.step()
    assert all(map(torch.equal, before, weights))  # what was written without waiting had arrived


def test_the_other_optimizers_step_waits_for_nothing_either(device: str) -> None:
    inputs = Inputs(device)
    weights = inputs.parameters()
    step = ClippedStep(torch.optim.Adam(weights, 0.02, fused=True), 0.5)
    give(weights, inputs.draw())
    step.step()
    with not_waiting(device):
        step.step()
    assert torch.isfinite(step.grad_norm)


# ---- the op over all layers ----


def layers(device: str) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """(vs, gs, dws), one v in channels_last, one with a row of zeros."""
    shapes = NATURE + ODD[:4] if device == "cuda" else SMALL_LAYERS
    inputs = Inputs(device, shapes)
    vs, dws = inputs.draw(), inputs.draw()
    gs = [v.flatten(1)[:, :1].reshape(-1, *[1] * (v.ndim - 1)).clone() for v in inputs.draw()]
    vs[1] = vs[1].to(memory_format=torch.channels_last)
    vs[0][0] = 0.0
    return [v.requires_grad_() for v in vs], [g.requires_grad_() for g in gs], dws


def results(vs: list[Tensor], gs: list[Tensor], dws: list[Tensor]) -> list[Tensor]:
    """w, dL/dv and dL/dg of every layer."""
    ws = weight_norm_many(vs, gs)
    return [*(w.detach() for w in ws), *torch.autograd.grad(ws, [*vs, *gs], dws)]


def expected(vs: list[Tensor], gs: list[Tensor], dws: list[Tensor]) -> list[Tensor]:
    """The same from the reference, in the type that they have."""
    vs, gs = [v.detach() for v in vs], [g.detach() for g in gs]
    ws = [reference.effective_weight(v, g) for v, g in zip(vs, gs, strict=True)]
    pairs = [reference.gradients(*each) for each in zip(dws, vs, gs, strict=True)]
    return [*ws, *(dv for dv, _ in pairs), *(dg for _, dg in pairs)]


def check_results(found: list[Tensor], of: tuple[list[Tensor], ...]) -> None:
    """STYLE.md, 28: |fast - ref64| <= 2 |eager - ref64| + atol, relative to the largest result."""
    wide = [[tensor.detach().double() for tensor in tensors] for tensors in of]
    for fast, slow, truth in zip(found, expected(*of), expected(*wide), strict=True):
        allowed = 2 * (slow.double() - truth).abs().max() + 4 * LAST_PLACE * truth.abs().max()
        assert (fast.double() - truth).abs().max() <= allowed, fast.shape


def test_the_op_is_as_close_to_float64_as_plain_pytorch_is(device: str) -> None:
    of = layers(device)
    first, second = results(*of), results(*of)
    check_results(first, of)
    assert all(map(torch.equal, first, second))
    assert first[1].is_contiguous(memory_format=torch.channels_last)


def test_the_op_captured_both_ways_follows_new_inputs_and_waits_for_nothing(device: str) -> None:
    of = layers(device)
    outputs = results(*of)

    def work() -> None:
        for output, result in zip(outputs, results(*of), strict=True):
            output.copy_(result)

    with not_waiting(device):
        work()
    replay = captured(work, device)
    with torch.no_grad():
        for old, new in zip(of, layers(device), strict=True):
            torch._foreach_copy_(old, torch._foreach_mul(new, 2.0))
    replay()
    check_results(outputs, of)


def test_torchs_own_checks_of_the_op_pass_on_the_device(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_aten_on_the_cpu(device, monkeypatch)  # hundreds of calls
    inputs = Inputs(device, [(2, 3), (1, 5)])
    vs = [v.double().requires_grad_() for v in inputs.draw()]
    gs = [v.detach()[:, :1].clone().requires_grad_() for v in vs]
    torch.library.opcheck(ops._weight_norm_many, (vs, gs))
    assert torch.autograd.gradcheck(
        lambda *tensors: tuple(weight_norm_many(list(tensors[:2]), list(tensors[2:]))), (*vs, *gs)
    )


# ---- an agent's update ----


class Learner:
    """A DQN update of the Nature network on one batch, the same on every device."""

    def __init__(self, place: str, norm: str, full_size: bool) -> None:
        side, batch = (84, 32) if full_size else (36, 4)
        generator = torch.Generator().manual_seed(5)
        record = get_norm(norm)
        network = build_q_network(NetworkSpec((4, side, side), "uint8", 6, norm=record), generator)
        obs = [torch.randint(0, 256, (batch, 4, side, side), generator=generator) for _ in "ab"]
        s_tm1, s_t = (each.to(torch.uint8).to(place) for each in obs)
        a_tm1 = torch.randint(0, 6, (batch,), generator=generator).to(place)
        r_t = torch.randn(batch, generator=generator).to(place)
        discount_t = torch.full((batch,), 0.99, device=place)
        self.network = network.to(place)
        self.target = copy.deepcopy(network).requires_grad_(False).eval()
        self.batch = (s_tm1, a_tm1, r_t, discount_t, s_t)
        self.record = record
        spec = OptimizerSpec(eps=1e-3, max_grad_norm=10.0)
        self.optimizer: Any = record.optimizer(self.network, spec)
        self.inner = getattr(self.optimizer, "optimizer", self.optimizer)
        for group in self.inner.param_groups:
            if "capturable" in group:
                group["capturable"] = place == "cuda"

    def update(self) -> None:
        """As the agent does it."""
        self.network.train()
        s_tm1, a_tm1, r_t, discount_t, s_t = self.batch
        with torch.no_grad():
            q_t = self.target(s_t)
        td = losses.q_learning_td(self.network(s_tm1), a_tm1, r_t, discount_t, q_t)
        self.optimizer.zero_grad()
        losses.huber(td).mean().backward()  # type: ignore[no-untyped-call]  # torch's has no types
        self.optimizer.step()
        self.record.after_step(self.network)

    def steps(self) -> int:
        return steps_so_far(self.inner, next(self.network.parameters()))


@pytest.mark.parametrize("norm", ["weight", "none"])
def test_an_agents_update_is_the_cpus_also_when_captured(
    device: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_aten_on_the_cpu(device, monkeypatch)  # hundreds of rows
    for way in ("eager", "captured"):
        truth, found = (Learner(place, norm, device == "cuda") for place in ("cpu", device))
        start = [parameter.detach().clone() for parameter in truth.network.parameters()]
        again = found.update if way == "eager" else captured(found.update, device)
        for _ in range(2):
            again()
        for _ in range(found.steps()):
            truth.update()
        assert float(found.optimizer.grad_norm) == pytest.approx(
            float(truth.optimizer.grad_norm), rel=1e-3
        )
        for own, other, first in zip(
            found.network.parameters(), truth.network.parameters(), start, strict=True
        ):
            # Sums of thousands of float32 terms in other orders, through a few steps.
            assert (own.cpu() - other).norm() <= 1e-2 * (other - first).norm()


def test_a_run_ends_by_itself_on_the_device(device: str, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("gymnasium")  # which a machine lent for its GPU may lack
    from wnrl.train import command

    monkeypatch.delenv("WNRL_BACKEND", raising=False)
    backend_of.cache_clear()
    arguments = ["--env=CartPole-v1", "--steps=700", f"--device={device}", "--eval-every-steps=0"]
    arguments.append("--no-calibrate")
    assert command.main([*arguments, f"--run-dir={tmp_path / 'run'}"]) == 0
