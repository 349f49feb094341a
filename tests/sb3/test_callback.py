"""The instruments in Stable-Baselines3's logger."""

from pathlib import Path

import pytest
import torch
from sb3_models import STEPS, make, same_weights
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wnrl._settings import UsageError
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
    assert (f"norm/statistics_gap/{layer}.norm" in tags) == (norm in ("batch", "projection"))
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


class Clipped(SB3NormCallback):
    """Keeps of every update whether its gradient was clipped."""

    def __init__(self) -> None:
        super().__init__(every_updates=1)
        self.clipped: list[float] = []

    def _after_step(self) -> None:
        super()._after_step()
        self.clipped.append(self.logger.name_to_value["norm/gradient_clipped"])


def test_a_second_learn_goes_on_where_the_first_stopped() -> None:
    once, twice = Clipped(), Clipped()
    options = {"max_grad_norm": 9.5}  # some of the gradients are longer
    make("PPO", **options).learn(48, callback=once)
    model = make("PPO", **options)
    for steps in (16, 32):
        model.learn(steps, callback=twice, reset_num_timesteps=False)
    assert twice.clipped == once.clipped
    assert set(once.clipped[4:]) == {0.0, 1.0}


def test_another_model_is_read_from_its_own_start() -> None:
    again, alone = Clipped(), Clipped()
    make("PPO", max_grad_norm=1e6).learn(16, callback=again)
    make("PPO", max_grad_norm=1e-6).learn(16, callback=again)
    make("PPO", max_grad_norm=1e-6).learn(16, callback=alone)
    assert again.clipped[-len(alone.clipped) :] == alone.clipped == [1.0] * 4


def test_a_learn_that_was_interrupted_leaves_no_second_hooks() -> None:
    class Interrupting(SB3NormCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps == 24:
                raise KeyboardInterrupt
            return True

    callback = Interrupting(every_updates=1)
    model = make("PPO")
    with pytest.raises(KeyboardInterrupt):
        model.learn(64, callback=callback)
    assert len(model.policy.optimizer._optimizer_step_pre_hooks) == 1
    model.learn(16, callback=callback)
    assert not model.policy.optimizer._optimizer_step_pre_hooks


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
    assert callback._inputs is not None
    assert "norm/policy_churn" not in model.logger.name_to_value


def test_dict_observations_are_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"spaces\.Dict: leave it out"):
        make("PPO", "MultiInputPolicy").learn(STEPS, callback=SB3NormCallback())


@pytest.mark.slow
def test_it_reads_a_compiled_policy() -> None:
    model = make("PPO")
    model.policy = torch.compile(model.policy, backend="eager")
    model.learn(16, callback=SB3NormCallback(every_updates=1))
