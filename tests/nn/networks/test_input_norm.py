"""Normalization of observations, and the published networks that have it."""

import copy
import dataclasses
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.crossq.policies import CrossQCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn

from wnrl._settings import SettingError
from wnrl.nn.networks.actor_critic import build_actor_critic
from wnrl.nn.networks.q_network import QNetwork, build_q_network
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import NORMS, get_norm
from wnrl.nn.norms.layers.running_norm import RunningNorm


def build(**fields: Any) -> QNetwork:
    generator = torch.Generator().manual_seed(0)
    network = build_q_network(NetworkSpec(num_actions=3, **fields), generator)
    assert isinstance(network, QNetwork)
    return network


def vectors(norm_input: str, norm: str = "none", **fields: Any) -> QNetwork:
    return build(
        shape=(4,),
        dtype="float32",
        norm=NORMS[norm],
        norm_input=norm_input,
        hidden=(8, 8),
        **fields,
    )


def kinds(module: nn.Module) -> list[str]:
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


def randomized(network: nn.Module) -> nn.Module:
    """Give every parameter and running statistic other numbers; variances stay above 0."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.dtype == torch.float32:
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return network


def test_crossqs_critic_is_built_as_in_sb3_contrib() -> None:
    after = dataclasses.replace(get_norm("batch"), after="activation")
    ours = randomized(
        build(shape=(4,), dtype="float32", norm=after, norm_input="batch", hidden=(8, 8))
    ).eval()
    box = spaces.Box(-1, 1, (3,), np.float32)
    critic = CrossQCritic(
        box, spaces.Box(-1, 1, (1,), np.float32), [8, 8], FlattenExtractor(box), 3, n_critics=1,
        batch_norm_eps=1e-5,
    )  # fmt: skip
    theirs = critic.q_networks[0].eval()
    assert [name.replace("BatchRenorm1d", "BatchNorm1d") for name in kinds(theirs)] == [
        "BatchNorm1d", "Linear", "ReLU", "BatchNorm1d", "Linear", "ReLU", "BatchNorm1d", "Linear",
    ]  # fmt: skip
    torso: Any = ours.torso
    in_order = [torso.input_norm.norm, *list(torso.layers)[1:], ours.head]  # without the flattening
    assert [type(layer).__name__ for layer in in_order] == [
        name.replace("BatchRenorm1d", "BatchNorm1d") for name in kinds(theirs)
    ]
    for mine, other in zip(in_order, theirs, strict=True):
        if isinstance(mine, nn.BatchNorm1d):
            with torch.no_grad():
                other.scale.copy_(mine.weight)
                other.bias.copy_(mine.bias)
                other.ra_mean.copy_(mine.running_mean)
                other.ra_var.copy_(mine.running_var)
        elif isinstance(mine, nn.Linear):
            other.weight = nn.Parameter(mine.weight.detach()[: len(other.weight)])
            other.bias = nn.Parameter(mine.bias.detach()[: len(other.bias)])
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    first_value = ours(x)[:, :1]  # their critic has one output
    assert torch.allclose(critic(x[:, :3], x[:, 3:])[0], first_value, rtol=1e-5, atol=1e-5)


def by_hand(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Batch norm of (B, F) with the batch's biased variance, as flax computes it."""
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() * scale + shift


def test_crossqs_critic_learns_from_the_function_of_the_authors_code() -> None:
    # adityab/CrossQ, sbx/sac/policies.py, Critic: BN, then Dense, ReLU, BN for each layer, Dense
    after = dataclasses.replace(get_norm("batch"), after="activation")
    net: Any = randomized(
        build(shape=(4,), dtype="float32", norm=after, norm_input="batch", hidden=(8, 8))
    ).train()
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    layers, h = net.torso.layers, x
    h = by_hand(h, net.torso.input_norm.norm.weight, net.torso.input_norm.norm.bias)
    for index in ("1", "2"):
        dense, norm = (
            layers.get_submodule(f"hidden{index}"),
            layers.get_submodule(f"hidden{index}_norm"),
        )
        h = by_hand((h @ dense.weight.T + dense.bias).relu(), norm.weight, norm.bias)
    assert torch.allclose(net(x), h @ net.head.weight.T + net.head.bias, rtol=1e-4, atol=1e-4)
    assert net.torso.input_norm.norm.momentum == 0.01  # they keep 0.99


def test_purejaxqls_network_is_built_as_published() -> None:
    # mttga/purejaxql, pqn_minatar.py with NORM_INPUT: batch norm of the raw observation, then
    # Conv, LayerNorm over channels, ReLU, flatten, Dense, LayerNorm, ReLU, Dense
    net: Any = randomized(
        build(
            shape=(4, 10, 10), dtype="uint8", norm=get_norm("layer-channel"), norm_input="batch",
            torso="minatar",
        )
    ).train()  # fmt: skip
    obs = torch.randint(0, 2, (5, 4, 10, 10), generator=torch.Generator().manual_seed(2)).byte()
    reference = nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(4, eps=1e-5),
            conv1=nn.Conv2d(4, 16, 3),
            channels_last=Moved(1, -1),
            conv1_norm=nn.LayerNorm(16, eps=1e-6),
            channels_first=Moved(-1, 1),
            relu=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(1024, 128),
            fc_norm=nn.LayerNorm(128, eps=1e-6),
            relu2=nn.ReLU(),
            head=nn.Linear(128, 3),
        )
    )
    parts = {"norm": net.torso.input_norm.norm, "head": net.head}
    for name in ("conv1", "conv1_norm", "fc", "fc_norm"):
        parts[name] = net.torso.layers.get_submodule(name)
    for name, part in parts.items():
        reference.get_submodule(name).load_state_dict(part.state_dict())
    assert torch.allclose(net(obs), reference.train()(obs.float()), rtol=1e-4, atol=1e-3)


class Moved(nn.Module):
    """Moves an axis."""

    def __init__(self, source: int, destination: int) -> None:
        super().__init__()
        self.axes = source, destination

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(*self.axes)


def test_running_statistics_are_those_of_everything_seen_on_hand_numbers() -> None:
    norm = RunningNorm(1, eps=1e-12)
    norm(torch.tensor([[1.0]]))
    assert (norm.running_mean.item(), norm.running_var.item(), norm.count.item()) == (1, 0, 1)
    output = norm(torch.tensor([[3.0], [8.0]]))  # 1, 3, 8: mean 4, variance (9 + 1 + 16) / 3
    assert norm.running_mean.item() == pytest.approx(4.0)
    assert norm.running_var.item() == pytest.approx(26 / 3, rel=1e-6)
    assert output.flatten().tolist() == pytest.approx([-((3 / 26) ** 0.5), 4 * (3 / 26) ** 0.5])
    acting = norm.eval()(torch.tensor([[3.0], [100.0]]))
    assert acting[0].item() == pytest.approx(-((3 / 26) ** 0.5))
    assert norm.count.item() == 3  # acting counts nothing
    with pytest.raises(ValueError, match=r"\(2, 4\): expected \(B, 1\)"):
        norm(torch.zeros(2, 4))


def test_running_statistics_of_images_are_per_channel_and_independent_of_the_batching() -> None:
    x = torch.randn(12, 2, 3, 5, generator=torch.Generator().manual_seed(0)) * 7 + 3
    whole, parts = RunningNorm(2), RunningNorm(2)
    whole(x)
    for part in x.split([1, 4, 7]):
        parts(part)
    variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
    for norm in (whole, parts):
        assert torch.allclose(norm.running_mean, mean, rtol=1e-5)
        assert torch.allclose(norm.running_var, variance, rtol=1e-5)


@pytest.mark.parametrize("norm_input", ["batch", "running", "layer"])
def test_the_same_seed_draws_the_same_layers_and_observations_are_normalized_first(
    norm_input: str,
) -> None:
    plain, net = vectors("none"), vectors(norm_input)
    ours = net.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in plain.state_dict().items())
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(3)) * 5 + 2
    seen: list[Tensor] = []
    net.torso.get_submodule("layers").register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    net.train()(x)
    axis = 1 if norm_input == "layer" else 0
    assert seen[0].mean(axis).abs().max() < 1e-5
    assert (seen[0].std(axis, correction=0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("norm_input", ["batch", "running", "layer"])
def test_a_network_with_it_is_copied_pickled_saved_and_its_inputs_are_checked(
    norm_input: str,
) -> None:
    net, x = vectors(norm_input, "layer"), torch.randn(6, 4)
    net.train()(x)
    net.eval()
    other = vectors(norm_input, "layer").eval()
    other.load_state_dict(net.state_dict())
    for each in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), other):
        assert torch.equal(each(x), net(x))
        assert torch.equal(each(x[:1]), net(x[:1]))
    double: Any = copy.deepcopy(net.torso.get_submodule("input_norm.norm")).double()
    assert torch.autograd.gradcheck(double, (x.double().requires_grad_(),))
    with pytest.raises(ValueError, match=r"uint8: expected \(B, 4\) torch.float32"):
        net(x.byte())


def test_both_torsos_of_an_actor_critic_normalize_and_old_networks_have_nothing_new() -> None:
    spec = NetworkSpec((4,), "float32", 2, norm=NORMS["none"], norm_input="running", separate=True)
    names = [name for name, _ in build_actor_critic(spec, torch.Generator()).named_buffers()]
    assert {name.split(".")[0] for name in names} == {"policy_torso", "value_torso"}
    assert not [name for name in vectors("none").state_dict() if "input" in name]


def test_observations_that_cannot_be_normalized_and_unknown_names_are_refused() -> None:
    fields: dict[str, Any] = {"dtype": "float32", "norm": NORMS["none"], "torso": "mlp"}
    for shape, norm_input, message in (
        ((4,), "bach", "norm_input 'bach' is unknown; allowed: none, batch.*did you mean batch"),
        ((2, 3), "batch", r"norm_input batch and running normalize vectors .* are \(2, 3\)"),
        ((1,), "layer", "norm_input layer would always make an observation of one number 0"),
    ):
        with pytest.raises(SettingError, match=message):
            build(shape=shape, norm_input=norm_input, **fields)
