"""The traps of Stable-Baselines3 for normalized layers, by their numbers, and what ours do there.

Each was reproduced with torch's own weight normalization or with the stock policies. Not here: T18
(tests/test_sb3_atari_vec_env.py), T19 and T20 (Stable-Baselines3's own; README).
"""

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sb3_models import STEPS, make, same_weights
from stable_baselines3 import PPO
from stable_baselines3.common.utils import polyak_update
from torch import nn

from wnrl.nn.norms.layers.spectral import Spectral
from wnrl.sb3 import (
    WNActorCriticMlpPolicy,
    WNCnnPolicy,
    WNImpalaCNN,
    WNMlpPolicy,
    WNNatureCNN,
    clone_policy,
    policy_kwargs,
)


def test_t1_orthogonal_initialization_reaches_normalized_layers() -> None:
    for options in ({}, {"stock": True, **policy_kwargs("weight")}):
        weight = make("PPO", "CnnPolicy", **options).policy.features_extractor.linear[0].weight
        gram = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
        torch.testing.assert_close(gram, 2 * torch.eye(len(gram)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("algorithm", ["DQN", "PPO"])
def test_t2_no_layers_come_with_an_extractor_of_ours(algorithm: str) -> None:
    stock = make(algorithm, "CnnPolicy", stock=True).policy
    named = make(algorithm, "CnnPolicy", stock=True, **policy_kwargs("weight")).policy
    own = make(algorithm, "CnnPolicy", features_extractor_class=WNNatureCNN).policy
    assert stock.state_dict().keys() == named.state_dict().keys() == own.state_dict().keys()
    deep = make(algorithm, "CnnPolicy", features_extractor_class=WNImpalaCNN).policy
    assert deep.net_arch == []
    asked = make(algorithm, "CnnPolicy", features_extractor_class=WNNatureCNN, net_arch=[8]).policy
    assert asked.net_arch == [8]


@pytest.mark.parametrize("norm", ["batch", "weight-mean", "spectral"])
def test_t3_building_leaves_statistics_as_they_begin(norm: str) -> None:
    for module in make("PPO", "CnnPolicy", norm=norm).policy.modules():
        if isinstance(module._buffers.get("running_mean"), torch.Tensor):
            assert not module.running_mean.any()
        if isinstance(module, Spectral):
            matrix = module.weight.flatten(1)
            found = torch.linalg.vector_norm(module.weight_u @ matrix)
            torch.testing.assert_close(found, torch.linalg.matrix_norm(matrix, 2), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("algorithm", "norm"),
    [("DQN", "projection"), ("PPO", "weight"), ("PPO", "projection"), ("A2C", "spectral")],
)
def test_t4_t5_t6_a_trained_policy_is_copied_and_pickled(algorithm: str, norm: str) -> None:
    model = make(algorithm, norm=norm).learn(STEPS)
    buffer = io.BytesIO()
    torch.save(model.policy, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(model.policy),
        pickle.loads(pickle.dumps(model.policy)),
        torch.load(buffer, weights_only=False),
        clone_policy(model.policy),
    ]
    for policy in (model.policy, *copies):  # each takes the same step, projection included
        assert same_weights(policy, copies[0])
    for policy in (model.policy, *copies):
        for parameter in (p for group in policy.optimizer.param_groups for p in group["params"]):
            parameter.grad = torch.ones_like(parameter)
        policy.optimizer.step()
    for policy in copies:
        assert same_weights(policy, model.policy)


def test_t4_the_networks_of_dqn_are_saved_by_themselves(tmp_path: Path) -> None:
    network = make("DQN", "CnnPolicy", norm="layer").policy.q_net
    network.save(tmp_path / "network.pt")
    assert same_weights(type(network).load(tmp_path / "network.pt", device="cpu"), network)


def test_t6_a_trained_stock_policy_is_cloned_too() -> None:
    policy = make("PPO", stock=True).learn(STEPS).policy
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(policy)
    clone = clone_policy(policy)
    assert same_weights(clone, policy)
    parameters = {id(p) for group in clone.optimizer.param_groups for p in group["params"]}
    assert parameters == {id(p) for p in clone.parameters()}
    assert parameters.isdisjoint(id(p) for p in policy.parameters())


def test_t6_a_clone_goes_on_with_the_noise_of_state_dependent_exploration() -> None:
    model = PPO(WNActorCriticMlpPolicy, "Pendulum-v1", n_steps=8, batch_size=8, use_sde=True)
    policy = model.learn(8).policy
    seen = torch.linspace(-1, 1, 3).reshape(1, 3)
    assert torch.equal(clone_policy(policy)(seen)[0], policy(seen)[0])


@pytest.mark.parametrize("algorithm", ["DQN", "PPO", "A2C"])
def test_t7_a_stock_checkpoint_goes_into_a_normalized_policy_and_back(algorithm: str) -> None:
    stock = make(algorithm, stock=True).learn(STEPS)
    normalized = make(algorithm).learn(STEPS)
    again = make(algorithm, stock=True)
    normalized.set_parameters(stock.get_parameters())
    assert same_weights(normalized.policy, stock.policy)
    assert not normalized.policy.optimizer.state  # moments of w are none of g and v
    normalized.learn(STEPS)
    again.set_parameters(normalized.get_parameters())
    assert same_weights(again.policy, normalized.policy)
    again.learn(STEPS)
    assert all(weight.isfinite().all() for weight in again.policy.parameters())
    normalized.set_parameters(again.get_parameters())
    assert not normalized.policy.optimizer.state  # nor is what torch's carried along unused


def test_t8_polyak_averages_the_weights_that_the_network_computes_with() -> None:
    model = make("DQN", tau=0.25)
    for layer in (model.policy.q_net.q_net[0], model.policy.q_net_target.q_net[0]):
        nn.init.normal_(layer.weight)
    online, target = (net.q_net[0] for net in (model.policy.q_net, model.policy.q_net_target))
    expected = 0.25 * online.weight + 0.75 * target.weight
    polyak_update(model.q_net.parameters(), model.q_net_target.parameters(), model.tau)
    torch.testing.assert_close(target.effective_weight(), expected)


def test_t9_weights_that_are_written_are_heard_at_once() -> None:
    layer = make("DQN").policy.q_net.q_net[0]
    layer.weight.data.mul_(2)  # which no version counter sees
    seen = torch.ones(1, 4)
    torch.testing.assert_close(layer(seen), seen @ layer.weight.T + layer.bias)


def test_t10_the_clip_from_outside_sees_the_gradient_of_the_weights() -> None:
    normalized, stock = make("PPO").policy, make("PPO", stock=True).policy
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    for policy in (normalized, stock):
        policy.predict_values(seen).square().sum().backward()
    norms = [nn.utils.clip_grad_norm_(p.parameters(), 1.0) for p in (normalized, stock)]
    assert norms[0] == norms[1]


@pytest.mark.parametrize("norm", ["batch", "batch-renorm", "weight-mean", "spectral"])
def test_t11_the_target_computes_what_the_online_network_acts_with(norm: str) -> None:
    model = make("DQN", norm=norm, train_freq=1, target_update_interval=8)
    with torch.no_grad():  # far from where statistics and vectors began
        model.policy.q_net.q_net[0].weight.add_(torch.randn(64, 4))
    model.learn(65)
    policy = model.policy
    for target, online in zip(
        policy.q_net_target.parameters(), policy.q_net.parameters(), strict=True
    ):
        target.data.copy_(online.data)
    polyak_update(model.batch_norm_stats, model.batch_norm_stats_target, 1.0)
    policy.set_training_mode(False)
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    for _ in range(20):  # as many updates
        policy.q_net_target(seen)
    expected = policy.q_net(seen)
    if norm == "spectral":  # by power iteration, whose own error is left
        torch.testing.assert_close(policy.q_net_target(seen), expected, rtol=0.1, atol=1e-2)
    else:
        assert torch.equal(policy.q_net_target(seen), expected)


@pytest.mark.parametrize(("norm", "moved"), [("weight", False), ("layer", False), ("batch", True)])
def test_t12_ppo_learns_at_the_policy_that_acted_but_with_batch_statistics(
    norm: str, moved: bool
) -> None:
    model = make("PPO", norm=norm)
    buffer = model.rollout_buffer
    model.learn(16)  # fills it, and learns
    model.collect_rollouts(model.env, model._init_callback(None), buffer, 16)
    model.policy.set_training_mode(True)
    batch = next(buffer.get(16))
    _, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions.flatten())
    gap = (log_prob - batch.old_log_prob).abs().max()
    assert (gap > 1e-3) if moved else (gap < 1e-5)


def test_t13_a_saved_policy_keeps_that_its_extractors_are_not_shared(tmp_path: Path) -> None:
    policy = make("PPO", "CnnPolicy", share_features_extractor=False, norm="layer").policy
    policy.save(tmp_path / "policy.pt")
    loaded = type(policy).load(tmp_path / "policy.pt", device="cpu")
    assert not loaded.share_features_extractor
    assert same_weights(loaded, policy)


def test_t14_a_shared_extractor_stays_one_object_under_its_three_names() -> None:
    policy = make("PPO", "CnnPolicy", norm="weight-mean").policy
    one = policy.features_extractor
    assert policy.pi_features_extractor is one
    assert policy.vf_features_extractor is one
    listed = [p for group in policy.optimizer.param_groups for p in group["params"]]
    assert len(listed) == len(set(listed)) == len(list(policy.parameters()))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["weight", "layer", "batch", "spectral"])
def test_t15_extractor_and_head_compile_in_one_graph(norm: str) -> None:
    network = make("DQN", "CnnPolicy", norm=norm).policy.q_net.eval()
    parts = nn.Sequential(network.features_extractor, network.q_net)
    compiled = torch.compile(parts, fullgraph=True, backend="aot_eager")
    seen = torch.rand(2, 1, 40, 40)
    torch.testing.assert_close(compiled(seen), parts(seen))


def test_t16_state_dependent_exploration_acts_as_in_the_stock_policy() -> None:
    seen = torch.linspace(-1, 1, 6).reshape(2, 3)
    acted = []
    for kind in (WNActorCriticMlpPolicy, "MlpPolicy"):
        policy = PPO(kind, "Pendulum-v1", seed=3, use_sde=True, device="cpu").policy
        policy.reset_noise(2)
        acted.append((policy.log_std, *policy(seen)))
    for ours, stock in zip(*acted, strict=True):
        assert torch.equal(ours, stock)


@pytest.mark.parametrize("algorithm", ["DQN", "PPO"])
def test_t17_we_draw_nothing_from_numpy_s_global_generator(algorithm: str) -> None:
    drawn = []
    for options in ({}, {"norm": "spectral"}, {"stock": True}):
        model = make(algorithm, **options)
        building = np.random.get_state()[2]  # noqa: NPY002  # how far it was drawn from
        model.learn(STEPS)
        drawn.append((building, np.random.random()))  # noqa: NPY002
    assert len(set(drawn)) == 1


def test_policies_are_found_by_reference_when_they_are_pickled() -> None:
    for kind in (WNCnnPolicy, WNMlpPolicy, WNActorCriticMlpPolicy):
        assert pickle.loads(pickle.dumps(kind)) is kind
    pickle.dumps(policy_kwargs("layer"))
