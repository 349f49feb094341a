"""The categorical loss in agents: it learns, what reads values reads numbers, and runs go on."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import AFTER, BEFORE, built, configured, content, ticks, walked
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.config import config_from_json, make_config
from wnrl.instruments.instruments import greedy_actions
from wnrl.nn.networks.data_initialization import init_from_data_
from wnrl.nn.networks.heads import CategoricalHead
from wnrl.nn.networks.q_network import build_q_network, loss_view
from wnrl.nn.networks.spec import NetworkSpec
from wnrl.nn.norms.catalogue import get_norm

CATEGORICAL = {"loss": "categorical", "v_min": -2.0, "v_max": 2.0, "atoms": 21}
# What changes the network or the update: each is stepped once.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("dqn", {}),
    ("dqn", {"double": False, "categorical_targets": "c51"}),
    ("dqn", {"dueling": True, "norm": "batch"}),
    ("dqn", {"norm": "batch", "norm.statistics": "joint", "categorical_targets": "c51"}),
    ("dqn", {"init": "data", "norm_where": "all"}),
    ("dqn", {"recurrent": True}),
    ("dqn", {"recurrent": True, "dueling": True, "categorical_targets": "c51"}),
    ("pqn", {}),
    ("pqn", {"categorical_targets": "c51", "norm": "layer"}),
]


def network(**settings: Any) -> Any:
    spec = NetworkSpec((5,), "float32", 3, norm=get_norm("none"), **settings)
    return build_q_network(spec, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("lstm_units", [0, 4])
def test_values_are_expectations_and_the_loss_reads_the_logits(
    dueling: bool, lstm_units: int
) -> None:
    atoms = (-1.0, 0.0, 1.0, 2.0)
    net = network(atoms=atoms, dueling=dueling, lstm_units=lstm_units)
    obs = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    values, logits = net(obs), loss_view(net)(obs)
    assert values.shape == (6, 3)
    assert logits.shape == (6, 3, 4)
    torch.testing.assert_close(values, logits.softmax(-1) @ torch.tensor(atoms))
    assert {id(p) for p in loss_view(net).parameters()} == {id(p) for p in net.parameters()}
    plain = network(dueling=dueling)
    assert loss_view(plain) is plain


def test_a_dueling_heads_advantages_have_mean_zero_at_each_atom() -> None:
    net = network(atoms=(0.0, 1.0), dueling=True)
    assert isinstance(net.head, CategoricalHead)
    features = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    value = net.head.logits.value(features)  # (4, Z)
    torch.testing.assert_close(net.head.logits(features).mean(dim=1), value)


@pytest.mark.parametrize(("agent", "changes"), VARIANTS)
def test_every_variant_learns_acts_and_goes_on_where_it_stopped(
    agent: str, changes: dict[str, Any]
) -> None:
    warmup = {"warmup_steps": 100} if agent == "dqn" else {}
    config = configured(agent, **warmup, **CATEGORICAL, **changes)
    env, learner = built(config)
    env.reset()
    before = content(learner)
    metrics: dict[str, Tensor] = {}
    for tick in ticks(env, learner, 0, 300):
        metrics = tick.metrics or metrics
    assert content(learner) != before
    assert all(bool(torch.isfinite(x)) for x in metrics.values())
    assert float(metrics["train/loss"]) <= np.log(21) + 1
    policy = learner.policy(0.0, np.random.default_rng(0))
    actions = policy.act(env.obs, env.first)
    assert np.abs(policy.values(env.obs, actions)).max() <= 2.0  # within the atoms
    _, again = built(config)
    again.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert content(again) == content(learner)


def test_instruments_see_greedy_actions_and_data_leaves_the_head_as_it_is() -> None:
    net = network(atoms=(0.0, 1.0, 2.0))
    obs = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    found = greedy_actions(net(obs))
    assert found is not None
    assert found.shape == (8,)
    head = copy.deepcopy(net.head.state_dict())
    report = init_from_data_(net, obs)
    assert [layer.name for layer in report.layers] == [
        "torso.layers.hidden1",
        "torso.layers.hidden2",
    ]
    assert all(torch.equal(x, net.head.state_dict()[name]) for name, x in head.items())


def test_only_layers_with_weights_are_named_in_the_head() -> None:
    names = [n for n, m in network(atoms=(0.0, 1.0)).named_modules() if isinstance(m, nn.Linear)]
    assert names[-1] == "head.logits.layer"


def test_its_settings_are_checked_and_have_no_effect_on_another_loss() -> None:
    with pytest.raises(UsageError, match="v_min 3 must be below v_max, 2"):
        make_config(loss="categorical", v_min=3, v_max=2)
    with pytest.raises(UsageError, match="did you mean c51"):
        make_config(categorical_targets="c5l")
    assert make_config(atoms=5, v_max=3, agent="pqn").departures == {}
    named = make_config(loss="categorical", atoms=5, sigma_ratio=1.0, categorical_targets="c51")
    assert named.departures == {"loss": "categorical", "atoms": 5, "categorical_targets": "c51"}


def test_runs_from_before_it_keep_their_loss() -> None:
    for agent, loss in (("dqn", "huber"), ("pqn", "mse")):
        saved = make_config(agent=agent).to_json()
        for name in ("categorical_targets", "atoms", "v_min", "v_max", "sigma_ratio"):
            del saved["agent"][name]
        if agent == "pqn":
            del saved["agent"]["loss"]
        assert config_from_json(saved).agent.loss == loss
        assert config_from_json(saved).departures == {}


@pytest.mark.slow
@pytest.mark.usefixtures("small_catch")
@pytest.mark.parametrize("targets", ["hl-gauss", "c51"])
@pytest.mark.parametrize("agent", ["dqn", "pqn"])
def test_it_learns_to_catch(agent: str, targets: str, learning_seed: int) -> None:
    changes = dict(CATEGORICAL, categorical_targets=targets, norm="weight", seed=learning_seed)
    if agent == "pqn":
        changes |= {"learning_rate": 3e-3, "epsilon_steps": 2_000}
    else:
        changes |= {"epsilon_steps": 1_500, "warmup_steps": 200}
    _, returns = walked(agent, 5_000, steps=5_000, **changes)
    assert np.mean(returns[:50]) < BEFORE
    assert np.mean(returns[-100:]) > AFTER
