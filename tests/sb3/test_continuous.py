"""SAC, TD3 and DDPG with a normalization: an actor, critics and targets, each optimizer its own."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from sb3_models import ALGORITHMS, IN_SB3, STEPS, make, same_weights
from torch import nn

from wnrl._settings import UsageError
from wnrl.nn import WNConv2d, WNLinear, get_norm
from wnrl.nn.norms.layers.projection import ProjectedLinear
from wnrl.nn.norms.record import SAME, SAME_ACTING
from wnrl.optim.weight_norm import WNAdam
from wnrl.sb3 import SB3NormCallback, WNImpalaCNN, clone_policy, policy_kwargs

EVERY = [("SAC", "MlpPolicy"), ("TD3", "MlpPolicy"), ("DDPG", "MlpPolicy"), ("TD3", "CnnPolicy")]
EVERY += [("SAC", "CnnPolicy"), ("SAC", "MultiInputPolicy"), ("TD3", "MultiInputPolicy")]
SEEN = torch.linspace(-1, 1, 12).reshape(4, 3)  # of Pendulum
TAKEN = torch.linspace(-1, 1, 4).reshape(4, 1)
SMALL = {"net_arch": [32, 32]}


def settings_of(norm: str) -> dict[str, Any]:
    return {"norm": norm, "norm_settings": {"groups": 8} if norm == "group" else {}}


def values(policy: Any) -> torch.Tensor:
    policy.set_training_mode(False)
    found: torch.Tensor = torch.cat(policy.critic(SEEN, TAKEN), dim=1)
    return found


def step_alike(*policies: Any) -> None:
    """Give all policies the same gradients and step both of their optimizers."""
    for policy in policies:
        for network in (policy.actor, policy.critic):
            for parameter in network.parameters():
                gradient = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)
                parameter.grad = gradient.to(parameter.device)
            network.optimizer.step()


@pytest.mark.parametrize(("algorithm", "policy"), EVERY)
def test_weight_norm_begins_as_the_stock_policy_bit_for_bit(algorithm: str, policy: str) -> None:
    normalized = make(algorithm, policy).policy
    stock = make(algorithm, policy, stock=True)
    assert same_weights(normalized, stock.policy)
    for network in (normalized.actor, normalized.critic, normalized.critic_target):
        assert any(isinstance(layer, WNLinear | WNConv2d) for layer in network.modules())
    observation = stock.env.observation_space.sample()
    actions = [p.predict(observation, deterministic=True)[0] for p in (normalized, stock.policy)]
    torch.testing.assert_close(*map(torch.tensor, actions))  # channels-last rounds otherwise


@pytest.mark.parametrize("algorithm", ["SAC", "TD3", "DDPG"])
def test_none_learns_what_the_stock_policy_learns(algorithm: str) -> None:
    plain = make(algorithm, norm="none", **SMALL).learn(STEPS)
    stock = make(algorithm, stock=True, **SMALL).learn(STEPS)
    for network in ("actor", "critic"):
        mine, theirs = (getattr(model.policy, network).optimizer for model in (plain, stock))
        assert type(mine) is type(theirs)
    assert same_weights(plain.policy, stock.policy)


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_none_with_a_shared_extractor_learns_what_the_stock_policy_learns(algorithm: str) -> None:
    shared = {"share_features_extractor": True, **SMALL}
    learned = []
    for options in ({"norm": "none"}, {"stock": True}):
        model = make(algorithm, "CnnPolicy", **options, **shared)
        model.policy.to(memory_format=torch.contiguous_format)  # the same rounding
        learned.append(model.learn(16).policy)
    for network in ("actor", "critic"):
        mine, theirs = (getattr(policy, network).optimizer for policy in learned)
        counts = [len(each.param_groups[0]["params"]) for each in (mine, theirs)]
        assert counts[0] == counts[1]
    assert same_weights(*learned)


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
@pytest.mark.parametrize("norm", ["weight", "layer", "batch", "spectral", "projection", "nap"])
def test_a_shared_extractor_is_normalized_once_and_in_the_targets(
    algorithm: str, norm: str
) -> None:
    shared = {"share_features_extractor": True, **SMALL}
    policy = make(algorithm, "CnnPolicy", norm=norm, **shared).learn(16).policy
    assert policy.critic.features_extractor is policy.actor.features_extractor
    target = policy.critic_target.features_extractor
    assert [*map(type, target.modules())] == [*map(type, policy.actor.features_extractor.modules())]
    assert all(parameter.isfinite().all() for parameter in policy.parameters())


@pytest.mark.parametrize("name", [name for name in IN_SB3 if name != "none"])
@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_every_entry_of_the_catalogue_starts_as_it_says_and_learns(
    algorithm: str, name: str
) -> None:
    model = make(algorithm, **settings_of(name), **SMALL)
    expected = values(make(algorithm, stock=True, **SMALL).policy)
    apart = (values(model.policy) - expected).abs().max()
    if get_norm(name).start in (SAME, SAME_ACTING):
        assert apart <= 2e-3 * expected.abs().max()  # batch-renorm's epsilon of 1e-3 in two layers
    else:
        assert apart > 0.01 * expected.abs().max()
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(STEPS)
    first = {"SAC": "latent_pi.0.", "TD3": "mu.0."}[algorithm]
    for name, value in model.policy.named_parameters():
        assert value.isfinite().all(), name
        fixed = model.policy.norm == "weight-fixed-gain" and name.endswith("weight_g")
        if (first in name or ".qf1.0." in name) and not fixed:  # targets too
            assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", IN_SB3)
def test_every_entry_draws_as_many_random_numbers_as_the_stock_policy(name: str) -> None:
    make("SAC", stock=True, **SMALL)
    expected = torch.rand(3)
    make("SAC", **settings_of(name), **SMALL)
    assert torch.equal(torch.rand(3), expected)


ACTOR = "actor.latent_pi.0 actor.latent_pi.2"
CRITICS = "critic.qf0.0 critic.qf0.2 critic.qf1.0 critic.qf1.2"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("torso", f"{ACTOR} {CRITICS}"),
        ("actor,critic", f"{ACTOR} {CRITICS}"),
        ("actor", ACTOR),
        ("critic", CRITICS),
        ("critic.qf1", "critic.qf1.0 critic.qf1.2"),
        ("penultimate", "actor.latent_pi.2 critic.qf0.2 critic.qf1.2"),
        ("head", "actor.mu critic.qf0.4 critic.qf1.4"),
        ("actor.mu,critic.qf0.0", "actor.mu critic.qf0.0"),
    ],
)
def test_a_place_is_the_actor_the_critic_or_a_part_of_them(where: str, expected: str) -> None:
    policy = make("SAC", norm_where=where, **SMALL).policy
    normalized = [n for n, layer in policy.named_modules() if isinstance(layer, WNLinear)]
    online = [name for name in normalized if "_target" not in name]
    assert online == expected.split()
    targets = [name.replace("critic.", "critic_target.") for name in online if "critic" in name]
    assert [name for name in normalized if "_target" in name] == targets


def test_td3_has_a_target_of_the_actor_too() -> None:
    policy = make("TD3", norm_where="actor", **SMALL).policy
    normalized = [n for n, layer in policy.named_modules() if isinstance(layer, WNLinear)]
    assert normalized == [f"{a}.mu.{i}" for a in ("actor", "actor_target") for i in (0, 2)]


def test_an_unknown_place_is_told_with_the_parts_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"'policy': .* layers: actor \(actor\.latent_pi\.0, "):
        make("SAC", norm_where="policy")
    with pytest.raises(UsageError, match=r"^norm_where is \['critic'\], not text"):
        make("SAC", norm_where=["critic"])


def test_log_std_and_the_entropy_coefficient_stay_plain() -> None:
    model = make("SAC", norm_where="all", **SMALL).learn(STEPS)
    actor = model.policy.actor
    assert type(actor.log_std) is nn.Linear
    assert "norm" not in actor.optimizer.state[actor.log_std.weight]
    assert "norm" in actor.optimizer.state[actor.mu.weight]
    assert type(model.ent_coef_optimizer) is torch.optim.Adam


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_targets_are_averages_of_the_weights_and_are_never_stepped(algorithm: str) -> None:
    model = make(algorithm, tau=0.25, gradient_steps=0, **SMALL).learn(16)
    targets = [n for n in ("actor_target", "critic_target") if hasattr(model.policy, n)]
    old = [copy.deepcopy(getattr(model.policy, name)) for name in targets]
    model.train(1 if algorithm == "SAC" else 2, 8)  # one average
    for name, before in zip(targets, old, strict=True):
        online = getattr(model.policy, name.removesuffix("_target"))
        pairs = zip(online.parameters(), before.parameters(), strict=True)
        expected = [0.25 * new + 0.75 * start for new, start in pairs]
        for found, value in zip(getattr(model.policy, name).parameters(), expected, strict=True):
            torch.testing.assert_close(found, value)
    stepped = [p for n in (model.actor, model.critic) for p in n.optimizer.state]
    assert not {id(p) for n in targets for p in getattr(model, n).parameters()} & {
        *map(id, stepped)
    }


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_both_optimizers_follow_gains_and_vectors(algorithm: str) -> None:
    # With tau 1 a target has the weights of its network, in whichever way they are stored.
    computed = {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.0}}
    stored = make(algorithm, tau=1.0, **SMALL).learn(STEPS).policy
    gains = make(algorithm, tau=1.0, **computed, **SMALL).learn(STEPS).policy
    for network in (stored.actor, stored.critic):
        assert isinstance(network.optimizer, WNAdam)
    for network in (gains.actor, gains.critic):
        assert type(network.optimizer) is torch.optim.AdamW
    pairs = zip(stored.modules(), gains.modules(), strict=True)
    layers = [(one, other) for one, other in pairs if isinstance(one, WNLinear)]
    assert len(layers) == {"SAC": 2 + 4 + 4, "TD3": 2 + 2 + 4 + 4}[algorithm]
    for one, other in layers:
        torch.testing.assert_close(one.weight, other.effective_weight(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "weight"])
@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_a_trained_policy_is_copied_and_pickled(algorithm: str, norm: str) -> None:
    policy = make(algorithm, norm=norm, **SMALL).learn(STEPS).policy
    pickled = pickle.loads(pickle.dumps(policy))
    copies = [copy.deepcopy(policy), pickled, clone_policy(policy)]
    for each in copies:
        assert same_weights(each, policy)
    step_alike(policy, *copies)
    for each in copies:
        assert same_weights(each, policy)
    policy.predict(SEEN.numpy())  # its actor still has a distribution


def test_a_trained_stock_policy_is_cloned_too() -> None:
    policy = make("SAC", stock=True, use_sde=True, **SMALL).learn(STEPS).policy
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(policy)
    assert same_weights(clone_policy(policy), policy)


def test_state_dependent_exploration_is_that_of_the_stock_policy_and_is_copied() -> None:
    model = make("SAC", use_sde=True, **SMALL)
    stock = make("SAC", stock=True, use_sde=True, **SMALL)
    assert torch.equal(model.policy.actor(SEEN), stock.policy.actor(SEEN))
    policy = model.learn(STEPS).policy
    assert torch.equal(copy.deepcopy(policy).actor(SEEN), policy.actor(SEEN))


@pytest.mark.parametrize("norm", ["projection", "nap"])
@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_a_projection_follows_every_step_of_both_optimizers(algorithm: str, norm: str) -> None:
    policy = make(algorithm, norm=norm, **SMALL).learn(STEPS).policy
    for each in (policy, copy.deepcopy(policy)):
        step_alike(each)
        for network in (each.actor, each.critic):
            layers = [layer for layer in network.modules() if isinstance(layer, ProjectedLinear)]
            assert layers
            for layer in layers:
                length = torch.linalg.vector_norm(layer.weight, dim=1 if layer.by_rows else None)
                torch.testing.assert_close(length, layer.radius.expand_as(length))


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_a_spectral_target_computes_what_its_network_computes(algorithm: str) -> None:
    policy = make(algorithm, norm="spectral", **SMALL).policy
    with torch.no_grad():  # far from where the vectors began
        for parameter in policy.critic.parameters():
            parameter.add_(torch.randn(parameter.shape))
    for _ in range(50):
        policy.set_training_mode(True)
        policy.critic(SEEN, TAKEN)
    for target, online in zip(
        policy.critic_target.parameters(), policy.critic.parameters(), strict=True
    ):
        target.data.copy_(online.data)
    expected = values(policy)
    restored = pickle.loads(pickle.dumps(policy))
    for each in (policy, restored):
        for _ in range(50):
            found = torch.cat(each.critic_target(SEEN, TAKEN), dim=1)
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


SAVED = [("SAC", "weight"), ("TD3", "weight"), ("DDPG", "layer"), ("SAC", "nap"), ("TD3", "batch")]


@pytest.mark.parametrize(("algorithm", "norm"), SAVED)
def test_a_loaded_algorithm_goes_on_as_the_saved_one(
    algorithm: str, norm: str, tmp_path: Path
) -> None:
    model = make(algorithm, norm=norm, norm_where="critic", **SMALL).learn(STEPS)
    model.save(tmp_path / "model.zip")
    loaded = ALGORITHMS[algorithm].load(tmp_path / "model.zip", device="cpu")
    assert type(loaded.policy) is type(model.policy)
    assert loaded.policy.norm_where == "critic"
    assert same_weights(loaded.policy, model.policy)
    step_alike(loaded.policy, model.policy)  # the optimizers' states too
    assert same_weights(loaded.policy, model.policy)
    loaded.set_env(model.get_env())
    loaded.learn(8)


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_a_policy_is_saved_and_loaded_by_itself(algorithm: str, tmp_path: Path) -> None:
    options = {"norm": "layer", "norm_settings": {"eps": 0.1}, "share_features_extractor": True}
    policy = make(algorithm, "CnnPolicy", **options, **SMALL).learn(16).policy
    policy.save(tmp_path / "policy.pt")
    loaded = type(policy).load(tmp_path / "policy.pt", device="cpu")
    assert (loaded.norm, loaded.norm_settings) == ("layer", {"eps": 0.1})
    assert loaded.critic.features_extractor is loaded.actor.features_extractor
    assert same_weights(loaded, policy)


@pytest.mark.parametrize("algorithm", ["SAC", "TD3"])
def test_a_stock_checkpoint_goes_into_a_normalized_policy_and_back(algorithm: str) -> None:
    stock = make(algorithm, stock=True, **SMALL).learn(STEPS)
    normalized = make(algorithm, **SMALL).learn(STEPS)
    again = make(algorithm, stock=True, **SMALL)
    normalized.set_parameters(stock.get_parameters())
    assert same_weights(normalized.policy, stock.policy)
    assert not normalized.actor.optimizer.state  # moments of w are none of g and v
    assert not normalized.critic.optimizer.state
    normalized.learn(STEPS)
    again.set_parameters(normalized.get_parameters())
    assert same_weights(again.policy, normalized.policy)
    again.learn(STEPS)


@pytest.mark.parametrize("algorithm", ["SAC", "TD3", "DDPG"])
def test_our_extractor_brings_the_layers_that_follow_the_stock_one(
    algorithm: str, tmp_path: Path
) -> None:
    policy = make(algorithm, "CnnPolicy", features_extractor_class=WNImpalaCNN).policy
    assert policy.net_arch == [256, 256]
    options = policy_kwargs("weight", algorithm=algorithm)
    named = make(algorithm, "CnnPolicy", stock=True, **options).learn(16)
    stock = make(algorithm, "CnnPolicy", stock=True).policy
    assert named.policy.state_dict().keys() == stock.state_dict().keys()
    named.save(tmp_path / "model.zip")
    loaded = ALGORITHMS[algorithm].load(tmp_path / "model.zip", device="cpu")
    assert same_weights(loaded.policy, named.policy)
    for network in (loaded.actor, loaded.critic):
        states = network.optimizer.state
        assert "norm" in states[network.features_extractor.cnn[0].weight]


def test_the_callback_refuses_them_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="network of WNSACPolicy cannot be read; use a policy of"):
        make("SAC", **SMALL).learn(STEPS, callback=SB3NormCallback())
