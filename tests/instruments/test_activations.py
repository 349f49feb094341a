"""What flows through networks whose activations are known by construction."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wnrl.config import make_config
from wnrl.envs.vector import EpisodeStatistics
from wnrl.instruments.activations import activity, statistics_gaps
from wnrl.instruments.formulas import dormant_fraction, dormant_scores
from wnrl.instruments.instruments import Instruments
from wnrl.instruments.weight_rows import layer_weights, weight_vectors
from wnrl.nn import (
    BatchRenorm,
    MeanOnlyBatchNorm,
    WNLinear,
    build_actor_critic,
    build_q_network,
    get_norm,
)
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.optim.step import OptimizerSpec
from wnrl.train.build import build_agent, build_env, build_network, resolve
from wnrl.train.loop import run

EPS = 1e-5  # added to every variance, here of 1 and more


def linear(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def test_a_layer_with_two_dead_units_reports_exactly_that() -> None:
    # On inputs 1 and 3: a unit that is 1 and 3, two that are below 0, one that is 0.02 on average.
    layer = linear([[1.0], [-1.0], [0.0], [0.01]], [0.0, 0.0, -2.0, 0.0])
    network = nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 2))
    seen = activity(network, torch.tensor([[1.0], [3.0]]))
    first = seen.layers["0"]
    assert first.mean_activation is not None
    assert first.mean_activation.tolist() == pytest.approx([2.0, 0.0, 0.0, 0.02])
    scores = dormant_scores(first.mean_activation)
    assert [4 * float(dormant_fraction(scores, tau)) for tau in (0.0, 0.05)] == [2.0, 3.0]
    assert first.preactivation.mean.tolist() == pytest.approx([2.0, -2.0, -2.0, 0.02])
    assert first.preactivation.std.tolist() == pytest.approx([1.0, 1.0, 0.0, 0.01])
    assert first.output is None  # nothing stands between the layer and its nonlinearity


def test_a_head_has_an_output_and_its_input_is_the_features() -> None:
    network = nn.Sequential(linear([[1.0], [-1.0]], [0.0, 0.0]), nn.ReLU(), nn.Linear(2, 3))
    seen = activity(network, torch.tensor([[1.0], [-2.0]]))
    assert list(seen.layers) == ["0", "2"]
    assert seen.layers["2"].mean_activation is None
    assert seen.features is not None
    assert seen.features.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert torch.equal(seen.output, network(torch.tensor([[1.0], [-2.0]])))


def test_a_normalization_stands_between_output_and_preactivation() -> None:
    norm = nn.LayerNorm(2, elementwise_affine=False, eps=0.0)
    network = nn.Sequential(linear([[1.0], [3.0]], [0.0, 0.0]), norm, nn.ReLU(inplace=True))
    seen = activity(network, torch.tensor([[1.0], [2.0]])).layers["0"]
    assert seen.output is not None
    assert seen.output.mean.tolist() == pytest.approx([1.5, 4.5])
    assert seen.output.std.tolist() == pytest.approx([0.5, 1.5])
    assert seen.preactivation.mean.tolist() == pytest.approx([-1.0, 1.0])  # before it overwrites
    assert seen.preactivation.std.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_unit_of_a_convolution_is_a_channel_over_all_positions(channels_last: bool) -> None:
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        layer.bias.copy_(torch.tensor([0.0, 1.0]))
    obs = torch.tensor([[[[0.0, 2.0]]], [[[4.0, 6.0]]]])  # (2, 1, 1, 2)
    if channels_last:
        layer, obs = (
            layer.to(memory_format=torch.channels_last),
            obs.contiguous(memory_format=torch.channels_last),
        )
    seen = activity(nn.Sequential(layer, nn.ReLU()), obs).layers["0"]
    assert seen.preactivation.mean.tolist() == [3.0, -2.0]
    assert seen.preactivation.std.tolist() == pytest.approx([5**0.5, 5**0.5])
    assert seen.mean_activation is not None
    assert seen.mean_activation.tolist() == [3.0, 0.25]


def running(layer: nn.Module, mean: list[float], var: list[float] | None = None) -> nn.Module:
    buffers = dict(layer.named_buffers())
    buffers["running_mean"].copy_(torch.tensor(mean))
    if var is not None:
        buffers["running_var"].copy_(torch.tensor(var))
    return layer


def test_running_statistics_are_compared_with_the_batchs() -> None:
    # The batch has means 1 and 2, variances (of the sample) 2 and 8.
    obs = torch.tensor([[0.0, 0.0], [2.0, 4.0]])
    batch = running(nn.BatchNorm1d(2), [3.0, 2.0], [4.0, 16.0])
    mean_only = running(MeanOnlyBatchNorm(2), [3.0, 2.0])
    gaps = statistics_gaps(nn.Sequential(batch), obs)
    assert float(gaps["0"].means) == pytest.approx(0.5, rel=EPS)  # |1 - 3| / 2 and 0
    assert gaps["0"].variances is not None
    assert float(gaps["0"].variances) == pytest.approx(0.5, rel=EPS)
    gaps = statistics_gaps(nn.Sequential(mean_only), obs)
    assert float(gaps["0"].means) == pytest.approx(2**0.5 / 2, rel=EPS)  # in the batch's own std
    assert gaps["0"].variances is None
    assert statistics_gaps(nn.Sequential(nn.Linear(2, 2)), obs) == {}


def test_a_running_variance_that_is_biased_is_compared_with_the_batchs_biased_one() -> None:
    obs = torch.tensor([[0.0, 0.0], [2.0, 4.0]])  # variances of the population: 1 and 4
    renorm = running(BatchRenorm(2), [1.0, 2.0], [2.0, 8.0])
    gap = statistics_gaps(nn.Sequential(renorm), obs)["0"]
    assert gap.variances is not None
    assert float(gap.variances) == pytest.approx(0.5, rel=EPS)


@pytest.mark.parametrize("statistics", ["evaluation", "joint", "target", "mixed"])
@pytest.mark.parametrize("norm", ["batch", "batch-renorm"])
def test_running_statistics_that_are_those_of_the_learnt_batch_have_no_gap(
    norm: str, statistics: str
) -> None:
    config = make_config(
        # With a momentum of 1 nothing but the newest batch is in the running statistics.
        {"norm.statistics": statistics, "norm.momentum": 1.0},
        env="toy/Catch",
        norm=norm,
        warmup_steps=100,
        steps=120,
    )
    parts = resolve(config)
    env = build_env(parts)
    agent = build_agent(parts, env, build_network(parts, env)[0], torch.device("cpu"))
    agent.learner.observer = instruments = Instruments(agent.network, agent.learner.optimizer, 1)
    env.reset()
    for _ in run(env, agent, EpisodeStatistics(env.num_envs), 0, config.run.steps):
        pass
    reading = {tag: float(value) for tag, value in instruments.pop_reading().items()}
    for layer in ("hidden1", "hidden2"):
        (gap,) = [v for k, v in reading.items() if "statistics_gap" in k and layer in k]
        (ratio,) = [v for k, v in reading.items() if "variance_ratio" in k and layer in k]
        assert (gap, ratio) == pytest.approx((0.0, 1.0), abs=1e-4)  # float32


class Noisy(nn.Module):
    """Draws in training, counts its calls in a buffer that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.running_mean = self.running_mean + torch.rand(2)
        return x


@pytest.mark.parametrize("training", [False, True])
def test_looking_changes_neither_network_nor_generator(training: bool) -> None:
    network = nn.Sequential(
        WNLinear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), Noisy(), nn.Dropout(), nn.Linear(2, 2)
    )
    network.train(training)
    network[1].eval()
    network(torch.randn(4, 3)).sum().backward()
    before = copy.deepcopy(network)
    gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    torch.manual_seed(5)
    obs = torch.ones(4, 3)
    state = torch.get_rng_state()
    activity(network, obs)
    activity(network, obs, batch_statistics=True)
    statistics_gaps(network, obs)
    assert torch.equal(torch.get_rng_state(), state)
    for (name, was), now in zip(
        before.state_dict().items(), network.state_dict().values(), strict=True
    ):
        assert torch.equal(was, now), name
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]
    for was, parameter in zip(gradients, network.parameters(), strict=True):
        assert parameter.grad is not None
        assert torch.equal(was, parameter.grad)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_with_batch_statistics_a_batch_norm_gives_means_of_zero_and_spreads_of_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU())
    obs = torch.randn(64, 3)
    settled = activity(network, obs, batch_statistics=True).layers["0"].preactivation
    acting = activity(network, obs).layers["0"].preactivation
    torch.testing.assert_close(settled.mean, torch.zeros(2))
    torch.testing.assert_close(settled.std, torch.ones(2), rtol=1e-3, atol=0)
    assert not torch.allclose(acting.std, torch.ones(2), rtol=1e-3)


@pytest.mark.parametrize("norm", ["none", "weight", "batch", "layer", "weight-mean"])
def test_every_layer_of_a_q_network_is_seen(norm: str) -> None:
    network = build_q_network(
        NetworkSpec((4, 84, 84), "uint8", 6, norm=get_norm(norm), dueling=True), torch.Generator()
    )
    seen = activity(network, torch.zeros((2, 4, 84, 84), dtype=torch.uint8))
    hidden, heads = list(seen.layers)[:4], list(seen.layers)[4:]
    assert all(name.startswith("torso.") for name in hidden)
    assert sorted(heads) == ["head.advantage", "head.value"]
    assert all(seen.layers[name].mean_activation is not None for name in hidden)
    between = norm not in ("none", "weight")
    assert [seen.layers[name].output is not None for name in hidden] == [between] * 4
    assert seen.features is not None
    assert seen.features.shape == (2, 512)


OBS = (2, 12, 9)
NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "impala": (build_q_network, {"torso": "impala"}),
    "shared": (build_actor_critic, {"torso": "mlp"}),
    "separate": (build_actor_critic, {"torso": "mlp", "separate": True}),
    "recurrent Q": (build_q_network, {"lstm_units": 5}),
    "recurrent actor-critic": (build_actor_critic, {"lstm_units": 5}),
}
FEATURES = {"impala": 256, "shared": 16, "separate": 16}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("norm", ["none", "weight", "batch"])
def test_every_layer_of_every_network_is_seen_and_has_its_weights(norm: str, kind: str) -> None:
    record, (build, settings) = get_norm(norm), NETWORKS[kind]
    network = build(
        NetworkSpec(OBS, "uint8", 3, norm=record, hidden=(16, 16), **settings), torch.Generator()
    )
    obs = torch.randint(0, 256, (6, *OBS), dtype=torch.uint8)
    seen = activity(network, obs)
    with (
        torch.no_grad()
    ):  # as `activity`: an LSTM rounds otherwise when it keeps what gradients need
        expected = network.eval()(obs)
    layers = [name for name, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert sorted(seen.layers) == sorted(layers)
    pairs = [(seen.output, expected)] if kind in ("impala", "recurrent Q") else zip(
        seen.output, expected, strict=True
    )  # fmt: skip
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert seen.features is not None
    assert seen.features.shape == (6, FEATURES.get(kind, 5))
    gaps = statistics_gaps(network, obs)
    assert len(gaps) == (len(layers) - (1 if "Q" in kind or kind == "impala" else 2)) * (
        norm == "batch"
    )
    optimizer = record.optimizer(network, OptimizerSpec())
    output = network(obs)
    sum(part.sum() for part in (output if isinstance(output, tuple) else (output,))).backward()
    optimizer.step()
    names = [weight.name for weight in layer_weights(network)]
    recurrent = ["lstm.weight_ih_l0", "lstm.weight_hh_l0"] if "lstm_units" in settings else []
    assert sorted(names) == sorted([*layers, *recurrent])
    assert all(weight.gradient() is not None for weight in layer_weights(network))
    vectors = weight_vectors(network, optimizer)
    hidden = [name for name in names if "torso" in name or name in recurrent]
    assert list(vectors) == (hidden if norm == "weight" else [])


class Cell(nn.Module):
    """A recurrent cell, whose nonlinearities are inside, before a head."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(2, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.cell(x))
        return output


def test_a_cell_is_not_read_and_its_output_is_the_features() -> None:
    network, x = Cell(), torch.ones(4, 2)
    read = activity(network, x)
    assert list(read.layers) == ["head"]
    torch.testing.assert_close(read.features, network.cell(x))


def test_what_stands_between_a_convolution_and_its_nonlinearity_may_be_a_pool_or_a_sum() -> None:
    network = build_q_network(
        NetworkSpec(OBS, "uint8", 3, norm=get_norm("none"), torso="impala"), torch.Generator()
    )
    seen = activity(network, torch.randint(0, 256, (6, *OBS), dtype=torch.uint8)).layers
    place = "torso.layers.section1"
    between = {name.removeprefix(f"{place}."): read.output is not None
               for name, read in seen.items() if name.startswith(place)}  # fmt: skip
    assert between == {
        "conv": True,
        "block1.conv1": False,
        "block1.conv2": True,
        "block2.conv1": False,
        "block2.conv2": False,
    }
    last = seen[f"{place}.block2.conv2"]
    assert last.mean_activation is None  # the next section begins with a convolution
    assert seen[f"{place}.block1.conv2"].mean_activation is not None
