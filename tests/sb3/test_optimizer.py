"""Stable-baselines3's stock policies train with our optimizers as `optimizer_class`."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from wnrl.optim.weight_norm import WNAdam, WNAdamax, WNRMSprop

stable_baselines3 = pytest.importorskip("stable_baselines3")

MODELS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any], int]] = {
    "DQN": (WNAdam, {"learning_starts": 50, "buffer_size": 300, "train_freq": 2}, 300),
    "PPO": (WNAdamax, {"n_steps": 64, "batch_size": 32, "n_epochs": 2}, 256),
    "A2C": (WNRMSprop, {"n_steps": 8}, 320),
}


def make(name: str) -> Any:
    kind, settings, _ = MODELS[name]
    policy = {"optimizer_class": kind, "net_arch": [16]}
    return getattr(stable_baselines3, name)(
        "MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs=policy, **settings
    )


@pytest.mark.parametrize("name", MODELS)
def test_stock_policies_train_save_and_load(name: str, tmp_path: Path) -> None:
    kind, _, steps = MODELS[name]
    model = make(name)
    before = copy.deepcopy(model.policy.state_dict())
    model.learn(steps)
    optimizer = model.policy.optimizer
    assert type(optimizer) is kind
    stepped = {id(p) for p in optimizer.state}
    for parameter_name, parameter in model.policy.named_parameters():
        if "target" in parameter_name:
            continue
        assert id(parameter) in stepped, parameter_name
        assert ("norm" in optimizer.state[parameter]) == (parameter.ndim == 2)
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, before[parameter_name])
    model.save(tmp_path / "model.zip")
    loaded = getattr(stable_baselines3, name).load(tmp_path / "model.zip", device="cpu")
    assert type(loaded.policy.optimizer) is kind
    pairs = zip(model.policy.parameters(), loaded.policy.parameters(), strict=True)
    own, other = optimizer.state, loaded.policy.optimizer.state
    for mine, theirs in pairs:
        assert torch.equal(mine, theirs)
        assert own[mine].keys() == other[theirs].keys()
        assert all(torch.equal(own[mine][key], other[theirs][key]) for key in own[mine])
        # The next step of both is the same: nothing was lost.
        mine.grad = torch.ones_like(mine)
        theirs.grad = torch.ones_like(theirs)
    optimizer.step()
    loaded.policy.optimizer.step()
    for mine, theirs in zip(model.policy.parameters(), loaded.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)
