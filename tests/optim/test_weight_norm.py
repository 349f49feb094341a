"""The step over plain weights walks the trajectory of torch's parametrization and optimizers."""

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from trajectories import RULES

from wnrl._settings import UsageError
from wnrl.kernels import optimizer_aten
from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear, weight_norm_groups
from wnrl.optim import normalizing_step
from wnrl.optim.step import ClippedStep, OptimizerSpec
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRMSprop, WNRMSpropTFLike

pytestmark = pytest.mark.usefixtures("cpu_backend")

STEPS = 20
# Of the distance walked, in float64: Adam's kernel corrects its bias in double, but counts exactly.
SAME_64 = 1e-9
# In float32: 20 steps of Adam amplify the rounding of a gradient near zero.
SAME_32 = 2e-4


def network(dtype: torch.dtype = torch.float64, storage: str = "w") -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = [
            WNConv2d(2, 4, 3, storage=storage, dtype=dtype),
            nn.ReLU(),
            nn.Flatten(),
            WNLinear(36, 7, storage=storage, dtype=dtype),
            nn.Tanh(),
            nn.Linear(7, 2, dtype=dtype),
        ]
    return nn.Sequential(*layers)


def parametrized(plain: nn.Sequential) -> nn.Sequential:
    """torch's own weight normalization of the marked layers, in float64."""
    with torch.random.fork_rng(devices=[]):
        layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 7), nn.Tanh()]
        other = nn.Sequential(*layers, nn.Linear(7, 2)).double()
    other.load_state_dict({name: value.double() for name, value in plain.state_dict().items()})
    for index in (0, 3):
        weight_norm(other[index])
    return other


def batches(dtype: torch.dtype = torch.float64) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    shapes = ((6, 2, 5, 5), (6, 2))
    made = [
        [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        for _ in range(STEPS)
    ]
    return [(x.to(dtype), 3 * y.to(dtype)) for x, y in made]


def walk(net: nn.Module, step: Callable[[], Any], dtype: torch.dtype = torch.float64) -> None:
    for x, y in batches(dtype):
        net.zero_grad()
        (net(x) - y).square().mean().backward()
        step()


def distance(net: nn.Module, other: nn.Module, start: nn.Module) -> float:
    """The largest deviation of a weight, relative to how far that weight went."""
    names = [name for name, _ in start.named_parameters()]
    assert names

    def weight(of: nn.Module, name: str) -> Tensor:
        module, leaf = name.rsplit(".", 1)
        value: Tensor = getattr(of.get_submodule(module), leaf).detach().double()
        return value

    return max(
        float(
            (weight(net, n) - weight(other, n)).norm()
            / (weight(start, n) - weight(other, n)).norm()
        )
        for n in names
    )


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_trajectory_is_that_of_torchs_parametrization_and_optimizer(
    rule: str, max_norm: float | None, layout: torch.memory_format
) -> None:
    ours, theirs = RULES[rule]
    net = network().to(memory_format=layout)  # type: ignore[call-overload]  # no stub
    start, reference = copy.deepcopy(net), parametrized(net)
    optimizer = ours(weight_norm_groups(net), max_norm=max_norm)
    expected = theirs(reference.parameters())
    norms: list[Tensor] = []

    def reference_step() -> None:
        norm = nn.utils.clip_grad_norm_(reference.parameters(), max_norm or math.inf)
        norms.append(norm)
        expected.step()

    walk(net, optimizer.step)
    walk(reference, reference_step)
    assert distance(net, reference, start) < SAME_64
    assert net[0].weight.stride() == start[0].weight.stride()
    if max_norm is None:
        assert math.isnan(optimizer.grad_norm)
    else:
        assert float(optimizer.grad_norm) == pytest.approx(float(norms[-1]), rel=1e-8)
        assert max(norms) > 2 * max_norm


@pytest.mark.parametrize("rule", RULES)
def test_float32_stays_near_the_float64_trajectory(rule: str) -> None:
    ours, theirs = RULES[rule]
    net = network(torch.float32)
    start, reference = copy.deepcopy(net), parametrized(net)
    walk(net, ours(weight_norm_groups(net)).step, torch.float32)
    walk(reference, theirs(reference.parameters()).step)
    assert distance(net, reference, start) < SAME_32


@pytest.mark.parametrize("rule", RULES)
def test_the_two_storages_walk_the_same_trajectory(rule: str) -> None:
    ours, theirs = RULES[rule]
    net, computed = network(), network(storage="gv")
    start = copy.deepcopy(net)
    walk(net, ours(weight_norm_groups(net)).step)
    walk(computed, theirs(computed.parameters()).step)
    assert distance(net, computed, start) < SAME_64


def test_a_gain_that_crosses_zero_keeps_to_the_trajectory() -> None:
    def run(optimizer: torch.optim.Optimizer, layer: nn.Linear) -> list[Tensor]:
        seen = []
        for _ in range(STEPS):
            # The loss -1 . w wants w to be large along 1; it starts short and opposite.
            optimizer.zero_grad()
            (-layer.weight.sum() + 0.1 * (layer.weight[:, 0] * 3).square().sum()).backward()
            optimizer.step()
            seen.append(layer.weight.detach().clone())
        return seen

    plain, other = nn.Linear(3, 2, bias=False).double(), nn.Linear(3, 2, bias=False).double()
    with torch.no_grad():
        for layer in (plain, other):
            layer.weight.copy_(torch.tensor([[-0.1, -0.11, -0.12], [0.3, 0.2, 0.1]]))
    weight_norm(other)
    optimizer = WNAdam(plain.parameters(), 0.05)
    walked = run(optimizer, plain)
    expected = run(torch.optim.Adam(other.parameters(), 0.05), other)
    assert optimizer.state[plain.weight]["sign"].flatten().tolist() == [-1.0, 1.0]
    assert torch.allclose(torch.stack(walked), torch.stack(expected), atol=1e-9)


def test_a_gain_that_hits_zero_exactly_keeps_the_direction_of_v() -> None:
    # dg = 1 and dv = 0; without memory and eps Adam's step is lr: g' = 1 - 1.
    weight = nn.Parameter(torch.tensor([[1.0, 0.0]]))
    weight.grad = torch.tensor([[1.0, 0.0]])
    optimizer = WNAdam([weight], 1.0, (0.0, 0.0), eps=1e-30)
    optimizer.step()
    assert 0 < weight[0, 0].item() < 1e-11
    weight.grad = torch.tensor([[-1.0, 0.0]])
    optimizer.step()
    assert torch.allclose(weight, torch.tensor([[1.0, 0.0]]))


def test_hand_numbers_of_the_first_step() -> None:
    # w = (3, 4), d = (5, 0), v = w: dg = 15 / 5 = 3, dv = (5, 0) - 15 / 25 (3, 4) = (3.2, -2.4).
    # Adam's first step is lr against the sign: v' = (2.9, 4.1), g' = 4.9.
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[5.0, 0.0]])
    optimizer = WNAdam([weight], 0.1, eps=0.0, max_norm=math.inf)
    optimizer.step()
    length = math.hypot(2.9, 4.1)
    assert weight.tolist()[0] == pytest.approx([4.9 * 2.9 / length, 4.9 * 4.1 / length])
    assert float(optimizer.state[weight]["norm"]) == pytest.approx(length)
    assert float(optimizer.grad_norm) == pytest.approx(math.sqrt(3**2 + 3.2**2 + 2.4**2))


@pytest.mark.parametrize(
    ("v_norm", "expected"),
    [
        ("weight", [5.0, 1.0]),
        ("unit", [1.0, 1.0]),
        ("paper", [0.05 * math.sqrt(2)] * 2),
        (torch.tensor(2.0), [2.0, 2.0]),
        (torch.tensor([2.0, 7.0]), [2.0, 7.0]),
    ],
)
def test_v_norm_sets_the_starting_norm_of_v(v_norm: Any, expected: list[float]) -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    weight.grad = torch.ones(2, 2)
    optimizer = WNAdam([weight], 0.0, v_norm=v_norm)
    optimizer.step()
    assert optimizer.state[weight]["norm"].flatten().tolist() == pytest.approx(expected)


def test_the_trajectory_with_a_given_norm_is_that_of_rescaled_v() -> None:
    net = network()
    start, reference = copy.deepcopy(net), parametrized(net)
    with torch.no_grad():
        for index in (0, 3):
            v = reference[index].parametrizations.weight.original1  # type: ignore[union-attr]
            v /= v.flatten(1).norm(dim=1).reshape([-1] + [1] * (v.ndim - 1))  # type: ignore[operator,arg-type,call-overload]
    walk(net, WNAdam(weight_norm_groups(net), 0.02, v_norm="unit").step)
    walk(reference, torch.optim.Adam(reference.parameters(), 0.02).step)
    assert distance(net, reference, start) < SAME_64


@pytest.mark.parametrize("rule", RULES)
def test_at_learning_rate_0_any_written_weight_keeps_its_bits(rule: str) -> None:
    net = network(torch.float32)
    optimizer = RULES[rule][0](weight_norm_groups(net))
    walk(net, optimizer.step, torch.float32)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for scale in (1e-20, 1.0, 1e6):
            net[3].weight.normal_(generator=generator).mul_(scale)
            net[3].weight[2] = 0.0
            before = copy.deepcopy(list(net.parameters()))
            for parameter in net.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
            for old, new in zip(before, net.parameters(), strict=True):
                assert torch.equal(old, new)


def test_a_write_from_outside_means_a_new_gain_and_the_same_norm() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = WNAdam([weight], 0.0)
    weight.grad = torch.ones(1, 2)
    optimizer.step()
    with torch.no_grad():
        weight.mul_(10)
    optimizer.step()
    assert float(optimizer.state[weight]["norm"]) == pytest.approx(5.0)
    assert weight.tolist() == [[30.0, 40.0]]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("v_norm", ["weight", "unit"])
def test_a_row_of_zeros_takes_a_plain_step_and_is_then_normalized(rule: str, v_norm: str) -> None:
    weight = nn.Parameter(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    plain = nn.Parameter(torch.zeros(2))
    optimizer = RULES[rule][0]([weight, plain], v_norm=v_norm)
    for step in range(STEPS):
        weight.grad = torch.tensor([[1.0, -2.0], [5.0, 0.0]])
        plain.grad = torch.tensor([1.0, -2.0])
        optimizer.step()
        assert torch.isfinite(weight).all()
        if step == 0:
            assert torch.allclose(weight[0], plain)
    assert weight[0, 0] < 0 < weight[0, 1]
    norms = optimizer.state[weight]["norm"]
    assert bool((norms > 0).all())
    assert bool(norms.isfinite().all())


def test_a_row_without_gradient_that_is_zero_stays_zero() -> None:
    weight = nn.Parameter(torch.zeros(1, 3))
    weight.grad = torch.zeros(1, 3)
    optimizer = WNAdam([weight], 0.1)
    for _ in range(3):
        optimizer.step()
    assert torch.equal(weight, torch.zeros(1, 3))


def test_a_centered_variance_never_gives_nan_under_a_steady_gradient() -> None:
    # torch.optim.RMSprop makes a quarter of these parameters NaN.
    steady = 3 * torch.rand(4, 1000, generator=torch.Generator().manual_seed(0))
    weight, bias = nn.Parameter(torch.ones(4, 1000)), nn.Parameter(torch.ones(1000))
    spec = OptimizerSpec("rmsprop", 2.5e-4, 1e-2, alpha=0.95, centered=True)
    optimizers = [
        spec.build([{"params": [weight], "weight_norm": True}]),
        spec.build([{"params": [bias]}]),
    ]
    assert all(isinstance(optimizer, WNRMSprop) for optimizer in optimizers)
    for _ in range(600):
        weight.grad, bias.grad = steady.clone(), steady[0].clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()


@pytest.mark.parametrize("backend", ["aten", "numba"])
def test_rmsprop_tf_begins_with_an_average_of_1_and_adds_eps_inside_the_root(
    backend: str, choose_backend: Callable[[str], None]
) -> None:
    choose_backend(backend)
    bias = nn.Parameter(torch.zeros(1))
    spec = OptimizerSpec("rmsprop-tf", 3.0, 0.5, alpha=0.75)
    optimizer = spec.build([{"params": [bias]}])
    assert isinstance(optimizer, WNRMSpropTFLike)  # for plain weights too
    bias.grad = torch.tensor([2.0])
    optimizer.step()  # s = 0.75 * 1 + 0.25 * 4 = 1.75, sqrt(s + 0.5) = 1.5
    assert bias.item() == pytest.approx(-3.0 * 2.0 / 1.5)
    bias.grad = torch.tensor([0.0])
    optimizer.step()
    assert bias.item() == pytest.approx(-4.0)
    assert optimizer.state[bias]["square_avg"].item() == pytest.approx(0.75 * 1.75)


@pytest.mark.parametrize("rule", RULES)
def test_saved_and_loaded_continues_as_if_never_stopped(rule: str) -> None:
    net = network(torch.float32).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    make = RULES[rule][0]
    optimizer = make(weight_norm_groups(net), max_norm=1.0)
    walk(net, optimizer.step, torch.float32)
    buffer = io.BytesIO()
    torch.save({"network": net.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    other = network(torch.float32)  # contiguous: the moments must follow the layout
    other.load_state_dict(state["network"])
    resumed = make(weight_norm_groups(other), max_norm=1.0)
    resumed.load_state_dict(state["optimizer"])
    for old, new in zip(optimizer.state.values(), resumed.state.values(), strict=True):
        assert list(old) == list(new)
        assert all(torch.equal(old[name], new[name]) for name in old)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            theirs.grad = mine.grad.clone()
        optimizer.step()
        resumed.step()
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6, atol=1e-7)
    again = copy.deepcopy(net)
    third = make(weight_norm_groups(again), max_norm=1.0)
    third.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for mine, theirs in zip(net.parameters(), again.parameters(), strict=True):
        mine.grad, theirs.grad = torch.ones_like(mine), torch.ones_like(theirs)
    optimizer.step()
    third.step()
    assert all(map(torch.equal, net.parameters(), again.parameters()))


def test_a_weight_in_many_blocks_equals_the_weight_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [network(), network()]
    for net, elements in zip(nets, (10, 10**9), strict=True):
        monkeypatch.setattr("wnrl.kernels.optimizer_aten.BLOCK_ELEMENTS", elements)
        walk(net, WNAdam(weight_norm_groups(net), 0.02, max_norm=0.5).step)
    for small, large in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(small, large, rtol=1e-12, atol=1e-14)


def test_bare_parameters_normalize_every_weight_and_leave_biases_plain() -> None:
    layer = nn.Linear(4, 3)
    layer.weight.grad, layer.bias.grad = torch.ones(3, 4), torch.ones(3)
    optimizer = WNAdam(layer.parameters())
    optimizer.step()
    assert "norm" in optimizer.state[layer.weight]
    assert "norm" not in optimizer.state[layer.bias]
    skipped = WNAdam([{"params": [layer.weight], "weight_norm": False}])
    skipped.step()
    assert "norm" not in skipped.state[layer.weight]


def test_gains_and_vectors_raise_unless_their_group_is_plain() -> None:
    layer = WNLinear(4, 3)
    for parameters in (layer.parameters(), [layer.weight_g], [layer.weight_v]):
        with pytest.raises(UsageError, match="normalized twice"):
            WNAdam(parameters)
    WNAdam(weight_norm_groups(layer))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": math.nan}, "lr is nan"),
        ({"eps": -1.0}, "eps is -1.0"),
        ({"betas": (0.9, 1.0)}, "betas are"),
        ({"max_norm": 0.0}, "max_norm is 0.0"),
        ({"v_norm": "wieght"}, "did you mean weight"),
        ({"v_norm": torch.tensor(0.0)}, "above 0"),
    ],
)
def test_settings_out_of_range_raise(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WNAdam([nn.Parameter(torch.ones(2, 2))], **settings)


def test_weights_that_cannot_be_stepped_raise() -> None:
    with pytest.raises(UsageError, match="float16"):
        WNAdam([nn.Parameter(torch.ones(2, 2, dtype=torch.float16))])
    with pytest.raises(ValueError, match=r"strides \(1, 2\)"):
        WNAdam([nn.Parameter(torch.ones(2, 3).T.contiguous().T)])
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    with pytest.raises(UsageError, match=r"shape \(3,\)"):
        WNAdam([weight], v_norm=torch.ones(3)).step()


def test_closures_and_missing_gradients_are_served() -> None:
    net = network()
    optimizer = WNAdam(weight_norm_groups(net), max_norm=math.inf)

    def closure() -> float:
        loss = net[5](torch.ones(1, 7, dtype=torch.float64)).sum()
        loss.backward()
        return loss.item()

    before = net[0].weight.detach().clone()
    assert isinstance(optimizer.step(closure), float)
    assert torch.equal(net[0].weight, before)
    assert not torch.equal(net[5].bias, network()[5].bias)
    WNAdam([nn.Parameter(torch.ones(2, 2))], max_norm=1.0).step()


def test_a_parameter_without_gradient_keeps_its_bits_and_has_no_state() -> None:
    used, unused = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = WNAdam([used, unused], 0.1)
    used.grad = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2))
    assert unused not in optimizer.state
    unused.grad = used.grad.clone()
    optimizer.step()  # its first step, the other's second
    assert [optimizer.state[p]["updates"].item() for p in (used, unused)] == [2, 1]


def test_an_empty_weight_among_others_does_not_stop_a_step(cpu_backend: None) -> None:
    weights = [nn.Parameter(torch.ones(shape)) for shape in ((0, 3), (2, 3), (3, 0))]
    alone = nn.Parameter(torch.ones(2, 3))
    for parameters in (weights, [alone]):
        for parameter in parameters:
            squares = torch.arange(float(parameter.numel())).square()  # no dL/dv is near 0
            parameter.grad = squares.reshape(parameter.shape)
        WNAdam(parameters, 0.1, max_norm=1.0).step()
    torch.testing.assert_close(weights[1], alone)
    assert not torch.equal(alone, torch.ones(2, 3))


def test_a_sparse_gradient_is_refused_by_name() -> None:
    table = nn.Embedding(4, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    optimizer = WNAdam(table.parameters())
    with pytest.raises(UsageError, match=r"sparse_coo for a parameter of shape \(4, 3\)"):
        optimizer.step()
    assert not optimizer.state


def test_clipping_from_outside_sees_the_gradient_of_w() -> None:
    # dL/dw = (5, 0) at w = (3, 4), n = 10: dg = 3, dv = g/n (3.2, -2.4), so the norms differ.
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = WNAdam([weight], 0.0, v_norm=torch.tensor(10.0), max_norm=math.inf)
    weight.grad = torch.tensor([[5.0, 0.0]])
    outside = nn.utils.clip_grad_norm_([weight], math.inf)
    optimizer.step()
    assert float(outside) == pytest.approx(5.0)
    assert float(optimizer.grad_norm) == pytest.approx(math.hypot(3.0, 0.5 * 4.0))


def test_several_groups_keep_their_own_rates_and_starting_norms() -> None:
    weights = [nn.Parameter(torch.tensor([[3.0, 4.0]])) for _ in range(3)]
    optimizer = WNAdam(
        [
            {"params": weights[:1], "lr": 0.0},
            {"params": weights[1:2], "v_norm": "unit"},
            {"params": weights[2:], "weight_norm": False},
        ],
        0.1,
        eps=1e-30,
    )
    for weight in weights:
        weight.grad = torch.tensor([[5.0, 0.0]])
    optimizer.step()
    assert weights[0].tolist() == [[3.0, 4.0]]
    # As the first step's hand numbers, with v = (0.6, 0.8): v' = (0.5, 0.9), g' = 4.9.
    length = math.hypot(0.5, 0.9)
    assert weights[1].tolist()[0] == pytest.approx([4.9 * 0.5 / length, 4.9 * 0.9 / length])
    assert weights[2].tolist()[0] == pytest.approx([2.9, 4.0])


SPECS = [
    (OptimizerSpec("adam", 0.02, max_grad_norm=0.5), WNAdam, torch.optim.Adam),
    (OptimizerSpec("adamax", 0.02, max_grad_norm=0.5), WNAdamax, torch.optim.Adamax),
    (OptimizerSpec("rmsprop", 0.02, 0.01), WNRMSprop, torch.optim.RMSprop),
]


@pytest.mark.parametrize(("spec", "normalizing", "plain"), SPECS)
def test_a_spec_builds_the_form_that_the_groups_ask_for(
    spec: OptimizerSpec, normalizing: type, plain: type
) -> None:
    for storage, kind in (("w", normalizing), ("gv", ClippedStep)):
        net = network(storage=storage)
        optimizer = spec.build(weight_norm_groups(net))
        assert type(optimizer) is kind
        if isinstance(optimizer, ClippedStep):
            assert type(optimizer.optimizer) is plain
        assert {group["lr"] for group in optimizer.param_groups} == {0.02}
        walk(net, optimizer.step)
        assert optimizer.grad_norm.shape == ()
        assert math.isfinite(optimizer.grad_norm)
        state = copy.deepcopy(optimizer.state_dict())
        resumed = spec.build(weight_norm_groups(net))
        resumed.load_state_dict(state)
        resumed.zero_grad()
        assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(("spec", "normalizing", "plain"), SPECS)
def test_both_storages_built_by_a_spec_walk_the_same_trajectory(
    spec: OptimizerSpec, normalizing: type, plain: type
) -> None:
    nets = [network(storage=storage) for storage in ("w", "gv")]
    start = network()
    for net in nets:
        walk(net, spec.build(weight_norm_groups(net)).step)
    assert distance(nets[0], nets[1], start) < SAME_64


def test_clipped_step_clips_as_torch_does() -> None:
    net, other = network(storage="gv"), network(storage="gv")
    spec = OptimizerSpec("adam", 0.02, max_grad_norm=0.5)
    clipped = spec.build([{"params": list(net.parameters())}])
    expected = torch.optim.Adam(other.parameters(), 0.02)
    walk(net, clipped.step)

    def reference_step() -> None:
        nn.utils.clip_grad_norm_(other.parameters(), 0.5)
        expected.step()

    walk(other, reference_step)
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamx"}, "did you mean adam"),
        ({"learning_rate": -1.0}, "lr is -1.0"),
        ({"alpha": 1.0}, "alpha is 1.0"),
        ({"max_grad_norm": -2.0}, "max_norm is -2.0"),
        ({"v_norm": "long"}, "v_norm is 'long'"),
    ],
)
def test_a_spec_that_cannot_be_built_raises(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OptimizerSpec(**settings)


@pytest.mark.parametrize("max_norm", [None, math.inf, 1e-3])
def test_a_step_forms_each_gradient_once_whether_it_clips_or_not(
    monkeypatch: pytest.MonkeyPatch, max_norm: float | None
) -> None:
    monkeypatch.setattr(normalizing_step, "use_numba", lambda tensor: False)
    net = network()
    optimizer = WNAdam(weight_norm_groups(net), max_norm=max_norm)
    formed = []
    blocks = optimizer_aten._blocks

    def counted(*args: Any) -> Iterator[Any]:
        for block in blocks(*args):
            formed.append(block)
            yield block

    monkeypatch.setattr(optimizer_aten, "_blocks", counted)
    net(torch.ones(1, 2, 5, 5, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert len(formed) == 2  # one per normalized layer, each of one block
    assert math.isfinite(optimizer.grad_norm) == (max_norm is not None)


def test_a_norm_that_overflows_is_measured_and_changes_nothing() -> None:
    weight, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(5))
    weight.grad, bias.grad = torch.ones(2, 2), torch.full((5,), 1.5e19)  # their squares overflow
    optimizer = WNAdam([weight, bias], 0.1, max_norm=math.inf)
    optimizer.step()
    assert torch.allclose(bias, torch.full((5,), 0.9))  # Adam's first step
    assert weight.isfinite().all()


def test_bfloat16_weights_keep_a_float32_master_through_a_save() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16))
    wide = nn.Parameter(weight.detach().float())
    optimizer, expected = WNAdam([weight], 1e-3), WNAdam([wide], 1e-3)
    for step in range(6):
        weight.grad = torch.tensor([[1.0, -2.0]], dtype=torch.bfloat16)
        wide.grad = weight.grad.float()
        optimizer.step()
        expected.step()
        assert torch.equal(optimizer.state[weight]["master"], wide)
        assert torch.equal(weight, wide.bfloat16())
        if step == 2:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = WNAdam([weight], 1e-3)
            optimizer.load_state_dict(state)
    with torch.no_grad():
        weight.copy_(torch.tensor([[1.0, 0.5]]))
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert weight.tolist() == [[1.0, 0.5]]
    assert optimizer.state[weight]["master"].tolist() == [[1.0, 0.5]]


def test_a_deepcopied_optimizer_keeps_its_clipping() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    copied = copy.deepcopy(WNAdam([weight], max_norm=0.5))
    assert copied.max_norm == 0.5
    copied.param_groups[0]["params"][0].grad = torch.ones(1, 2)
    copied.step()
    assert float(copied.grad_norm) == pytest.approx(math.sqrt(2))


def test_momentum_out_of_range_raises() -> None:
    with pytest.raises(UsageError, match=r"momentum is 1\.0"):
        WNSGD([nn.Parameter(torch.ones(2, 2))], momentum=1.0)
