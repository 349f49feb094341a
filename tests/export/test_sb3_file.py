"""Policies for Stable-Baselines3: stock ones where it has the network, and what it has not."""

import io
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from saved_runs import SavedRun, saved_run
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN

from wnrl._settings import UsageError
from wnrl.export import sb3_file as module
from wnrl.export.sb3_file import sb3_file
from wnrl.export.trained_run import load_run
from wnrl.sb3 import AtariVecEnv, WNTorso


def loaded(run: SavedRun, kind: Any, **options: Any) -> Any:
    content = io.BytesIO(sb3_file(load_run(run.folder)))
    return kind.load(content, device="cpu", **options)


def test_a_stock_policy_needs_no_class_of_ours_and_plays_in_the_environment(
    tmp_path: Path,
) -> None:
    run = saved_run(tmp_path / "run", "dqn", "CartPole-v1", "weight", hidden=32, gamma=0.9)
    model = loaded(run, DQN, env=gymnasium.make("CartPole-v1"))
    assert type(model.policy.q_net.features_extractor) is FlattenExtractor
    assert not any(type(x).__module__.startswith("wnrl") for x in model.policy.modules())
    assert b"wnrl" not in sb3_file(load_run(run.folder))
    assert model.predict(run.observations, deterministic=True)[0].tolist() == run.actions.tolist()
    assert model.gamma == 0.9
    model.learn(8)  # where SB3's own training begins


def test_a_separate_torso_for_the_value_is_copied_too(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run", "ppo", "CartPole-v1", "none", separate=True)
    model = loaded(run, PPO)
    assert type(model.policy.features_extractor) is FlattenExtractor
    obs = torch.from_numpy(run.observations)
    torch.testing.assert_close(model.policy.predict_values(obs).flatten(), run.output.value)


def test_a_stochastic_policy_has_the_same_probabilities_and_values(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run", "a2c", "MinAtar/Breakout", "batch")
    policy = loaded(run, A2C).policy
    policy.set_training_mode(False)
    assert type(policy.features_extractor) is WNTorso
    obs = torch.from_numpy(run.observations)
    with torch.no_grad():
        logits = policy.get_distribution(obs).distribution.logits
    torch.testing.assert_close(logits.softmax(1), run.output.logits.softmax(1))
    torch.testing.assert_close(policy.predict_values(obs).flatten(), run.output.value)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["weight", "layer"])
def test_atari_s_network_is_sb3_s_own_if_it_has_no_layers_of_a_normalization(
    norm: str, tmp_path: Path
) -> None:
    run = saved_run(tmp_path / "run", "ppo", "Breakout", norm, batch=40)
    model = loaded(run, PPO, env=AtariVecEnv("Breakout", 1, seed=0))
    assert type(model.policy.features_extractor) is (NatureCNN if norm == "weight" else WNTorso)
    played, _ = model.predict(run.observations, deterministic=True)
    np.testing.assert_array_equal(played, run.actions)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dueling": True}, "the head of this dqn is dueling or categorical"),
        ({"recurrent": True}, "the network of this dqn has an LSTM"),
    ],
)
def test_what_stable_baselines3_has_not_is_refused_in_one_sentence(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    run = load_run(saved_run(tmp_path / "run", "dqn", "toy/Memory", "none", **changes).folder)
    with pytest.raises(UsageError, match=f"format sb3: {problem}.*; take format onnx or torch"):
        sb3_file(run)


def test_weights_that_no_layer_holds_are_not_lost() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.scale = torch.nn.Parameter(torch.ones(2))

    assert module._copied_(Own().layer, Own().layer)
    assert not module._copied_(Own(), Own())
