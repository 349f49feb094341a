"""Actor-critics: shapes, places, and an initial function that the norm does not change."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.networks.actor_critic import ActorCritic, build_actor_critic
from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.networks.heads import PolicyValue
from wnrl.nn.networks.initialization import (
    init_kaiming_normal_,
    init_orthogonal_,
    reset_parameters_,
)
from wnrl.nn.networks.q_network import Initialize
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.record import Norm
from wnrl.nn.norms.weight import weight_normalization
from wnrl.nn.weight_norm.layers import WNLinear

SHAPES = {"mlp": (5,), "nature": (2, 36, 40)}
ONE_OR_TWO = pytest.mark.parametrize("separate", [False, True], ids=["shared", "separate"])
KINDS = pytest.mark.parametrize("kind", SHAPES)


def build(
    norm: Norm | None = None,
    kind: str = "mlp",
    seed: int = 0,
    initialize: Initialize = reset_parameters_,
    **settings: Any,
) -> ActorCritic:
    dtype = "float32" if kind == "mlp" else "uint8"
    return build_actor_critic(
        NetworkSpec(
            SHAPES[kind], dtype, 3, norm=norm or get_norm("none"), hidden=(128, 128), **settings
        ),
        torch.Generator().manual_seed(seed),
        initialize,
    )


def observations(kind: str = "mlp", count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    if kind == "mlp":
        return torch.randn(count, 5, generator=generator)
    size = (count, *SHAPES[kind])
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def orthogonal(network: nn.Module, generator: torch.Generator) -> None:
    """As PPO's: sqrt(2) in the torsos, 0.01 for the policy, 1 for the value."""
    assert isinstance(network, ActorCritic)
    init_orthogonal_(network, generator, gains={network.policy: 0.01, network.value: 1.0})


def places(network: nn.Module, kind: type[nn.Module] = WNLinear) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, kind)]


@KINDS
@ONE_OR_TWO
def test_logits_and_values_have_no_axis_too_many(kind: str, separate: bool) -> None:
    network, obs = build(kind=kind, separate=separate), observations(kind)
    output = network(obs)
    assert isinstance(output, PolicyValue)
    assert output.logits.shape == (4, 3)
    assert output.value.shape == (4,)
    (policy, value) = (
        (network.policy_torso, network.value_torso) if separate else (network.torso, network.torso)
    )
    assert torch.equal(output.logits, network.policy(policy(obs)))
    assert torch.equal(output.value, network.value(value(obs))[:, 0])


def test_separate_torsos_share_no_weight() -> None:
    network = build(separate=True)
    network(observations()).value.sum().backward()
    assert all(p.grad is None for p in network.policy_torso.parameters())
    assert all(p.grad is not None for p in network.value_torso.parameters())
    first, second = (
        torso.layers.hidden1.weight for torso in (network.policy_torso, network.value_torso)
    )
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("separate", "where", "expected"),
    [
        (False, "torso", "torso.layers.hidden1 torso.layers.hidden2"),
        (False, "policy", "policy"),
        (False, "head", "policy value"),
        (False, "penultimate,value", "torso.layers.hidden2 value"),
        (True, "policy", "policy_torso.layers.hidden1 policy_torso.layers.hidden2"),
        (True, "value.hidden1,head", "policy value value_torso.layers.hidden1"),
        (True, "penultimate", "policy_torso.layers.hidden2 value_torso.layers.hidden2"),
    ],
)
def test_words_place_a_normalization_in_torsos_and_heads(
    separate: bool, where: str, expected: str
) -> None:
    network = build(get_norm("weight"), separate=separate, where=where)
    assert sorted(places(network)) == expected.split()


def test_activations_are_refused_at_policy_and_value() -> None:
    with pytest.raises(UsageError, match="on the output layer 'policy'"):
        build(get_norm("batch"), where="all")
    with pytest.raises(UsageError, match="num_actions is 0"):
        build_actor_critic(NetworkSpec((5,), "float32", 0, norm=NORMS["none"]), torch.Generator())


STARTS_AS_NONE = {
    "weight w": weight_normalization("w"),
    "weight gv": weight_normalization("gv"),
    "weight-mean": NORMS["weight-mean"],
    "mean": NORMS["mean"],
}


@KINDS
@ONE_OR_TWO
@pytest.mark.parametrize("name", STARTS_AS_NONE)
def test_with_orthogonal_weights_the_function_at_start_is_the_plain_networks(
    name: str, separate: bool, kind: str
) -> None:
    where = "all" if name.startswith("weight ") else "torso"
    settings: dict[str, Any] = {"kind": kind, "separate": separate, "initialize": orthogonal}
    plain, ours = build(**settings), build(STARTS_AS_NONE[name], where=where, **settings)
    obs = observations(kind)
    for expected, found in zip(plain.eval()(obs), ours.eval()(obs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # ||v|| in float32
    assert not torch.equal(build(seed=1, **settings)(obs).value, plain(obs).value)


@ONE_OR_TWO
@pytest.mark.parametrize("storage", ["w", "gv"])
def test_orthogonal_rows_reach_normalized_layers_with_the_gain_of_each(
    storage: str, separate: bool
) -> None:
    network = build(
        weight_normalization(storage), where="all", separate=separate, initialize=orthogonal
    )
    layers = [(name, m) for name, m in network.named_modules() if isinstance(m, WNLinear)]
    assert len(layers) == (6 if separate else 4)
    for name, layer in layers:
        gain = {"policy": 0.01, "value": 1.0}.get(name, math.sqrt(2))
        rows = layer.effective_weight().detach().double()
        product = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
        expected = gain**2 * torch.eye(len(product), dtype=torch.float64)
        assert torch.allclose(product, expected, atol=1e-5 * gain**2)  # a float32 QR
        assert not layer.bias.any()


@pytest.mark.parametrize("storage", ["w", "gv"])
def test_normal_weights_have_the_deviation_of_their_fan_in_and_gain(storage: str) -> None:
    def initialize(network: nn.Module, generator: torch.Generator) -> None:
        init_kaiming_normal_(network, generator, gains={network.policy: 1.0})  # type: ignore[dict-item]

    make = partial(build, weight_normalization(storage), kind="nature", where="all")
    network = make(initialize=initialize)
    state = torch.get_rng_state()
    deviations = {
        "torso.layers.conv2": math.sqrt(2 / (32 * 16)),
        "torso.layers.fc": math.sqrt(2 / 64),
        "policy": math.sqrt(1 / 512),
        "value": math.sqrt(2 / 512),
    }
    for name, deviation in deviations.items():
        layer: Any = network.get_submodule(name)
        weight = layer.effective_weight().detach()
        assert weight.std().item() == pytest.approx(deviation, rel=6 / math.sqrt(weight.numel()))
        assert not layer.bias.any()
    again, other = make(initialize=initialize), make(initialize=initialize, seed=1)
    assert all(map(torch.equal, network.state_dict().values(), again.state_dict().values()))
    assert not torch.equal(network.policy.weight, other.policy.weight)
    assert torch.equal(torch.get_rng_state(), state)


@ONE_OR_TWO
def test_data_leave_policy_and_value_alone_unless_they_are_asked_for(separate: bool) -> None:
    network, batch = build(separate=separate), observations(count=64)
    before = [network.policy.weight.clone(), network.value.weight.clone()]
    report = init_from_data_(network, batch, sigma_floor=1e-6)
    assert len(report.layers) == (4 if separate else 2)
    assert all(map(torch.equal, before, [network.policy.weight, network.value.weight]))
    init_from_data_(network, batch, sigma_floor=1e-6, head_scale=0.1)
    logits, value = network(batch)
    assert logits.std(0, correction=0).tolist() == pytest.approx([0.1] * 3, rel=1e-4)
    assert value.std(correction=0).item() == pytest.approx(0.1, rel=1e-4)
