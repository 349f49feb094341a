"""Stable-Baselines3's policies with a normalization: what they start as, and what steps them."""

import importlib
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_models import IN_SB3, OTHER_STEPS, STEPS, env_of, make, ours, same_weights
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

import wnrl.sb3
from wnrl._settings import UsageError
from wnrl.nn import NORMS, WNConv2d, WNLinear, get_norm, register_norm
from wnrl.nn.norms.layers.features import UnitLength
from wnrl.nn.norms.layers.projection import ProjectedLinear
from wnrl.nn.norms.record import SAME, SAME_ACTING
from wnrl.optim.weight_norm import WNAdam, WNRMSprop
from wnrl.sb3 import WNActorCriticMlpPolicy, WNImpalaCNN, WNNatureCNN, check_version, policy_kwargs
from wnrl.sb3.normalize import normalize_

EVERY = [(a, p) for a in ("DQN", "PPO", "A2C") for p in ("MlpPolicy", "CnnPolicy")]
EVERY += [("DQN", "MultiInputPolicy"), ("PPO", "MultiInputPolicy")]


@pytest.mark.parametrize(("algorithm", "policy"), EVERY)
def test_weight_norm_begins_as_the_stock_policy_bit_for_bit(algorithm: str, policy: str) -> None:
    normalized = make(algorithm, policy).policy
    stock = make(algorithm, policy, stock=True).policy
    assert same_weights(normalized, stock)
    assert any(isinstance(layer, WNLinear | WNConv2d) for layer in normalized.modules())
    observation = env_of(policy).observation_space.sample()
    action, _ = normalized.predict(observation, deterministic=True)
    assert action == stock.predict(observation, deterministic=True)[0]


@pytest.mark.parametrize("algorithm", ["DQN", "PPO", "A2C"])
def test_none_learns_what_the_stock_policy_learns(algorithm: str) -> None:
    plain = make(algorithm, norm="none").learn(STEPS)
    stock = make(algorithm, stock=True).learn(STEPS)
    assert type(plain.policy.optimizer) is type(stock.policy.optimizer)
    assert same_weights(plain.policy, stock.policy)


@pytest.mark.parametrize("name", [name for name in IN_SB3 if name != "none"])
def test_every_entry_of_the_catalogue_starts_as_it_says(name: str) -> None:
    policy = make("PPO", norm=name, norm_settings={"groups": 8} if name == "group" else None).policy
    stock = make("PPO", stock=True).policy
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    policy.set_training_mode(False)
    apart = (policy.predict_values(seen) - stock.predict_values(seen)).abs().max()
    scale = stock.predict_values(seen).abs().max()
    if get_norm(name).start in (SAME, SAME_ACTING):
        # batch-renorm's epsilon of 1e-3 in two layers
        assert apart <= 2e-3 * scale
    else:
        assert apart > 0.01 * scale


@pytest.mark.parametrize("name", OTHER_STEPS)
def test_a_step_that_sb3_cannot_save_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"norm '{name}' builds a .*Step, which Stable-Baselines3"):
        make("PPO", norm=name)


@pytest.mark.parametrize("name", IN_SB3)
def test_every_entry_draws_as_many_random_numbers_as_the_stock_policy(name: str) -> None:
    make("PPO", stock=True)
    expected = torch.rand(3)
    make("PPO", norm=name, norm_settings={"groups": 8} if name == "group" else None)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", [name for name in IN_SB3 if name != "none"])
def test_every_entry_of_the_catalogue_learns_from_images(name: str) -> None:
    model = make("DQN", "CnnPolicy", norm=name)
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(16)
    for name, value in model.policy.named_parameters():
        assert value.isfinite().all(), name
        if "target" not in name and "cnn.0." in name and value.requires_grad:
            assert not torch.equal(value, before[name]), name


def test_activations_are_normalized_between_a_layer_and_its_nonlinearity() -> None:
    extractor = make("PPO", "CnnPolicy", norm="layer").policy.features_extractor
    assert [type(layer).__name__ for layer in extractor.cnn] == ["Conv2d", "ReLU"] * 3 + ["Flatten"]
    assert extractor.cnn[0].norm.normalized_shape == (32, 9, 9)  # (40 - 8) / 4 + 1
    before: list[torch.Tensor] = []
    extractor.cnn[1].register_forward_pre_hook(lambda _, inputs: before.append(inputs[0]))
    extractor(torch.rand(1, 1, 40, 40))
    assert before[0].mean().abs() < 1e-5
    assert (before[0].std() - 1).abs() < 1e-3


def test_features_of_unit_length_follow_the_last_nonlinearity() -> None:
    extractor = make("PPO", "CnnPolicy", norm="penultimate-l2").policy.features_extractor
    normalized = [n for n, layer in extractor.named_modules() if isinstance(layer, UnitLength)]
    assert normalized == ["linear.1.norm"]  # of the ReLU, after it
    features = extractor(torch.rand(3, 1, 40, 40))
    assert torch.allclose(features.norm(dim=1), torch.ones(3))
    assert bool((features >= 0).all())


def test_a_layer_without_a_nonlinearity_of_its_own_is_not_normalized_after_it() -> None:
    norm, shared = get_norm("penultimate-l2"), nn.ReLU()
    plain = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    twice = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared)
    for network, message in ((plain, "'0' is followed by Linear"), (twice, "several places")):
        with pytest.raises(UsageError, match=message):
            normalize_(network, norm, ["0"], lambda network=network: network(torch.zeros(1, 2)))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("torso", "policy_net.0 policy_net.2 value_net.0 value_net.2"),
        ("policy", "policy_net.0 policy_net.2"),
        ("penultimate", "policy_net.2 value_net.2"),
        ("head", "action_net value_net"),
        ("mlp_extractor.value_net.0,action_net", "value_net.0 action_net"),
    ],
)
def test_a_place_is_named_as_on_the_command_line_or_by_a_path(where: str, expected: str) -> None:
    policy = make("PPO", norm_where=where).policy
    normalized = [n for n, layer in policy.named_modules() if isinstance(layer, WNLinear)]
    assert [name.removeprefix("mlp_extractor.") for name in normalized] == expected.split()


def test_one_torso_is_called_torso_and_its_heads_policy_and_value() -> None:
    policy = make("PPO", "CnnPolicy", norm_where="policy").policy
    kinds = (WNLinear, WNConv2d)
    assert [n for n, layer in policy.named_modules() if isinstance(layer, kinds)] == ["action_net"]


def test_parameters_of_a_normalization_are_given_by_name() -> None:
    policy = make("DQN", norm="layer", norm_settings={"eps": 0.25}).policy
    norms = [layer for layer in policy.modules() if isinstance(layer, nn.LayerNorm)]
    assert [layer.eps for layer in norms] == [0.25] * 4  # and the target's


def test_ones_own_normalization_is_found_by_its_name() -> None:
    register_norm(get_norm("layer").derived("layer-of-a-test", linear=ProjectedLinear))
    try:
        kinds = {type(layer) for layer in make("DQN", norm="layer-of-a-test").policy.modules()}
    finally:
        del NORMS["layer-of-a-test"]
    assert {nn.LayerNorm, ProjectedLinear} <= kinds


@pytest.mark.parametrize(("algorithm", "eps"), [("DQN", 1e-8), ("PPO", 1e-5)])
def test_the_optimizer_has_the_settings_that_the_algorithm_gives(
    algorithm: str, eps: float
) -> None:
    optimizer = make(algorithm).policy.optimizer
    assert isinstance(optimizer, WNAdam)
    assert [group["eps"] for group in optimizer.param_groups] == [eps, eps]
    assert [group["weight_norm"] for group in optimizer.param_groups] == [True, False]


def test_a2c_steps_by_weight_normalizing_rmsprop() -> None:
    optimizer = make("A2C").policy.optimizer
    assert isinstance(optimizer, WNRMSprop)
    group = optimizer.param_groups[0]
    assert (group["alpha"], group["eps"], group["lr"]) == (0.99, 1e-5, 7e-4)


def test_heads_are_stepped_plainly_unless_they_are_placed() -> None:
    model = make("PPO")
    model.learn(STEPS)
    states = model.policy.optimizer.state
    assert "norm" in states[model.policy.mlp_extractor.policy_net[0].weight]
    assert "norm" not in states[model.policy.action_net.weight]


def test_ones_own_optimizer_is_taken_in_its_weight_normalizing_form() -> None:
    chosen = {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}}
    assert make("DQN", **chosen).policy.optimizer.param_groups[0]["momentum"] == 0.5
    chosen = {"optimizer_class": WNAdam, "optimizer_kwargs": {"v_norm": "unit"}}
    assert make("DQN", **chosen).policy.optimizer.param_groups[0]["v_norm"] == "unit"


@pytest.mark.parametrize(
    "chosen",
    [
        {"optimizer_class": torch.optim.AdamW},
        {"optimizer_class": RMSpropTFLike},
        {"optimizer_kwargs": {"weight_decay": 0.1}},
    ],
)
def test_an_optimizer_without_such_a_form_steps_gains_and_vectors(chosen: dict[str, Any]) -> None:
    model, stock = make("PPO", **chosen), make("PPO", stock=True)
    kind = chosen.get("optimizer_class", torch.optim.Adam)
    assert type(model.policy.optimizer) is kind
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    values = [each.policy.predict_values(seen) for each in (model, stock)]
    torch.testing.assert_close(*values)
    layer = model.policy.mlp_extractor.policy_net[0]
    before = [parameter.clone() for parameter in layer.gv_parameters("weight")]
    model.learn(STEPS)
    for old, new in zip(before, layer.gv_parameters("weight"), strict=True):
        assert not torch.equal(old, new)
    copied = pickle.loads(pickle.dumps(model.policy))
    assert same_weights(copied, model.policy)


@pytest.mark.parametrize("name", ["spectral", "projection"])
def test_the_target_begins_as_the_online_network(name: str) -> None:
    policy = make("DQN", norm=name).policy
    assert same_weights(policy.q_net, policy.q_net_target)


def test_a_schedule_of_the_learning_rate_reaches_every_group() -> None:
    schedule = LinearSchedule(1e-3, 1e-4, 1.0)
    model = PPO(WNActorCriticMlpPolicy, "CartPole-v1", schedule, 16, 8, 1, device="cpu")
    assert {group["lr"] for group in model.policy.optimizer.param_groups} == {1e-3}
    model.learn(32)
    rates = {group["lr"] for group in model.policy.optimizer.param_groups}
    assert rates == {schedule(0.5 - 0.5)}


@pytest.mark.parametrize("name", ["projection", "nap"])
def test_a_projection_follows_every_step(name: str) -> None:
    model = make("DQN", norm=name)
    layer = model.policy.q_net.q_net[0]
    start = torch.linalg.vector_norm(layer.weight)
    model.learn(STEPS)
    lengths = torch.linalg.vector_norm(layer.weight, dim=1)
    if name == "projection":
        torch.testing.assert_close(lengths, torch.ones_like(lengths))
    else:
        torch.testing.assert_close(torch.linalg.vector_norm(lengths), start)


def test_a_penalty_is_added_to_the_gradient_of_every_step() -> None:
    """Where lambda outweighs the loss, gates close; without it they stay where they are."""
    changes = []
    for penalty in (0.0, 1e9):
        model = make("DQN", norm="l0", norm_settings={"penalty": penalty})
        gates = model.policy.q_net.q_net[0].log_alpha
        start = gates.detach().clone()
        model.learn(STEPS)
        changes.append((gates - start).detach())
    assert (changes[1] < 0).all()
    assert not (changes[0] < 0).all()


def test_an_extractor_of_ones_own_is_normalized_with_its_options() -> None:
    class Grouped(BaseFeaturesExtractor):
        def __init__(self, observation_space: spaces.Box) -> None:
            super().__init__(observation_space, 4)
            conv = nn.Conv2d(1, 4, 3, dilation=2, padding="same", padding_mode="circular")
            grouped = nn.Conv2d(4, 4, 3, stride=20, groups=2, bias=False)
            self.layers = nn.Sequential(conv, nn.ReLU(), grouped, nn.ReLU(), nn.Flatten())
            self.out = nn.Linear(16, 4)

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.out(self.layers(observations)))

    for norm in ("weight", "spectral", "weight-standardization"):
        extractor = make(
            "PPO", "CnnPolicy", features_extractor_class=Grouped, norm=norm
        ).policy.features_extractor
        first, _, second = extractor.layers[:3]
        assert (first.dilation, first.padding, first.padding_mode) == ((2, 2), "same", "circular")
        assert (second.groups, second.bias) == (2, None)
        assert type(first) is not nn.Conv2d
        assert type(extractor.out) is not nn.Linear
    with pytest.raises(UsageError, match=r"'features_extractor\.out' is unknown"):
        make("PPO", "CnnPolicy", features_extractor_class=Grouped, norm="layer")


@pytest.mark.parametrize("kind", [WNNatureCNN, WNImpalaCNN])
def test_our_extractors_take_the_normalization_of_the_policy(kind: type[nn.Module]) -> None:
    for algorithm in ("DQN", "PPO"):
        policy = make(algorithm, "CnnPolicy", features_extractor_class=kind, norm="layer").policy
        norms = [layer for layer in policy.modules() if isinstance(layer, nn.LayerNorm)]
        layers = {WNNatureCNN: 4, WNImpalaCNN: 16}[kind]
        assert len(norms) == layers * (2 if algorithm == "DQN" else 1)
        assert not any(isinstance(layer, WNConv2d) for layer in policy.modules())


def test_images_that_are_floats_are_taken_as_they_are() -> None:
    env = env_of("CnnPolicy")
    env.observation_space = spaces.Box(0.0, 1.0, (1, 40, 40))
    for kind in (NatureCNN, WNNatureCNN, WNImpalaCNN):
        options = {"normalize_images": False, "features_extractor_class": kind, "norm": "layer"}
        assert make("PPO", "CnnPolicy", env=env, **options).policy.features_extractor is not None


def test_building_moves_no_statistics_of_an_extractor_of_ones_own() -> None:
    class Normal(BaseFeaturesExtractor):
        def __init__(self, observation_space: spaces.Box) -> None:
            super().__init__(observation_space, 4)
            layers = (nn.Conv2d(1, 4, 40), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(4))
            self.layers = nn.Sequential(*layers)

        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = self.layers(observations)
            return features

    model = make("DQN", "CnnPolicy", features_extractor_class=Normal, norm="layer")
    statistics = model.policy.q_net.features_extractor.layers.get_submodule("3")
    assert statistics.num_batches_tracked == 0
    assert statistics.training


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"norm": "wieght"}, "unknown normalization 'wieght'.*did you mean weight"),
    ({"norm": nn.LayerNorm}, "register it .* and give its name"),
    ({"norm_where": "conv1"}, "^norm_where 'conv1': this network has no such"),
    ({"norm": "layer", "norm_where": "head"}, "output layer"),
    (
        {"norm": "layer", "norm_settings": {"epsi": 1}},
        r"^norm_settings\['epsi'\] is not a parameter",
    ),
    ({"norm": "group"}, r"^norm_settings\['groups'\] 32 puts 2 of 64"),
    ({"norm": "batch", "norm_settings": {"statistics": "joint"}}, "both ends of a transition"),
    ({"norm": "nap", "optimizer_class": torch.optim.SGD}, "builds its own optimizer"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_what_cannot_be_is_told_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        make("DQN", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "env", "sentence"),
    [
        (
            "CnnPolicy",
            "MlpPolicy",
            r"NatureCNN takes uint8 images .* are Box \(4,\) float32: use the MLP policy",
        ),
        ("MlpPolicy", "MultiInputPolicy", "use the multi-input policy"),
        ("CnnPolicy", "MultiInputPolicy", "use the multi-input policy"),
        ("MultiInputPolicy", "MlpPolicy", "a multi-input policy takes spaces.Dict"),
    ],
)
@pytest.mark.parametrize("algorithm", ["DQN", "PPO"])
def test_observations_of_another_kind_are_told_in_one_sentence(
    algorithm: str, policy: str, env: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        make(algorithm, policy, env=env_of(env))
    assert "\n" not in str(caught.value)


def test_a_normalization_told_to_the_extractor_of_our_policy_is_not_lost_silently() -> None:
    with pytest.raises(UsageError, match="has norm, norm_where, norm_settings, and the policy"):
        make("PPO", "CnnPolicy", **policy_kwargs("layer"))
    alone = {"features_extractor_class": WNImpalaCNN, "features_extractor_kwargs": {"width": 2}}
    assert make("DQN", "CnnPolicy", **alone).policy.norm == "weight"


def test_dicts_for_our_extractor_in_a_stock_policy_are_told_in_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"WNNatureCNN takes .*Dict of picture, vector: use"):
        make("PPO", "MultiInputPolicy", stock=True, **policy_kwargs("weight"))


BOXES = {
    "float": spaces.Box(0.0, 1.0, (40, 40, 3)),
    "bool": spaces.Box(0, 1, (40, 40, 3), np.bool_),
    "bytes without 255": spaces.Box(0, 7, (40, 40, 3), np.uint8),
    "a cube": spaces.Box(0.0, 1.0, (40, 40, 40)),
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
@pytest.mark.parametrize("kind", [NatureCNN, WNNatureCNN, WNImpalaCNN])
def test_images_with_the_channels_last_are_never_read_as_channels_first(
    box: spaces.Box, kind: Any
) -> None:
    env = env_of("CnnPolicy")
    env.observation_space = box
    options = {"normalize_images": False, "features_extractor_class": kind}
    with pytest.raises(UsageError, match=r"takes images with the channels first.*40, 40") as caught:
        make("PPO", "CnnPolicy", env=env, **options)
    assert "\n" not in str(caught.value)
    if kind is not NatureCNN:
        with pytest.raises(UsageError, match="takes images with the channels first"):
            kind(box, normalized_image=True)


def test_an_image_of_a_dict_with_the_channels_last_is_named() -> None:
    env = env_of("MultiInputPolicy")
    env.observation_space = spaces.Dict(eye=BOXES["bool"], arm=spaces.Box(-1.0, 1.0, (2,)))
    with pytest.raises(UsageError, match=r"^CombinedExtractor \(eye\) takes images with the chan"):
        make("PPO", "MultiInputPolicy", env=env, normalize_images=False)
    env.observation_space = spaces.Dict(eye=spaces.Box(0.0, 1.0, (3, 40, 40)))
    make("PPO", "MultiInputPolicy", env=env, normalize_images=False)


def test_small_images_are_told_in_one_sentence() -> None:
    from stable_baselines3.common.envs import FakeImageEnv

    env = FakeImageEnv(screen_height=20, screen_width=20, n_channels=1, discrete=True)
    with pytest.raises(UsageError, match="at least 36x36, and observations are"):
        DQN(ours("DQN", "CnnPolicy"), env, buffer_size=10)


@pytest.mark.parametrize("version", ["1.8.0", "2.6.4", "3.0.0a1"])
def test_another_stable_baselines3_is_told_in_one_sentence(version: str) -> None:
    with pytest.raises(ImportError, match=f"and {version} is installed: pip install"):
        check_version(version)


@pytest.mark.parametrize("version", ["2.7.0", "2.9.2", "2.10.0"])
def test_versions_that_have_what_we_need_are_taken(version: str) -> None:
    check_version(version)


def test_a_function_that_is_named_like_its_module_is_what_the_package_exports() -> None:
    for name in ("clone_policy", "policy_kwargs"):
        importlib.import_module(f"wnrl.sb3.{name}")
        assert inspect.isfunction(getattr(wnrl.sb3, name))
