"""The instruments in Stable-Baselines3's logger."""

from pathlib import Path

import pytest
import torch
from sb3_models import STEPS, make, same_weights
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wnrl.errors import UsageError
from wnrl.sb3 import SB3NormCallback


@pytest.mark.parametrize(
    ("algorithm", "policy", "norm", "layer"),
    [
        ("DQN", "CnnPolicy", "weight", "features_extractor.cnn.0"),
        ("PPO", "MlpPolicy", "batch", "mlp_extractor.policy_net.2"),
        ("A2C", "CnnPolicy", "projection", "features_extractor.linear.0"),
    ],
)
def test_instruments_are_logged_and_change_nothing(
    algorithm: str, policy: str, norm: str, layer: str, tmp_path: Path
) -> None:
    model = make(algorithm, policy, norm=norm)
    model.set_logger(configure(str(tmp_path), ["tensorboard"]))
    model.learn(64, callback=SB3NormCallback(every_updates=2), log_interval=1)
    model.logger.dump(64)
    model.logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    instruments = {"angle", "gradient_cosine", "preactivation_std", "dormant_0.025"}
    instruments -= {"dormant_0.025"} if policy == "MlpPolicy" else set()
    assert {f"norm/{name}/{layer}" for name in instruments} <= tags
    assert {"norm/policy_churn", "norm/gradient_clipped", "norm/srank"} <= tags
    assert (f"norm/v_norm/{layer}" in tags) == (norm == "weight")
    assert (f"norm/statistics_gap/{layer}_norm" in tags) == (norm in ("batch", "projection"))
    assert same_weights(model.policy, make(algorithm, policy, norm=norm).learn(64).policy)
    assert not model.policy.optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize(("limit", "share"), [(1e-6, 1.0), (1e6, 0.0)])
def test_the_share_of_clipped_gradients_is_told_from_their_length(
    limit: float, share: float
) -> None:
    read: dict[str, float] = {}

    class Kept(SB3NormCallback):
        def _on_rollout_start(self) -> None:
            read.update(self.logger.name_to_value)

    model = make("PPO")
    model.max_grad_norm = limit
    model.learn(STEPS + 16, callback=Kept(every_updates=1))
    assert read["norm/gradient_clipped"] == share


def test_a_stock_policy_is_read_too() -> None:
    read: dict[str, float] = {}

    class Kept(SB3NormCallback):
        def _on_rollout_start(self) -> None:
            read.update(self.logger.name_to_value)

    make("PPO", "CnnPolicy", stock=True, share_features_extractor=False).learn(
        STEPS, callback=Kept(every_updates=1)
    )
    assert read["norm/angle/vf_features_extractor.cnn.0"] > 0
    assert read["norm/angle/action_net"] > 0


def test_actions_that_are_no_choice_have_no_churn() -> None:
    from stable_baselines3 import PPO

    from wnrl.sb3 import WNActorCriticMlpPolicy

    callback = SB3NormCallback(every_updates=1)
    model = PPO(WNActorCriticMlpPolicy, "Pendulum-v1", n_steps=16, batch_size=16, n_epochs=1)
    model.learn(32, callback=callback)
    assert callback._seen is not None
    assert "norm/policy_churn" not in model.logger.name_to_value


def test_dict_observations_are_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"spaces\.Dict: leave it out"):
        make("PPO", "MultiInputPolicy").learn(STEPS, callback=SB3NormCallback())


def test_it_reads_a_compiled_policy() -> None:
    model = make("PPO")
    model.policy = torch.compile(model.policy, backend="eager")
    model.learn(16, callback=SB3NormCallback(every_updates=1))
