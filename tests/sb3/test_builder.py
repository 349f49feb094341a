"""A policy under the wrong algorithm, and under TRPO, which steps an actor's Parameters itself."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium import spaces
from sb3_models import STEPS, cart_pole, env_of, make, same_weights
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy

import wnrl.sb3
from wnrl._settings import UsageError
from wnrl.nn import convert_
from wnrl.sb3 import (
    NormalizedActorCritic,
    WNActorCriticCnnPolicy,
    WNActorCriticMlpPolicy,
    WNActorCriticMultiInputPolicy,
    WNCnnPolicy,
    WNMlpPolicy,
    WNNatureCNN,
    WNSACPolicy,
    WNTD3CnnPolicy,
    policy_kwargs,
)
from wnrl.sb3.builder import _IN_CONTRIB, _POLICIES

sb3_contrib = pytest.importorskip("sb3_contrib")
from wnrl.sb3 import contrib  # noqa: E402  # after the skip

PENDULUM, CART_POLE = "Pendulum-v1", "CartPole-v1"
THEIRS = "WNActorCritic{}Policy is PPO's, A2C's and TRPO's; "
WRONG: list[tuple[Any, type, str, str]] = [
    (PPO, WNMlpPolicy, CART_POLE, "DQN's; for PPO and A2C take WNActorCriticMlpPolicy"),
    (A2C, WNCnnPolicy, CART_POLE, "DQN's; for PPO and A2C take WNActorCriticCnnPolicy"),
    (DQN, WNActorCriticMlpPolicy, CART_POLE, THEIRS.format("Mlp") + "for DQN take WNMlpPolicy"),
    (SAC, WNMlpPolicy, PENDULUM, "DQN's; for SAC take WNSACPolicy$"),
    (TD3, WNSACPolicy, PENDULUM, "SAC's; for TD3 and DDPG take WNTD3Policy$"),
    (DDPG, WNActorCriticMultiInputPolicy, PENDULUM, "DDPG take WNTD3MultiInputPolicy$"),
    (SAC, WNTD3CnnPolicy, PENDULUM, "TD3's and DDPG's; for SAC take WNSACCnnPolicy$"),
    (PPO, WNSACPolicy, PENDULUM, "SAC's; for PPO and A2C take WNActorCriticMlpPolicy$"),
    (sb3_contrib.TQC, WNSACPolicy, PENDULUM, r"for TQC take WNTQCPolicy \(wnrl.sb3.contrib\)$"),
    (sb3_contrib.CrossQ, contrib.WNTQCCnnPolicy, PENDULUM, "for CrossQ take WNCrossQPolicy"),
    (SAC, contrib.WNCrossQPolicy, PENDULUM, "CrossQ's; for SAC take WNSACPolicy$"),
    (sb3_contrib.ARS, WNActorCriticMlpPolicy, PENDULUM, "no policy for ARS, because it searches"),
    (sb3_contrib.MaskablePPO, WNActorCriticMlpPolicy, CART_POLE, "for MaskablePPO, because its"),
    (sb3_contrib.QRDQN, WNCnnPolicy, CART_POLE, "for QRDQN take WNQRDQNCnnPolicy"),
    (sb3_contrib.RecurrentPPO, WNActorCriticMlpPolicy, CART_POLE, "take WNRecurrentMlpPolicy"),
    (sb3_contrib.TRPO, contrib.WNRecurrentMlpPolicy, CART_POLE, "take WNActorCriticMlpPolicy"),
    (PPO, contrib.WNRecurrentMlpPolicy, CART_POLE, "take WNActorCriticMlpPolicy"),
]


@pytest.mark.parametrize(("algorithm", "policy", "env", "sentence"), WRONG)
def test_a_policy_of_another_algorithm_is_refused_with_the_right_class(
    algorithm: Any, policy: type, env: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        algorithm(policy, env)
    assert str(caught.value).startswith(policy.__name__)
    assert "\n" not in str(caught.value)


def test_every_class_that_a_message_names_exists() -> None:
    for algorithms, classes in _POLICIES.items():
        module = contrib if set(algorithms) & set(_IN_CONTRIB) else wnrl.sb3
        for name in classes:
            assert set(algorithms) <= set(getattr(module, name).algorithms)


def test_algorithms_and_policies_of_users_are_taken() -> None:
    class MyPPO(PPO):
        def _setup_model(self) -> None:
            super()._setup_model()

    class MyPolicy(NormalizedActorCritic, ActorCriticPolicy):
        pass

    MyPPO(MyPolicy, CART_POLE, n_steps=8, batch_size=8)
    with pytest.raises(
        UsageError, match=r"^MyPolicy is PPO's, A2C's and TRPO's; for DQN take WNMlp"
    ):
        DQN(MyPolicy, CART_POLE)


def trpo(kind: Any, policy: str = "MlpPolicy", **options: Any) -> Any:
    return sb3_contrib.TRPO(
        kind,
        env_of(policy),
        n_steps=32,
        batch_size=16,
        n_critic_updates=2,
        seed=3,
        device="cpu",
        policy_kwargs=options,
    )


@pytest.mark.parametrize("norm", ["weight", "weight-mean"])
def test_trpo_steps_gains_and_vectors_of_the_actor(norm: str) -> None:
    model, stock = trpo(WNActorCriticMlpPolicy, norm=norm), trpo("MlpPolicy")
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    model.policy.set_training_mode(False)
    assert torch.allclose(model.policy.predict_values(seen), stock.policy.predict_values(seen))
    layers = [layer for layer in model.policy.mlp_extractor.policy_net if hasattr(layer, "weight")]
    before = [p.clone() for layer in layers for p in layer.gv_parameters("weight")]
    model.learn(64)
    after = [p for layer in layers for p in layer.gv_parameters("weight")]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_trpo_takes_the_same_steps_as_over_any_other_network_of_gains_and_vectors() -> None:
    class Converted(ActorCriticPolicy):
        def _build(self, lr_schedule: Any) -> None:
            super()._build(lr_schedule)
            convert_(self.mlp_extractor)
            self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1), eps=1e-5)

    models = [trpo(kind).learn(64) for kind in (WNActorCriticMlpPolicy, Converted)]
    assert same_weights(*(model.policy for model in models))


def test_a_model_of_trpo_is_saved_and_loaded(tmp_path: Path) -> None:
    model = trpo(WNActorCriticMlpPolicy).learn(64)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pt")
    loaded = sb3_contrib.TRPO.load(tmp_path / "model.zip", env=cart_pole(), device="cpu")
    assert same_weights(loaded.policy, model.policy)
    assert len(loaded.policy.optimizer.state) == len(model.policy.optimizer.state)
    loaded.learn(64)
    alone = WNActorCriticMlpPolicy.load(tmp_path / "policy.pt", device="cpu")
    seen = torch.linspace(-1, 1, 12).reshape(3, 4)
    torch.testing.assert_close(alone.predict_values(seen), model.policy.predict_values(seen))


def test_a_model_of_trpo_with_plain_weights_is_loaded_and_its_moments_start_again() -> None:
    saved = make("PPO").learn(STEPS).get_parameters()  # as TRPO's were
    model = trpo(WNActorCriticMlpPolicy).learn(64)
    model.set_parameters(saved)
    weight = saved["policy"]["mlp_extractor.policy_net.0.weight"]
    torch.testing.assert_close(model.policy.mlp_extractor.policy_net[0].effective_weight(), weight)
    assert not model.policy.optimizer.state
    model.learn(64)


@pytest.mark.parametrize("options", [{}, {"optimizer_class": torch.optim.AdamW}])
def test_a_stock_checkpoint_goes_into_gains_and_vectors(options: dict[str, Any]) -> None:
    model = make("PPO", optimizer_class=torch.optim.AdamW).learn(STEPS)
    stock = make("PPO", stock=True, **options).learn(STEPS)
    model.set_parameters(stock.get_parameters())
    assert not model.policy.optimizer.state
    model.learn(STEPS)


def test_our_extractor_in_a_stock_policy_under_trpo_is_refused_with_the_right_class() -> None:
    with pytest.raises(
        UsageError, match=r"and TRPO steps the actor.*: take WNActorCriticCnnPolicy"
    ):
        trpo("CnnPolicy", "CnnPolicy", **policy_kwargs("weight"))
    trpo("CnnPolicy", "CnnPolicy", **policy_kwargs("layer"))


def test_an_optimizer_that_would_step_our_extractor_plainly_is_named() -> None:
    with pytest.warns(UserWarning, match="by the optimizer, and Adam does not do it: for DQN"):
        make("PPO", "CnnPolicy", stock=True, features_extractor_class=WNNatureCNN)
    make("PPO", "CnnPolicy", features_extractor_class=WNNatureCNN)
    make("PPO", "CnnPolicy", stock=True, **policy_kwargs("weight"))
    make("PPO", "CnnPolicy", stock=True, **policy_kwargs("layer"))
    WNNatureCNN(spaces.Box(0, 255, (1, 40, 40), "uint8"))


def test_our_policy_for_images_learns_under_trpo() -> None:
    trpo(WNActorCriticCnnPolicy, "CnnPolicy", norm="layer").learn(32)
