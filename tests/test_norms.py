"""The catalogue: names, records, and what each puts into a network."""

import math

import pytest
import torch
from torch import nn

from wnrl.errors import UsageError
from wnrl.nn.mean_only import MeanOnlyBatchNorm
from wnrl.nn.networks import build_q_network
from wnrl.nn.norms import NORMS, Norm, get_norm, register_norm, weight_normalization
from wnrl.nn.weight_norm import WNConv2d, WNLinear
from wnrl.optim import WNAdam
from wnrl.stepping import ClippedStep, OptimizerSpec

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
]


def network(norm: Norm, shape: tuple[int, ...] = (2, 36, 40)) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    dtype = "uint8" if len(shape) == 3 else "float32"
    return build_q_network(shape, dtype, 3, norm=norm, generator=generator)


def kinds(module: nn.Module) -> list[str]:
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


def test_the_catalogue_holds_its_records_under_their_own_names() -> None:
    assert list(NORMS) == CATALOGUE
    assert all(name == norm.name for name, norm in NORMS.items())
    assert all(norm.summary and norm.paper and norm.cost for norm in NORMS.values())


def test_an_unknown_name_raises_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'wieght'.*none, weight.*did you mean weight"):
        get_norm("wieght")


def test_a_registered_norm_is_found_and_a_taken_name_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wnrl.nn.norms.NORMS", dict(NORMS))
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
        ("layer", ["Conv2d", "LayerNorm", "ReLU"]),
    ],
)
def test_the_normalization_stands_before_the_nonlinearity_and_not_on_the_head(
    name: str, first: list[str]
) -> None:
    found = kinds(network(get_norm(name)))
    assert found[:3] == first
    assert found[-2:] == ["ReLU", "Linear"]


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


@pytest.mark.parametrize("name", ["none", "weight", "weight-mean", "mean", "batch", "layer"])
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
        loss.backward()
        optimizer.step()
        norm.after_step(net)
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert math.isfinite(optimizer.grad_norm)
