"""Exported policies play the actions of the run's policy, frozen for evaluation."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saved_runs import SavedRun, saved_run

import wnrl
from wnrl.agents.policies import explore, sample
from wnrl.envs.seeding import numpy_generator
from wnrl.export.program import onnx_file, output_names, torch_file
from wnrl.export.trained_run import load_run

CARTPOLE, MINATAR = "CartPole-v1", "MinAtar/Breakout"
NORMS = ("none", "weight", "batch", "layer")
ROUNDING = 1e-5  # of values of other kernels: float32 over a few layers
# Each agent, each environment and each normalization in the quick tests, all pairs in the slow.
QUICK = (
    ("dqn", CARTPOLE, "layer"),
    ("pqn", MINATAR, "weight"),
    ("a2c", MINATAR, "batch"),
    ("ppo", CARTPOLE, "none"),
)
ALL = [
    pytest.param(agent, env, norm, marks=() if (agent, env, norm) in QUICK else pytest.mark.slow)
    for agent in ("dqn", "pqn", "a2c", "ppo")
    for env in (CARTPOLE, MINATAR)
    for norm in NORMS
]
each_run = pytest.mark.parametrize(("agent", "env", "norm"), ALL)


def torch_outputs(run: SavedRun) -> dict[str, Any]:
    """What `torch.export.load` gives on the observations."""
    trained = load_run(run.folder)
    program = torch.export.load(io.BytesIO(torch_file(trained))).module()
    found = program(torch.from_numpy(run.observations))
    names = output_names(trained)
    return {name: x.detach().numpy() for name, x in zip(names, found, strict=True)}


def onnx_outputs(run: SavedRun) -> dict[str, Any]:
    """What ONNX Runtime gives on the observations."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file(load_run(run.folder)))
    names = [x.name for x in session.get_outputs()]
    return dict(zip(names, session.run(None, {"observation": run.observations}), strict=True))


def check_outputs(run: SavedRun, found: dict[str, Any]) -> None:
    """Compare with the run's policy, that of highest value and the one that draws."""
    assert len(run.observations) == 1_000
    np.testing.assert_array_equal(found["action"], run.actions)
    if "values" in found:
        np.testing.assert_allclose(found["values"], run.output.numpy(), atol=ROUNDING)
        return
    np.testing.assert_allclose(found["value"], run.output.value.numpy(), atol=ROUNDING)
    policy = run.agent.policy(0.0, numpy_generator(3, "draws"))
    first = np.zeros(len(run.observations), np.bool_)
    drawn = sample(torch.from_numpy(found["logits"]), numpy_generator(3, "draws"))
    np.testing.assert_array_equal(drawn.numpy(), policy.act(run.observations, first))


@each_run
def test_the_program_plays_the_actions_of_the_run(
    agent: str, env: str, norm: str, tmp_path: Path
) -> None:
    run = saved_run(tmp_path / "run", agent, env, norm)
    assert len(set(run.actions.tolist())) > 1
    check_outputs(run, torch_outputs(run))


@pytest.mark.slow
@each_run
def test_onnx_plays_the_actions_of_the_run(agent: str, env: str, norm: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    run = saved_run(tmp_path / "run", agent, env, norm)
    check_outputs(run, onnx_outputs(run))


@each_run
def test_stable_baselines3_plays_the_actions_of_the_run(
    agent: str, env: str, norm: str, tmp_path: Path
) -> None:
    import stable_baselines3

    from wnrl.export.sb3_file import sb3_file

    run = saved_run(tmp_path / "run", agent, env, norm)
    kind = getattr(stable_baselines3, {"pqn": "DQN"}.get(agent, agent.upper()))
    model = kind.load(io.BytesIO(sb3_file(load_run(run.folder))), device="cpu")
    played, _ = model.predict(run.observations, deterministic=True)
    np.testing.assert_array_equal(played, run.actions)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "norm"), [("dqn", "layer"), ("ppo", "weight")])
def test_a_recurrent_program_plays_the_actions_of_the_run_with_the_caller_s_state(
    agent: str, norm: str, tmp_path: Path
) -> None:
    run = saved_run(tmp_path / "run", agent, "toy/Memory", norm, recurrent=True)
    trained = load_run(run.folder)
    program = torch.export.load(io.BytesIO(torch_file(trained))).module()
    policy = run.agent.policy(0.0, numpy_generator(3, "draws"))
    draws = numpy_generator(3, "draws")
    h = c = torch.zeros(1, 100, trained.spec.lstm_units)
    for step, obs in enumerate(run.observations.reshape(10, 100, -1)):
        first = np.arange(100) % 7 == step
        given = (torch.from_numpy(obs), torch.from_numpy(first), h, c)
        found = dict(zip(output_names(trained), program(*given), strict=True))
        h, c = found["next_h"], found["next_c"]
        if "logits" in found:
            drawn = sample(found["logits"].detach(), draws).numpy()
            actions = explore(drawn, 0.0, 2, draws)  # which moves the generator on
            np.testing.assert_array_equal(found["action"], found["logits"].argmax(1))
        else:
            actions = found["action"].numpy()
        np.testing.assert_array_equal(actions, policy.act(obs, first))


def test_files_do_not_name_the_folders_of_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    trained = load_run(saved_run(tmp_path / "run", "pqn", MINATAR, "weight").folder)
    with zipfile.ZipFile(io.BytesIO(torch_file(trained))) as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    for content in (*parts, onnx_file(trained)):
        for folder in (Path(torch.__file__).parent, Path(wnrl.__file__).parent):
            assert str(folder).encode() not in content
