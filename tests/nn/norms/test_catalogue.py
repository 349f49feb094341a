"""The catalogue: names, records, and what each puts into a network."""

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import UsageError, setting
from wnrl.nn.networks.actor_critic import build_actor_critic
from wnrl.nn.networks.q_network import QNetwork, build_q_network
from wnrl.nn.networks.recurrent import Recurrent
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm, register_norm
from wnrl.nn.norms.layers.mean_only import MeanOnlyBatchNorm
from wnrl.nn.norms.record import KINDS, NOTHING, OTHER, SAME, SAME_ACTING, WEIGHTS, Norm
from wnrl.nn.norms.weight import weight_normalization
from wnrl.nn.weight_norm.layers import WNConv2d, WNLinear
from wnrl.optim.step import ClippedStep, OptimizerSpec, StepOptimizer
from wnrl.optim.weight_norm import WNAdam

CATALOGUE = [
    "none",
    "weight",
    "weight-mean",
    "mean",
    "batch",
    "batch-renorm",
    "layer",
    "layer-channel",
    "layer-plain",
    "rms",
    "group",
    "spectral",
    "weight-standardization",
    "projection",
    "nap",
    "dyt",
    "derf",
    "penultimate-l2",
    "simplicial",
    "l0",
    "weight-fixed-v",
    "weight-capped-v",
    "weight-fixed-gain",
    "weight-log-gain",
    "hyperball",
    "hypersphere",
    "clip",
    "spectral-grad",
    "l2-init",
    "parseval",
]


MAPS = (2, 36, 40)
SHAPES = pytest.mark.parametrize("shape", [MAPS, (3,)], ids=["maps", "vectors"])
HIDDEN = (128, 128)  # units, as agents have them where there are no frames
NAMES = pytest.mark.parametrize("name", CATALOGUE)


def network(norm: Norm, shape: tuple[int, ...] = MAPS, where: str = "") -> QNetwork:
    generator = torch.Generator().manual_seed(0)
    dtype = "uint8" if len(shape) == 3 else "float32"
    return build_q_network(
        NetworkSpec(shape, dtype, 3, norm=norm, where=where, hidden=HIDDEN), generator
    )


def observations(shape: tuple[int, ...], count: int = 6, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if len(shape) == 3:
        return torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return torch.randn(count, *shape, generator=generator)


def learn(net: nn.Module, norm: Norm, optimizer: StepOptimizer, obs: Tensor, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = net.train()(obs).square().sum()
        (loss if norm.penalty is None else loss + norm.penalty(net)).backward()
        optimizer.step()
        norm.after_step(net)


def kinds(module: nn.Module) -> list[str]:
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


def test_the_catalogue_holds_its_records_under_their_own_names() -> None:
    assert list(NORMS) == CATALOGUE
    assert all(name == norm.name for name, norm in NORMS.items())
    assert all(norm.summary and norm.paper and norm.cost for norm in NORMS.values())
    assert all(norm.kind in KINDS for norm in NORMS.values())


def test_what_a_norm_normalizes_follows_from_its_fields_unless_it_says_so() -> None:
    apart = {"dyt", "derf", "weight-mean"}  # no statistics; and weights before activations
    for name in {"weight", "batch", "layer", "spectral", "projection", "nap", "none"} - apart:
        norm = get_norm(name)
        assert dataclasses.replace(norm, normalizes="").kind == norm.kind, name
    assert {get_norm(name).kind for name in apart} == {NOTHING, WEIGHTS}
    with pytest.raises(
        UsageError, match="'layer' has normalizes 'samples': allowed are weights in"
    ):
        dataclasses.replace(get_norm("layer"), normalizes="samples")
    with pytest.raises(UsageError, match="'layer' has after 'relu': allowed are layer, activation"):
        dataclasses.replace(get_norm("layer"), after="relu")


def test_an_unknown_name_raises_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'wieght'.*none, weight.*did you mean weight"):
        get_norm("wieght")


def test_a_registered_norm_is_found_and_a_taken_name_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wnrl.nn.norms.catalogue.NORMS", dict(NORMS))
    own = Norm(
        name="mine",
        summary="groups of channels",
        paper="Wu & He 2018",
        cost="one pass",
        activation=lambda shape: nn.GroupNorm(4, shape[0]),
    )
    assert get_norm(register_norm(own).name) is own
    assert kinds(network(own)).count("GroupNorm") == 4
    with pytest.raises(UsageError, match="'none' is taken"):
        register_norm(Norm("none", "", "", ""))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("none", ["Conv2d", "ReLU", "Conv2d"]),
        ("weight", ["WNConv2d", "ReLU", "WNConv2d"]),
        ("weight-mean", ["WNConv2d", "MeanOnlyBatchNorm", "ReLU"]),
        ("mean", ["Conv2d", "MeanOnlyBatchNorm", "ReLU"]),
        ("batch", ["Conv2d", "BatchNorm2d", "ReLU"]),
        ("batch-renorm", ["Conv2d", "BatchRenorm", "ReLU"]),
        ("layer", ["Conv2d", "LayerNorm", "ReLU"]),
        ("layer-channel", ["Conv2d", "ChannelLayerNorm", "ReLU"]),
        ("layer-plain", ["Conv2d", "LayerNorm", "ReLU"]),
        ("rms", ["Conv2d", "RMSNorm", "ReLU"]),
        ("group", ["Conv2d", "GroupNorm", "ReLU"]),
        ("spectral", ["SpectralConv2d", "ReLU", "SpectralConv2d"]),
        ("weight-standardization", ["StandardizedConv2d", "ReLU", "StandardizedConv2d"]),
        ("projection", ["ProjectedConv2d", "BatchNorm2d", "ReLU"]),
        ("nap", ["ProjectedConv2d", "LayerNorm", "ReLU"]),
        ("dyt", ["Conv2d", "DynamicTanh", "ReLU"]),
        ("derf", ["Conv2d", "DynamicErf", "ReLU"]),
        ("weight-fixed-v", ["WNConv2d", "ReLU", "WNConv2d"]),
        ("weight-capped-v", ["WNConv2d", "ReLU", "WNConv2d"]),
        ("weight-fixed-gain", ["WNConv2d", "ReLU", "WNConv2d"]),
        ("weight-log-gain", ["WNConv2d", "ReLU", "WNConv2d"]),
        ("hyperball", ["MarkedConv2d", "ReLU", "MarkedConv2d"]),
        ("hypersphere", ["SphereConv2d", "UnitLength", "ReLU"]),
        ("clip", ["MarkedConv2d", "ReLU", "MarkedConv2d"]),
        ("spectral-grad", ["MarkedConv2d", "ReLU", "MarkedConv2d"]),
        ("l2-init", ["AnchoredConv2d", "ReLU", "AnchoredConv2d"]),
        ("parseval", ["MarkedConv2d", "ReLU", "MarkedConv2d"]),
    ],
)
def test_the_normalization_stands_before_the_nonlinearity_and_not_on_the_head(
    name: str, first: list[str]
) -> None:
    found = kinds(network(get_norm(name)))
    assert found[:3] == first
    assert found[-2:] == ["ReLU", "Linear"]


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("penultimate-l2", ["Linear", "ReLU", "UnitLength", "Linear"]),
        ("simplicial", ["Linear", "Simplicial", "ReLU", "Linear"]),
    ],
)
def test_a_norm_of_features_is_on_the_last_hidden_layer_alone(name: str, last: list[str]) -> None:
    found = kinds(network(get_norm(name)))
    assert found[:3] == ["Conv2d", "ReLU", "Conv2d"]
    assert found[-4:] == last
    everywhere = kinds(network(get_norm(name), where="torso"))
    assert everywhere.count(last[1] if name == "simplicial" else last[2]) == 4


@pytest.mark.parametrize("name", ["layer-plain", "nap"])
def test_nothing_in_a_plain_layer_norm_learns(name: str) -> None:
    found = [m for m in network(get_norm(name)).modules() if isinstance(m, nn.LayerNorm)]
    assert len(found) == 4
    assert not [p for m in found for p in m.parameters()]


def test_layer_norm_spans_the_whole_map_and_batch_norm_has_torchs_defaults() -> None:
    maps = [m for m in network(get_norm("layer")).modules() if isinstance(m, nn.LayerNorm)]
    assert [m.normalized_shape for m in maps] == [(32, 8, 9), (64, 3, 3), (64, 1, 1), (512,)]
    batch = [m for m in network(get_norm("batch")).modules() if isinstance(m, nn.BatchNorm2d)]
    assert [(m.num_features, m.eps, m.momentum) for m in batch] == [
        (32, 1e-5, 0.1),
        (64, 1e-5, 0.1),
        (64, 1e-5, 0.1),
    ]


@pytest.mark.parametrize("name", ["batch", "mean", "weight-mean"])
def test_batch_statistics_give_way_to_running_ones_in_eval_mode(name: str) -> None:
    assert get_norm(name).smallest_batch == 2
    net = network(get_norm(name), (3,))
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    learning = net(x)
    net.eval()
    assert not torch.allclose(net(x), learning)
    assert torch.allclose(net(x)[:1], net(x[:1]), atol=1e-6)


def test_weight_is_stored_as_w_or_as_g_and_v_with_the_optimizer_that_fits() -> None:
    spec = OptimizerSpec("adam", 1e-3)
    stored = network(get_norm("weight"))
    computed = network(weight_normalization("gv"))
    assert {m.storage for m in stored.modules() if isinstance(m, WNConv2d | WNLinear)} == {"w"}
    assert {m.storage for m in computed.modules() if isinstance(m, WNConv2d | WNLinear)} == {"gv"}
    optimizer = get_norm("weight").optimizer(stored, spec)
    assert isinstance(optimizer, WNAdam)
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 6]
    for norm, net in ((weight_normalization("gv"), computed), (NORMS["none"], None)):
        plain = norm.optimizer(net or network(norm), spec)
        assert isinstance(plain, ClippedStep)


def test_mean_only_normalization_has_batch_norms_momentum() -> None:
    found = [m for m in network(get_norm("mean")).modules() if isinstance(m, MeanOnlyBatchNorm)]
    assert [(m.num_features, m.momentum) for m in found] == [
        (32, 0.1),
        (64, 0.1),
        (64, 0.1),
        (512, 0.1),
    ]
    marked = network(get_norm("weight-mean"))
    assert isinstance(get_norm("weight-mean").optimizer(marked, OptimizerSpec()), WNAdam)


def test_a_cap_is_kept_after_every_step() -> None:
    norm = weight_normalization("gv", max_v_norm=0.5)
    net = network(norm, (3,))
    x = torch.ones(2, 3)
    before = net(x)
    norm.after_step(net)
    layers = [m for m in net.modules() if isinstance(m, WNLinear)]
    lengths = torch.cat([m.weight_v.norm(dim=1) for m in layers])
    assert lengths.max().item() == pytest.approx(0.5)
    assert torch.allclose(net(x), before, rtol=1e-5)
    with pytest.raises(UsageError, match="max_v_norm"):
        network(weight_normalization("w", max_v_norm=0.5))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_network_of_every_normalization_learns_a_regression(name: str) -> None:
    norm, generator = get_norm(name), torch.Generator().manual_seed(2)
    net = network(norm, (3,))
    optimizer = norm.optimizer(net, OptimizerSpec("adam", 3e-3, max_grad_norm=10.0))
    x = torch.randn(64, 3, generator=generator)
    y = torch.stack([x[:, 0] * x[:, 1], x[:, 2].abs(), x.sum(1)], dim=1)
    losses = []
    for _ in range(150):
        loss = (net(x) - y).square().mean()
        optimizer.zero_grad()
        (loss if norm.penalty is None else loss + norm.penalty(net)).backward()
        optimizer.step()
        norm.after_step(net)
        losses.append(loss.item())
    # Rows of zero mean cannot see the sum of the inputs, which is the third of the targets.
    share = 0.5 if name == "weight-standardization" else 0.1
    assert losses[-1] < share * losses[0]
    assert math.isfinite(optimizer.grad_norm)


START_TOLERANCE = 3e-3  # four layers of 1 / sqrt(1 + eps), with the largest eps, 1e-3


@SHAPES
@NAMES
def test_the_initial_function_is_nones_where_the_table_says_so(
    name: str, shape: tuple[int, ...]
) -> None:
    norm, obs = get_norm(name), observations(shape)
    for training in (True, False):
        theirs = network(NORMS["none"], shape).train(training)(obs)
        ours = network(norm, shape).train(training)(obs)
        close = torch.allclose(ours, theirs, rtol=START_TOLERANCE, atol=1e-3)
        if norm.start == SAME:
            rounded = norm.storages == ("gv",)  # w is computed
            assert torch.equal(ours, theirs) or (rounded and torch.allclose(ours, theirs, 1e-4))
        else:
            assert close == (norm.start == SAME_ACTING and not training)
    assert norm.start in (SAME, SAME_ACTING, OTHER)


@NAMES
def test_the_same_seed_draws_the_same_weights(name: str) -> None:
    if name == "hypersphere":
        return  # it makes the rows that are drawn orthogonal
    theirs = dict(network(NORMS["none"]).named_parameters())
    for key, weight in network(get_norm(name)).named_parameters():
        if key in theirs and key.endswith("weight"):
            angle = torch.nn.functional.cosine_similarity(
                weight.flatten(1), theirs[key].flatten(1), dim=1
            )
            assert angle.min().item() == pytest.approx(1.0, abs=1e-5)


@SHAPES
@NAMES
def test_acting_changes_neither_the_function_nor_any_buffer(
    name: str, shape: tuple[int, ...]
) -> None:
    norm, obs = get_norm(name), observations(shape)
    net = network(norm, shape)
    learn(net, norm, norm.optimizer(net, OptimizerSpec(learning_rate=1e-3)), obs, 3)
    before = copy.deepcopy(net.state_dict())
    net.eval()
    with torch.no_grad():
        first = net(obs)
        net(observations(shape, seed=2))
        assert torch.equal(net(obs), first)
        # Each observation by itself: nobody else's enter its values.
        assert torch.allclose(net(obs[:1]), first[:1], rtol=1e-4, atol=1e-5)
    after = net.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@NAMES
def test_saved_loaded_and_continued_equals_never_stopped(name: str) -> None:
    norm, obs = get_norm(name), observations((3,))
    spec = OptimizerSpec(learning_rate=1e-2, max_grad_norm=10.0, total_updates=8)
    net = network(norm, (3,))
    optimizer = norm.optimizer(net, spec)
    learn(net, norm, optimizer, obs, 3)
    other = network(norm, (3,))
    continued = norm.optimizer(other, spec)
    other.load_state_dict(net.state_dict())
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    learn(net, norm, optimizer, obs, 2)
    learn(other, norm, continued, obs, 2)
    theirs = other.state_dict()
    assert all(torch.equal(theirs[key], value) for key, value in net.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
@NAMES
def test_forward_and_backward_in_float64(name: str, training: bool) -> None:
    norm = get_norm(name)
    net = network(norm, (3,)).double()
    obs = observations((3,)).double().requires_grad_()
    if name == "batch-renorm":
        training = False  # a difference quotient sees r and d move: test_batch_renorm

    def forward(obs: Tensor) -> Tensor:
        torso = copy.deepcopy(net.torso.layers).train(training)  # it may change its buffers
        values: Tensor = net.head(torso(obs))
        return values

    assert forward(obs).dtype == torch.float64
    assert torch.autograd.gradcheck(forward, (obs,))
    net.head(net.torso.layers.train(training)(obs)).square().sum().backward()
    check_gradients(net)


def check_gradients(net: nn.Module) -> None:
    for key, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert bool(parameter.grad.isfinite().all()), key


def q_network(norm: Norm, **settings: Any) -> nn.Module:
    return build_q_network(
        NetworkSpec((2, 8, 6), "uint8", 3, norm=norm, hidden=(32,), **settings), torch.Generator()
    )


def actor_critic(norm: Norm, **settings: Any) -> nn.Module:
    return build_actor_critic(
        NetworkSpec((2, 8, 6), "uint8", 3, norm=norm, hidden=(32,), **settings), torch.Generator()
    )


NETWORKS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    "impala": (q_network, {"torso": "impala"}),
    "shared": (actor_critic, {}),
    "separate": (actor_critic, {"separate": True}),
    "separate impala": (actor_critic, {"torso": "impala", "separate": True}),
    "recurrent Q": (q_network, {"lstm_units": 5, "dueling": True}),
    "recurrent actor-critic": (actor_critic, {"torso": "impala", "lstm_units": 5}),
}


@pytest.mark.parametrize("kind", NETWORKS)
@NAMES
def test_every_normalization_goes_through_every_network(name: str, kind: str) -> None:
    norm, (build, settings) = get_norm(name), NETWORKS[kind]
    if name == "group":
        norm = norm.with_settings({"groups": 8})
    net = build(norm, **settings)
    obs = observations((2, 8, 6), count=6)
    first = torch.zeros(3, 2, dtype=torch.bool)
    first[1, 0] = True
    for training in (False, True):
        net.train(training)
        output = net(obs)
        if isinstance(net, Recurrent):
            output, _ = net.unroll(obs.reshape(3, 2, 2, 8, 6), first, net.initial_state(2))
    parts = output if isinstance(output, tuple) else (output,)
    assert all(bool(part.isfinite().all()) for part in parts)
    optimizer = norm.optimizer(net, OptimizerSpec(learning_rate=1e-3, total_updates=4))
    sum(part.square().sum() for part in parts).backward()
    before = copy.deepcopy(net.state_dict())
    check_gradients(net)
    optimizer.step()
    norm.after_step(net)
    assert all(bool(p.isfinite().all()) for p in net.parameters())
    moved = [key for key, p in net.named_parameters() if not torch.equal(p, before[key])]
    assert {key.split(".")[0] for key in moved} == {key for key, _ in net.named_children()}


@NAMES
def test_all_outside_the_place_is_as_in_none(name: str) -> None:
    norm = get_norm(name)
    net, plain = network(norm, where="penultimate"), network(NORMS["none"])
    placed = network(norm)
    modules, theirs = (dict(each.torso.layers.named_children()) for each in (net, plain))
    for key, module in modules.items():
        if key.startswith("fc"):
            assert type(module) is type(placed.torso.layers.get_submodule(key))
        else:
            assert type(module) is type(theirs[key])
            for ours, other in zip(module.parameters(), theirs[key].parameters(), strict=True):
                assert torch.equal(ours, other)
    assert set(theirs) <= set(modules)
    assert type(net.head) is nn.Linear
    assert torch.equal(net.head.weight, plain.head.weight)  # type: ignore[arg-type]  # a Tensor


def test_any_layer_can_be_named() -> None:
    names = [
        key
        for key, module in network(get_norm("weight"), where="conv2").named_modules()
        if isinstance(module, WNConv2d | WNLinear)
    ]
    assert names == ["torso.layers.conv2"]


def test_a_norm_of_weights_can_be_asked_for_at_the_head() -> None:
    for name in ("weight", "spectral", "weight-standardization"):
        net = network(get_norm(name), where="all")
        assert type(net.head) is type(get_norm(name).linear(1, 1))
    dueling = build_q_network(
        NetworkSpec((3,), "float32", 2, norm=get_norm("spectral"), where="advantage", dueling=True),
        torch.Generator(),
    )
    assert [type(m).__name__ for m in dueling.head.children()] == ["Linear", "SpectralLinear"]


def test_projection_holds_rows_and_nap_matrices_and_the_rate_falls() -> None:
    obs = observations((3,))
    for name in ("projection", "nap"):
        norm = get_norm(name)
        net = network(norm, (3,))
        with torch.no_grad():  # as data-dependent initialization may, before the optimizer is made
            net.torso.layers.hidden1.weight.mul_(2.0)  # type: ignore[operator,union-attr]
        before = net.torso.layers.hidden1.weight.detach().clone()  # type: ignore[operator,union-attr]
        optimizer = norm.optimizer(net, OptimizerSpec(learning_rate=0.1, total_updates=4))
        learn(net, norm, optimizer, obs, 3)
        after = net.torso.layers.hidden1.weight  # type: ignore[union-attr]
        assert not torch.allclose(after, before, atol=1e-2)  # type: ignore[arg-type]
        if name == "projection":
            assert after.norm(dim=1).tolist() == pytest.approx([1.0] * 128)  # type: ignore[operator]
            assert optimizer.param_groups[0]["lr"] == 0.1
        else:
            assert after.norm().item() == pytest.approx(before.norm().item())  # type: ignore[operator]
            # 1 - (1 - 0.01) 2 / 4 for the third update
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.505)


ALTERNATIVES: dict[str, Any] = {
    "eps": 0.03,
    "momentum": 0.5,
    "statistics": "joint",
    "r_max": 2.0,
    "d_max": 1.0,
    "start_updates": 7,
    "r_end_updates": 90_000,
    "d_end_updates": 80_000,
    "groups": 16,
    "power_iterations": 2,
    "lipschitz": 3.0,
    "leave_smaller": True,
    "gamma": 1.25,
    "activation": "layer",
    "final_rate": 0.5,
    "alpha": 0.8,
    "simplex_units": 4,
    "temperature": 0.1,
    "penalty": 0.9,
    "samples": 1_000,
    "drop_rate": 0.3,
    "max_v_norm": 0.2,
    "by": "row",
    "rate": 0.5,
    "init": 0.5,
    "scale": 0.7,
    "kappa": 0.3,
    "strength": 0.5,
}


def built(norm: Norm) -> tuple[object, ...]:
    """What a record makes of its parameters."""
    net = network(norm, (3,))
    optimizer = norm.optimizer(net, OptimizerSpec(learning_rate=1.0, total_updates=1))
    learn(net, norm, optimizer, observations((3,)), 2)
    penalty = 0.0 if norm.penalty is None else norm.penalty(net).item()
    weights = sum(parameter.detach().double().sum().item() for parameter in net.parameters())
    return repr(net), norm.values, optimizer.param_groups[0]["lr"], penalty, weights


@NAMES
def test_every_parameter_reaches_what_is_built(name: str) -> None:
    norm = get_norm(name)
    for field in dataclasses.fields(norm.settings):
        other = norm.with_settings({field.name: ALTERNATIVES[field.name]})
        assert getattr(other.settings, field.name) == ALTERNATIVES[field.name]
        assert other.name == norm.name
        assert built(other) != built(norm), field.name


@NAMES
def test_every_parameter_says_what_it_means_and_where_its_default_comes_from(name: str) -> None:
    settings = get_norm(name).settings
    for field in dataclasses.fields(settings):
        assert field.metadata["meaning"]
        assert field.metadata["source"]
        assert getattr(settings, field.name) == field.default


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("group", {"grups": 4}, "norm.grups is not a parameter of normalization group, which has "
         "groups, eps; did you mean groups"),
        ("weight", {"eps": 1}, "not a parameter of normalization weight, which has no parameters"),
        ("group", {"groups": 0}, "norm.groups 0 is out of range; it must be at least 1"),
        ("group", {"groups": "many"}, "norm.groups takes a whole number, not 'many'"),
        ("batch", {"momentum": 2}, r"norm.momentum 2\.0 is out of range; it must be at most 1"),
        ("batch", {"statistics": "joined"}, "norm.statistics 'joined'.*did you mean joint"),
        ("batch-renorm", {"r_end_updates": 5}, "norm.r_end_updates 5 .*start_updates 5000"),
    ],
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_told_why(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        get_norm(name).with_settings(values)


def test_groups_must_divide_the_units_and_leave_enough_values() -> None:
    norm = get_norm("group")
    with pytest.raises(UsageError, match=r"norm.groups 7 does not divide a layer of 128 units"):
        network(norm.with_settings({"groups": 7}), (3,))
    with pytest.raises(UsageError, match="puts 2 of 128 units into each group of a linear layer"):
        network(norm.with_settings({"groups": 64}), (3,))


def test_simplices_must_divide_the_units() -> None:
    norm = get_norm("simplicial").with_settings({"simplex_units": 5})
    with pytest.raises(UsageError, match=r"norm.simplex_units 5 does not divide a layer of 128"):
        network(norm, (3,))


@pytest.mark.parametrize("name", ["layer", "layer-channel", "layer-plain", "nap"])
def test_a_sample_of_one_unit_is_not_normalized_away(name: str) -> None:
    with pytest.raises(UsageError, match="a layer of 1 unit would always become 0"):
        get_norm(name).activation((1,))
    assert get_norm(name).activation((2,)) is not None


def test_a_registered_norm_may_have_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wnrl.nn.norms.catalogue.NORMS", dict(NORMS))

    @dataclasses.dataclass(frozen=True)
    class Slope:
        slope: float = setting(0.1, "of the negative part", source="ours", above=0)

    def leaky(settings: Slope) -> Norm:
        return Norm(
            "leaky", "", "", "", activation=lambda shape: nn.LeakyReLU(settings.slope),
            settings=settings, configure=leaky,
        )  # fmt: skip

    register_norm(leaky(Slope()))
    assert "LeakyReLU(negative_slope=0.5)" in repr(
        network(get_norm("leaky").with_settings({"slope": "0.5"}))
    )


def test_a_derived_norm_keeps_its_changes_whatever_its_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wnrl.nn.norms.catalogue.NORMS", dict(NORMS))
    changes: dict[str, Any] = {"linear": WNLinear, "conv": WNConv2d, "weight_vectors": True}
    register_norm(get_norm("layer").derived("weight-layer", **changes))
    for values in ({"eps": 1e-5}, {"eps": 1e-3}):  # the default, and another
        norm = get_norm("weight-layer").with_settings(values)
        assert norm.name == "weight-layer"
        assert kinds(network(norm)).count("WNLinear") == 1
        assert f"eps={values['eps']}" in repr(network(norm))


def test_a_renamed_copy_keeps_its_changes_and_refuses_other_parameters() -> None:
    copied = dataclasses.replace(get_norm("layer"), name="weight-layer", linear=WNLinear)
    assert copied.with_settings({"eps": 1e-5}) is copied
    with pytest.raises(UsageError, match=r"make it with Norm\.derived"):
        copied.with_settings({"eps": 1e-3})
