"""What users of Stable-Baselines3 do with a model: save, load, evaluate, spread over processes."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sb3_models import ALGORITHMS, STEPS, cart_pole, env_of, make, same_weights
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv

from wnrl.nn import WNLinear
from wnrl.sb3 import WNActorCriticMlpPolicy, policy_kwargs

ONE = ("DQN", "PPO", "A2C")  # optimizer; others are in test_continuous
KINDS = [("DQN", "CnnPolicy"), ("PPO", "MultiInputPolicy"), ("A2C", "MlpPolicy")]
NORMS = ["weight", "layer", "weight-mean", "projection", "nap"]
SAVED = [
    ("DQN", "CnnPolicy", "weight"),
    ("PPO", "MultiInputPolicy", "layer"),
    ("A2C", "MlpPolicy", "projection"),
    ("DQN", "MlpPolicy", "nap"),
    ("PPO", "MlpPolicy", "weight-mean"),
]


@pytest.mark.parametrize(("algorithm", "policy", "norm"), SAVED)
def test_a_loaded_algorithm_goes_on_as_the_saved_one(
    algorithm: str, policy: str, norm: str, tmp_path: Path
) -> None:
    model = make(algorithm, policy, norm=norm).learn(STEPS)
    model.save(tmp_path / "model.zip")
    loaded = ALGORITHMS[algorithm].load(tmp_path / "model.zip", device="cpu")
    assert type(loaded.policy) is type(model.policy)
    assert type(loaded.policy.optimizer) is type(model.policy.optimizer)
    assert same_weights(loaded.policy, model.policy)
    for each in (model, loaded):  # the optimizer's state too: the next step is the same
        for parameter in each.policy.parameters():
            parameter.grad = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)
        each.policy.optimizer.step()
    assert same_weights(loaded.policy, model.policy)
    loaded.set_env(model.get_env())
    loaded.learn(8)


@pytest.mark.parametrize(("algorithm", "policy"), KINDS)
def test_a_policy_is_saved_and_loaded_by_itself(
    algorithm: str, policy: str, tmp_path: Path
) -> None:
    trained = make(algorithm, policy, norm="layer", norm_settings={"eps": 0.1}).learn(STEPS).policy
    trained.save(tmp_path / "policy.pt")
    loaded = type(trained).load(tmp_path / "policy.pt", device="cpu")
    assert (loaded.norm, loaded.norm_settings) == ("layer", {"eps": 0.1})
    assert same_weights(loaded, trained)
    observation = env_of(policy).observation_space.sample()
    actions = [p.predict(observation, deterministic=True)[0] for p in (loaded, trained)]
    assert actions[0] == actions[1]


@pytest.mark.parametrize(
    ("algorithm", "norm"),
    [*((algorithm, "weight") for algorithm in ONE), ("DQN", "batch"), ("PPO", "layer")],
)
def test_a_stock_policy_with_our_arguments_is_saved_and_loaded(
    algorithm: str, norm: str, tmp_path: Path
) -> None:
    options = policy_kwargs(norm, algorithm=algorithm)
    model = make(algorithm, "CnnPolicy", stock=True, **options).learn(16)
    model.save(tmp_path / "model.zip")
    loaded = ALGORITHMS[algorithm].load(tmp_path / "model.zip", device="cpu")
    assert same_weights(loaded.policy, model.policy)
    assert len(loaded.policy.optimizer.state) == len(model.policy.optimizer.state)


@pytest.mark.parametrize("algorithm", ONE)
def test_a_stock_policy_with_our_arguments_learns_as_our_policy(algorithm: str) -> None:
    options = policy_kwargs("weight", algorithm=algorithm)
    stock = make(algorithm, "CnnPolicy", stock=True, **options).learn(STEPS)
    ours = make(algorithm, "CnnPolicy")
    ours.policy.to(memory_format=torch.contiguous_format)  # as the stock one: the same rounding
    assert same_weights(stock.policy, ours.learn(STEPS).policy)


@pytest.mark.slow
def test_a_saved_model_loads_in_another_process(tmp_path: Path) -> None:
    make("PPO", norm="layer").save(tmp_path / "model.zip")
    code = (
        "import sys; from stable_baselines3 import PPO; "
        "print(type(PPO.load(sys.argv[1], device='cpu').policy).__name__)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.zip")]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "WNActorCriticMlpPolicy"


def test_evaluate_policy_and_callbacks_take_a_normalized_model(tmp_path: Path) -> None:
    evaluated = EvalCallback(Monitor(env_of("MlpPolicy")), eval_freq=8, log_path=str(tmp_path))
    kept = CheckpointCallback(save_freq=16, save_path=str(tmp_path))
    model = make("DQN", norm="batch").learn(STEPS, callback=[evaluated, kept])
    assert (tmp_path / "rl_model_32_steps.zip").exists()
    mean, _ = evaluate_policy(model, Monitor(env_of("MlpPolicy")), n_eval_episodes=2)
    assert mean > 0
    assert not model.policy.q_net.training


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["forkserver", "spawn"])
def test_environments_in_processes_of_their_own(start_method: str) -> None:
    env = SubprocVecEnv([cart_pole, cart_pole], start_method=start_method)
    try:
        PPO(WNActorCriticMlpPolicy, env, n_steps=8, batch_size=8, n_epochs=1, device="cpu").learn(
            32
        )
    finally:
        env.close()


@pytest.mark.gpu
@pytest.mark.parametrize(("algorithm", "policy"), KINDS)
@pytest.mark.parametrize("norm", [*NORMS, "spectral"])
def test_a_model_moves_between_devices(
    algorithm: str, policy: str, norm: str, tmp_path: Path
) -> None:
    model = make(algorithm, policy, norm=norm, device="cuda").learn(STEPS)
    assert {p.device.type for p in model.policy.parameters()} == {"cuda"}
    model.save(tmp_path / "model.zip")
    for device in ("cpu", "cuda"):
        loaded = ALGORITHMS[algorithm].load(tmp_path / "model.zip", model.get_env(), device=device)
        assert same_weights(loaded.policy.cpu(), model.policy.cpu())
        loaded.policy.to(device)
        model.policy.to("cuda")
        loaded.learn(STEPS)


@pytest.mark.slow
def test_a_normalized_ppo_solves_cart_pole() -> None:
    model = PPO(WNActorCriticMlpPolicy, "CartPole-v1", n_steps=512, seed=0, device="cpu")
    model.learn(16_384)
    mean, _ = evaluate_policy(model, Monitor(env_of("MlpPolicy")), n_eval_episodes=10)
    assert any(isinstance(layer, WNLinear) for layer in model.policy.modules())
    assert mean >= 195


def test_convolutions_are_channels_last_and_stay_so_when_loaded(tmp_path: Path) -> None:
    model = make("DQN", "CnnPolicy")
    model.save(tmp_path / "model.zip")
    loaded = DQN.load(tmp_path / "model.zip", device="cpu")
    for policy in (model.policy, loaded.policy, copy.deepcopy(model.policy)):
        weights = [p for p in policy.parameters() if p.ndim == 4]
        assert len(weights) == 6  # of the network and its target
        assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)
