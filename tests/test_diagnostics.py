"""Gains and lengths are read the same from both storages."""

import pytest
import torch

from wnrl.build import build_agent, build_env, build_network
from wnrl.config import make_config
from wnrl.diagnostics import weight_vectors
from wnrl.envs.vector import EpisodeStatistics
from wnrl.loop import run


def vectors(
    storage: str, v_norm: str, steps: int, **changes: float
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    config = make_config(
        {"env": "toy/Catch", "warmup_steps": 100, "steps": steps, **changes},
        weight_storage=storage,
        v_norm=v_norm,
    )
    env = build_env(config)
    agent = build_agent(config, env, build_network(config, env)[0], torch.device("cpu"))
    env.reset()
    for _ in run(env, agent, EpisodeStatistics(env.num_envs), 0, steps):
        pass
    return weight_vectors(agent.network, agent.optimizer)


@pytest.mark.parametrize("v_norm", ["weight", "paper", "unit"])
def test_both_storages_walk_the_same_way_from_the_same_lengths(v_norm: str) -> None:
    w, gv = vectors("w", v_norm, 125), vectors("gv", v_norm, 125)
    assert list(w) == list(gv) == ["torso.layers.1", "torso.layers.3"]
    for layer, (gain, norm) in w.items():
        torch.testing.assert_close(gain, gv[layer][0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm, gv[layer][1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("storage", ["w", "gv"])
def test_lengths_start_as_asked(storage: str) -> None:
    for layer, (gain, norm) in vectors(storage, "unit", 110, learning_rate=1e-12).items():
        torch.testing.assert_close(norm, torch.ones_like(norm), msg=layer)
        assert not torch.allclose(gain, norm)


def test_before_its_first_step_an_optimizer_holds_no_lengths() -> None:
    assert vectors("w", "unit", 90) == {}
