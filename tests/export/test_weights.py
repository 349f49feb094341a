"""The weights of an export, as safetensors: both forms load, and say where they come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agent_runs import built, configured
from saved_runs import SMALL, saved_run

from wnrl.export.trained_run import load_run
from wnrl.export.weights import PLAIN, VECTORS, weight_files
from wnrl.instruments.weight_rows import weight_vectors

load = pytest.importorskip("safetensors.torch").load


def network_of(norm: str, **changes: Any) -> torch.nn.Module:
    """A network as it starts, which the weights are loaded into."""
    config = configured("dqn", env="CartPole-v1", norm=norm, **{**SMALL["dqn"], **changes})
    env, agent = built(config)
    env.close()
    network: torch.nn.Module = agent.network
    return network.eval()


@pytest.mark.parametrize("storage", ["w", "gv"])
def test_folded_weights_and_gains_with_vectors_are_the_network(
    storage: str, tmp_path: Path
) -> None:
    run = saved_run(tmp_path / "run", "dqn", "CartPole-v1", "weight", weight_storage=storage)
    files = weight_files(load_run(run.folder))
    obs = torch.from_numpy(run.observations)
    plain, computed = network_of("none"), network_of("weight", weight_storage="gv")
    plain.load_state_dict(load(files[PLAIN]))
    torch.testing.assert_close(plain(obs), run.output)
    vectors = load(files[VECTORS])
    computed.load_state_dict(vectors)
    torch.testing.assert_close(computed(obs), run.output)
    moved = 0
    for name, (g, length) in weight_vectors(run.agent.network, run.agent.learner.optimizer).items():
        torch.testing.assert_close(vectors[f"{name}.weight_g"].flatten(), g)
        v = vectors[f"{name}.weight_v"].flatten(1)
        torch.testing.assert_close(torch.linalg.vector_norm(v, dim=1), length)
        moved += int((length - g.abs()).abs().max() > 1e-4)
    assert moved > 0  # ||v|| comes from the optimizer: it is not ||w||


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    run = load_run(saved_run(tmp_path / "run", "dqn", "CartPole-v1", "layer").folder)
    (content,) = weight_files(run).values()
    length = int(np.frombuffer(content[:8], np.uint64)[0])  # the format's own header
    told = json.loads(content[8 : 8 + length])["__metadata__"]
    assert told["form"] == "folded"
    known = ("env", "agent", "norm", "seed", "agent_steps", "observation", "actions")
    assert [told[name] for name in known] == [
        "CartPole-v1",
        "dqn",
        "layer",
        "1",
        "160",
        "float32 [4]",
        "2",
    ]
    assert told["trained_with"] == told["exported_with"]
