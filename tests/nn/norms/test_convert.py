"""Conversions: the same function, the same objects, and the optimizer's state carried over."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.reference import effective_weight
from wnrl.nn.norms.catalogue import get_norm
from wnrl.nn.norms.convert import convert_, fold_
from wnrl.nn.norms.weight import weight_normalization
from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear, set_vector_norms_, weight_norm_groups
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.nn.weight_norm.storages import export_gv, to_gv_, to_w_
from wnrl.optim.step import ClippedStep
from wnrl.optim.weight_norm import WNSGD, WNAdam, WNAdamax, WNRAdam, WNRMSprop

STORAGES = ["gv", "w"]
ROUNDING_64 = 1e-12  # float64 sums of tens of terms
ROUNDING_BF16 = 4 * 2.0**-8  # g, v and twice w, each rounded once
TRAJECTORY_64 = 1e-9  # rounding after tens of updates, whose rules divide by small moments


class Doubled(nn.Linear):
    """Not exactly a linear layer: it must be left alone."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Network(nn.Module):
    """Containers, a module used twice, a tied weight, a subclass and an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")
        self.shared = nn.Linear(4, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4, bias=False), self.shared, nn.Tanh()])
        self.named = nn.ModuleDict({"tied": nn.Linear(4, 4), "own": Doubled(4, 4)})
        self.named["tied"].weight = self.layers[0].weight
        self.lstm = nn.LSTM(4, 3, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x).mean(dim=(2, 3))
        for layer in self.layers:
            h = self.shared(layer(h))
        h = self.named["own"](self.named["tied"](h))
        output: Tensor = self.lstm(h.unsqueeze(0))[0]
        return output


def network() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network().double()


def of_torch(name: str, layer: nn.Module) -> bool:
    return not isinstance(layer, Doubled)


def image() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 2, 4, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("storage", STORAGES)
def test_converting_and_folding_keep_the_function_and_every_object(storage: str) -> None:
    net, x = network(), image()
    expected, bias, modules = net(x).detach(), net.shared.bias, list(net.modules())
    original = copy.deepcopy(net.state_dict())
    assert convert_(net, storage=storage, where=of_torch) is net
    assert torch.allclose(net(x), expected, rtol=ROUNDING_64)
    assert [type(m) for m in (net.conv, net.shared, net.lstm)] == [WNConv2d, WNLinear, WNLSTM]
    assert type(net.named["own"]) is Doubled
    assert list(map(id, net.modules())) == list(map(id, modules))
    assert net.layers[1] is net.shared
    assert net.shared.bias is bias
    assert fold_(net) is net
    assert [type(m) for m in (net.conv, net.shared, net.lstm)] == [nn.Conv2d, nn.Linear, nn.LSTM]
    assert torch.allclose(net(x), expected, rtol=ROUNDING_64)
    folded = net.state_dict()
    assert set(folded) == set(original)
    assert all(torch.allclose(folded[name], value) for name, value in original.items())
    assert "storage" not in repr(net)


@pytest.mark.parametrize("backend", ["aten", "numba", "reference"])
def test_layers_are_converted_with_every_backend(
    backend: str, choose_backend: Callable[[str], None]
) -> None:
    choose_backend(backend)
    net, x = network(), image()
    expected = net(x).detach()
    assert torch.allclose(convert_(net, where=of_torch)(x), expected, rtol=ROUNDING_64)


@pytest.mark.parametrize("storage", STORAGES)
def test_tied_weights_stay_tied_and_count_once(storage: str) -> None:
    net = convert_(network(), storage=storage, where=of_torch)
    names = ("weight_g", "weight_v") if storage == "gv" else ("weight",)
    for name in names:
        assert getattr(net.layers[0], name) is getattr(net.named["tied"], name)
    fold_(net)
    assert net.layers[0].weight is net.named["tied"].weight


def test_a_layer_alone_is_converted_and_where_leaves_layers_out() -> None:
    layer = nn.Linear(3, 2)
    assert type(convert_(layer)) is WNLinear
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    convert_(net, where=lambda name, layer: name != "1")
    assert [type(m) for m in net] == [WNLinear, nn.Linear]


def test_hooks_modes_and_frozen_parameters_survive_a_conversion() -> None:
    net, calls = nn.Sequential(nn.Linear(3, 2)).eval(), []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    net[0].weight.requires_grad_(False)
    convert_(net)(torch.ones(1, 3))
    assert calls == [1]
    assert not net[0].training
    assert not net[0].weight_v.requires_grad
    assert not fold_(net)[0].weight.requires_grad


def test_converted_layers_are_copied_and_loaded_like_built_ones() -> None:
    net, x = convert_(network(), where=of_torch), image()
    other = convert_(network(), where=of_torch)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.5)
    other.load_state_dict(net.state_dict())
    assert torch.allclose(other(x), net(x), rtol=ROUNDING_64)
    assert torch.allclose(copy.deepcopy(net)(x), net(x), rtol=ROUNDING_64)


def test_records_of_weight_normalized_layers_are_taken_with_their_options() -> None:
    record = weight_normalization(gain="log", max_v_norm=3.0)
    plain, state = nn.Linear(3, 2), torch.random.get_rng_state()
    layer = convert_(plain, record)
    assert isinstance(layer, WNLinear)
    assert (layer.storage, layer.gain, layer.max_v_norm) == ("gv", "log", 3.0)
    assert torch.equal(torch.random.get_rng_state(), state)
    fixed = convert_(nn.LSTM(3, 2), weight_normalization("gv", gain="fixed"))
    assert isinstance(fixed, WNLSTM)
    assert not fixed.weight_ih_l0_g.requires_grad
    assert fixed.weight_ih_l0_v.requires_grad
    stored = convert_(nn.Linear(3, 2), get_norm("weight"), storage="w")
    assert isinstance(stored, WNLinear)
    assert stored.storage == "w"
    with pytest.raises(UsageError, match="require storage='gv'"):
        convert_(nn.Linear(3, 2), record, storage="w")


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        ("batch", "'batch', which normalizes between a layer and its nonlinearity"),
        ("weight-mean", "between a layer.*build the network with this norm"),
        ("none", "'none', whose layers are Linear.*fold_"),
        ("wieght", "did you mean weight"),
    ],
)
def test_what_is_more_or_less_than_weight_normalized_layers_is_refused(
    norm: str, words: str
) -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(UsageError, match=words):
        convert_(layer, norm)
    assert type(layer) is nn.Linear


def test_other_storages_and_layers_under_torchs_hook_raise() -> None:
    with pytest.raises(UsageError, match="storage is 'vg'"):
        convert_(nn.Linear(2, 2), storage="vg")
    with pytest.warns(FutureWarning):
        hooked = torch.nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"normalized twice.*remove_weight_norm"):
        convert_(nn.Sequential(nn.Linear(2, 2), hooked))


def test_options_are_folded_and_a_subclass_of_ours_is_left_alone() -> None:
    class Own(WNLinear):
        pass

    net = nn.Sequential(WNLinear(3, 3, gain="log", max_v_norm=9.0), WNLinear(3, 2, gain="fixed"))
    x = torch.ones(1, 3)
    expected = net(x)
    assert torch.allclose(fold_(net)(x), expected, rtol=1e-6)
    assert all(p.requires_grad for p in net.parameters())
    own = Own(3, 2)
    assert fold_(own).storage == "gv"
    assert set(dict(own.named_parameters())) == {"bias", "weight_g", "weight_v"}


# Trajectories: storage gv with torch's optimizer is the truth.

RULES: dict[str, tuple[Callable[..., torch.optim.Optimizer], type[torch.optim.Optimizer]]] = {
    "adam": (lambda p: torch.optim.Adam(p, 0.02, (0.8, 0.99)), WNAdam),
    "adamax": (lambda p: torch.optim.Adamax(p, 0.02), WNAdamax),
    "radam": (lambda p: torch.optim.RAdam(p, 0.02), WNRAdam),
    "rmsprop": (lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9), WNRMSprop),
    "centered": (lambda p: torch.optim.RMSprop(p, 0.01, centered=True, eps=0.1), WNRMSprop),
    "sgd": (lambda p: torch.optim.SGD(p, 0.05), WNSGD),
    "momentum": (lambda p: torch.optim.SGD(p, 0.02, momentum=0.9), WNSGD),
}


def small() -> nn.Sequential:
    """Two normalized layers and a plain head, with ||v|| and the sign of g of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(WNConv2d(2, 3, 2), nn.Tanh(), nn.Flatten(), WNLinear(27, 4))
        net.append(nn.Linear(4, 2))
    set_vector_norms_(net, "paper")
    with torch.no_grad():
        net[3].weight_g[1] *= -1  # type: ignore[operator,union-attr]  # a Tensor
    return net.double()


def run(net: nn.Module, optimizer: Any, updates: int) -> None:
    x = image()
    for _ in range(updates):
        optimizer.zero_grad()
        (net(x) - x[:, :2, 0, 0]).square().mean().backward()
        optimizer.step()


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=TRAJECTORY_64, atol=TRAJECTORY_64) for a, b in pairs)


@pytest.mark.parametrize("rule", RULES)
def test_a_trajectory_goes_on_in_storage_w_and_back(rule: str) -> None:
    make, kind = RULES[rule]
    truth, net = small(), small()
    optimizer, whole = make(net.parameters()), make(truth.parameters())
    run(truth, whole, 30)
    run(net, optimizer, 10)
    before = net(image())
    stored = to_w_(net, optimizer)
    assert type(stored) is kind
    assert torch.allclose(net(image()), before, rtol=ROUNDING_64)
    assert set(dict(net[3].named_parameters())) == {"weight", "bias"}
    run(net, stored, 10)
    back = to_gv_(net, stored)
    assert type(back) is type(whole)
    run(net, back, 10)
    assert same(net, truth)


def test_a_bfloat16_network_goes_on_in_storage_w_with_a_float32_master() -> None:
    net = small().bfloat16()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    x = image().bfloat16()

    def update(by: Any) -> None:
        by.zero_grad()
        net(x).float().square().mean().backward()
        by.step()

    update(optimizer)
    before = net(x)
    parts = {name: value.detach().clone() for name, value in net.named_parameters()}
    moments = {
        name: {key: value.clone() for key, value in optimizer.state[parameter].items()}
        for name, parameter in net.named_parameters()
    }
    stored = to_w_(net, optimizer)
    assert torch.equal(net(x), before)
    g, v, state = parts["3.weight_g"], parts["3.weight_v"], stored.state[net[3].weight]
    assert torch.equal(state["master"], effective_weight(v.float(), g.float()))
    assert torch.equal(net[3].weight, state["master"].bfloat16())
    assert torch.equal(state["norm"].flatten(), v.float().norm(dim=1))
    for name, suffix in (("3.weight_v", ""), ("3.weight_g", "_g")):
        for moment in ("exp_avg", "exp_avg_sq"):
            assert state[moment + suffix].dtype == torch.float32
            assert torch.equal(state[moment + suffix], moments[name][moment].float())
    assert torch.equal(stored.state[net[3].bias]["master"], parts["3.bias"].float())
    assert {p.dtype for p in net.parameters()} == {torch.bfloat16}
    # The same weights in float32 take the same steps: nothing of the state is rounded on the way.
    wide = copy.deepcopy(net).float()
    with torch.no_grad():
        for mine, other in zip(wide.parameters(), net.parameters(), strict=True):
            mine.copy_(stored.state[other]["master"])
    fresh = WNAdam(weight_norm_groups(wide), 0.02)
    state_dict = copy.deepcopy(stored.state_dict())
    for entry in state_dict["state"].values():
        del entry["master"]
    fresh.load_state_dict(state_dict)
    update(stored)
    for mine, other in zip(wide.parameters(), net.parameters(), strict=True):
        assert other.grad is not None
        mine.grad = other.grad.float()
    fresh.step()
    for mine, other in zip(wide.parameters(), net.parameters(), strict=True):
        assert torch.equal(stored.state[other]["master"], mine)


@pytest.mark.parametrize("rule", RULES)
def test_a_bfloat16_network_goes_back_to_gv_with_each_number_rounded_once(rule: str) -> None:
    net = small().bfloat16()
    stored = to_w_(net, RULES[rule][0](net.parameters()))
    x = image().bfloat16()
    for _ in range(2):
        stored.zero_grad()
        net(x).float().square().mean().backward()
        stored.step()
    before, exact = net[3].weight.detach().clone(), export_gv(net, stored)
    state = {name: value.clone() for name, value in stored.state[net[3].weight].items()}
    back = to_gv_(net, stored)
    for name, parameter in net.named_parameters():
        assert parameter.dtype == torch.bfloat16
        assert torch.equal(parameter, exact[name].bfloat16())
    for moment in stored.rule.moments:
        for of, suffix in (("3.weight_v", ""), ("3.weight_g", "_g")):
            held = back.state[net.get_parameter(of)][moment]
            assert torch.equal(held, state[moment + suffix].bfloat16())
    assert torch.allclose(net[3].weight, before, rtol=ROUNDING_BF16)
    back.zero_grad()
    net(x).float().square().mean().backward()
    back.step()
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())


def test_groups_learning_rates_and_clipping_are_carried_over() -> None:
    truth, net = small(), small()

    def make(network: nn.Sequential) -> ClippedStep:
        groups = [
            {"params": [*network[:4].parameters()], "lr": 0.03},
            {"params": [*network[4].parameters()], "lr": 0.001},
        ]
        return ClippedStep(torch.optim.Adam(groups), 0.05)

    whole, optimizer = make(truth), make(net)
    run(truth, whole, 20)
    run(net, optimizer, 5)
    stored = to_w_(net, optimizer)
    assert [(g["lr"], g["weight_norm"]) for g in stored.param_groups] == [
        (0.03, True),
        (0.03, False),
        (0.001, False),
    ]
    run(net, stored, 10)
    back = to_gv_(net, stored)
    assert isinstance(back, ClippedStep)
    assert back.max_norm == 0.05
    run(net, back, 5)
    assert same(net, truth)


def test_an_optimizer_that_never_stepped_is_carried_over_too() -> None:
    truth, net = small(), small()
    run(truth, torch.optim.Adam(truth.parameters(), 0.02), 10)
    run(net, to_gv_(net, to_w_(net, torch.optim.Adam(net.parameters(), 0.02))), 10)
    assert same(net, truth)
    one, other = small(), small()
    to_w_(one, torch.optim.Adam(one.parameters(), 0.02))
    run(one, fresh := WNAdam(weight_norm_groups(one), 0.02, v_norm="unit"), 0)
    back = to_gv_(one, fresh)
    set_vector_norms_(other, "unit")
    assert torch.allclose(one[3].weight_v.norm(dim=1), torch.ones(4, dtype=torch.float64))  # type: ignore[operator,union-attr]  # a Tensor
    assert isinstance(back, torch.optim.Adam)


def test_tied_layers_stay_tied_through_both_conversions() -> None:
    net = convert_(network(), where=of_torch)
    stored = to_w_(net, torch.optim.Adam(net.parameters()))
    assert net.layers[0].weight is net.named["tied"].weight
    run_once = net(image()).square().sum()
    run_once.backward()
    stored.step()
    to_gv_(net, stored)
    assert net.layers[0].weight_v is net.named["tied"].weight_v
    assert len(list(net.parameters())) == len(
        list(convert_(network(), where=of_torch).parameters())
    )


def test_a_gain_of_zero_keeps_its_direction_in_storage_w() -> None:
    net = nn.Sequential(WNLinear(3, 2, dtype=torch.float64))
    with torch.no_grad():
        net[0].weight_v.copy_(torch.tensor([[3.0, 0.0, 4.0], [1.0, 0.0, 0.0]]))
        net[0].weight_g.copy_(torch.tensor([[0.0], [2.0]]))
    stored = to_w_(net, torch.optim.SGD(net.parameters(), 0.1))
    assert torch.allclose(net[0].weight[0] * 1e12, torch.tensor([0.6, 0.0, 0.8]).double())
    to_gv_(net, stored)
    assert torch.allclose(net[0].weight_v[0], torch.tensor([3.0, 0.0, 4.0]).double())


def test_exports_hold_the_gains_and_lengths_that_the_optimizer_has() -> None:
    net, reference = small(), small()
    stored = to_w_(net, torch.optim.Adam(net.parameters(), 0.02))
    run(net, stored, 10)
    run(reference, torch.optim.Adam(reference.parameters(), 0.02), 10)
    exported = export_gv(net, stored)
    expected = reference.state_dict()
    assert set(exported) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(exported[name], value, rtol=TRAJECTORY_64, atol=TRAJECTORY_64)
    plain = export_gv(net)
    assert torch.equal(plain["3.weight_v"], net[3].weight)  # type: ignore[arg-type]  # a Tensor
    loaded = small()
    loaded.load_state_dict(plain)
    assert torch.allclose(loaded(image()), net(image()), rtol=ROUNDING_64)
    with torch.no_grad():
        exported["4.bias"].add_(1.0)
    assert not torch.equal(exported["4.bias"], net[4].bias)  # type: ignore[arg-type]  # a Tensor


def test_exports_of_plain_networks_load_into_torchs_own_weight_norm() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer, x = WNAdam(net.parameters(), 0.1), torch.ones(2, 3)
    net(x).square().sum().backward()
    optimizer.step()
    with pytest.warns(FutureWarning):
        theirs = nn.Sequential(
            torch.nn.utils.weight_norm(nn.Linear(3, 4)),
            nn.Tanh(),
            torch.nn.utils.weight_norm(nn.Linear(4, 2)),
        )
    theirs.load_state_dict(export_gv(net, optimizer))
    assert torch.allclose(theirs(x), net(x), rtol=1e-5)


def test_optimizers_and_settings_without_a_kin_raise_and_change_nothing() -> None:
    net = small()
    parameters = list(net.parameters())
    for optimizer, words in (
        (torch.optim.Adagrad(parameters), "Adagrad"),
        (torch.optim.Adam(parameters, weight_decay=0.1), "weight_decay=0.1"),
        (torch.optim.Adam(parameters, amsgrad=True), "amsgrad"),
        (torch.optim.RMSprop(parameters, momentum=0.9), "momentum"),
        (torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True), "nesterov"),
        (
            torch.optim.SGD(
                [{"params": parameters[:1], "momentum": 0.5}, {"params": parameters[1:]}], 0.1
            ),
            "one for all",
        ),
    ):
        with pytest.raises(UsageError, match=words):
            to_w_(net, optimizer)
    with pytest.raises(UsageError, match="Adam"):
        to_gv_(net, torch.optim.Adam(parameters))
    plain = nn.Linear(3, 2)
    with pytest.raises(UsageError, match=r"\(2, 3\).*convert_"):
        to_gv_(plain, WNAdam(plain.parameters()))
    half = WNLinear(3, 2, dtype=torch.float16)
    with pytest.raises(UsageError, match=r"a parameter is torch\.float16"):
        to_w_(half, torch.optim.Adam(half.parameters()))
    assert half.storage == "gv"
    for option in ({"gain": "log"}, {"gain": "fixed"}, {"max_v_norm": 1.0}):
        layer = WNLinear(3, 2, **option)  # type: ignore[arg-type]  # one of three
        with pytest.raises(UsageError, match="require storage='gv'"):
            to_w_(layer, torch.optim.Adam(layer.parameters()))
        assert layer.storage == "gv"
    for bound in (0.0, 1.0):
        layer = WNLinear(3, 2, storage="w")
        with pytest.raises(UsageError, match=rf"max_v_norm {bound:g}, .* set it to inf first"):
            to_gv_(layer, WNAdam([{"params": layer.parameters(), "max_v_norm": bound}]))
        assert layer.storage == "w"
    assert list(map(id, net.parameters())) == list(map(id, parameters))
