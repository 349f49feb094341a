"""Runs in environments of Gymnasium: images, keywords and vector environments."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from wnrl import evaluate
from wnrl.train import command
from wnrl.train.storage.checkpoint import Checkpoints

FAST = ["--no-calibrate", "--eval-every-steps=0", "--num-envs=2", "--hidden=8", "--no-wall-time"]
DQN = [*FAST, "--warmup-steps=50", "--update-period-steps=20", "--steps=150"]


class Grid(gymnasium.Env[Any, Any]):
    """A light on a grid of floats with the channels last; ten steps."""

    action_space: Any = spaces.Discrete(2)

    def __init__(self, side: int = 6, top: float = 4.0) -> None:
        self.observation_space = spaces.Box(-top, top, (side, side, 3))
        self.top = top

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {}

    def look(self) -> Any:
        image = np.zeros(self.observation_space.shape or (), np.float32)
        row, column = self.np_random.integers(0, len(image), 2)
        image[row, column, self.steps % 3] = self.top
        return image

    def step(self, action: int) -> Any:
        self.steps += 1
        return self.look(), float(action), self.steps >= 10, False, {}


def grids(num_envs: int, **keywords: Any) -> Any:
    return gymnasium.vector.SyncVectorEnv([lambda: Grid(**keywords) for _ in range(num_envs)])


class Side(Grid):
    """Pays for naming the side of the light: 10 in an episode at best, 5 by chance."""

    def look(self) -> Any:
        image: Any = super().look()
        self.right = bool(image[:, 3:].any())
        return image

    def step(self, action: int) -> Any:
        reward = float(bool(action) == self.right)
        obs, _, *rest = super().step(action)
        return obs, reward, *rest


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register("Grid-v0", Grid)
    gymnasium.register("Grids-v0", vector_entry_point=grids)
    gymnasium.register("Side-v0", Side)
    yield
    gymnasium.registry.pop("Grid-v0")
    gymnasium.registry.pop("Side-v0")
    gymnasium.registry.pop("Grids-v0")


def go(*arguments: object) -> int:
    return command.main([str(argument) for argument in arguments])


def network_of(run: Path) -> dict[str, Any]:
    saved = Checkpoints(run).latest(weights_only=True)
    assert saved is not None
    return saved.network()


@pytest.mark.parametrize(
    ("keywords", "network", "line"),
    [
        (
            ["top=2.0"],
            "auto",
            "observes  6x6x3 float32, channels last, scaled from -2 and 2 to 0 and 1; network "
            "minatar gets 3x6x6\n",
        ),
        (["side=4"], "auto", "to 0 and 1; network mlp gets 3x4x4, flattened\n"),
        (["side=6"], "mlp", "network mlp gets 3x6x6, flattened\n"),
        (["side=36"], "auto", "network nature gets 3x36x36\n"),
    ],
)
def test_the_start_says_what_becomes_of_an_image(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keywords: list[str],
    network: str,
    line: str,
) -> None:
    arguments = ["--agent=a2c", "--steps=20", f"--network={network}", f"--run-dir={tmp_path}"]
    assert go(*FAST, "--env=Grid-v0", *arguments, "--env-kwargs", *keywords) == 0
    out = capsys.readouterr().out
    assert line in out
    assert f"on Grid-v0 ({' '.join(keywords)}), seed 1" in out


@pytest.mark.parametrize("name", ["Grid-v0", "Grids-v0"])
def test_a_run_keeps_its_keywords_when_it_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [*DQN, f"--env={name}", "--env-kwargs", "top=2.0", "side=5"]
    assert go(*given, "--steps=300", "--schedule-steps=300", "--run-dir=whole") == 0
    assert go(*given, "--schedule-steps=300") == 0
    (run,) = (tmp_path / "runs" / name).glob("*/seed1")
    assert run.parent.name.startswith("dqn-weight-env-kwargs=side=5 top=2.0")
    assert json.loads((run / "config.json").read_text())["run"]["env_kwargs"] == "side=5 top=2.0"

    capsys.readouterr()
    assert go("--resume", run, "--env-kwargs", "top=3.0") == 2
    assert "--env-kwargs cannot change when a run resumes" in capsys.readouterr().err
    assert go("--resume", run, "--steps=300") == 0
    resumed, whole = network_of(run), network_of(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    assert all(np.array_equal(resumed[key], whole[key]) for key in whole)
    assert (run / "episodes.csv").read_text() == Path("whole/episodes.csv").read_text()
    assert evaluate.main([str(run), "--episodes=2"]) == 0

    text = (run / "config.json").read_text().replace("top=2.0", "top=3.0")
    (run / "config.json").write_text(text)
    capsys.readouterr()
    assert go("--resume", run, "--steps=400") == 2
    assert "--env-kwargs is side=5 top=3.0 in config.json, but the" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env=Grid-v0", "--env-kwargs", "size=3"], "cannot make 'Grid-v0': TypeError"),
        (["--env=Grid-v0", "--env-kwargs", "top"], "--env-kwargs takes KEY=VALUE, not 'top'"),
        (["--env=Pong", "--env-kwargs", "top=1"], "--env-kwargs is for Gymnasium ids and MinAtar"),
        (["--env=Grid-v0", "--env-kwargs"], "--env-kwargs needs a value"),
    ],
)
def test_wrong_keywords_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert go("--no-calibrate", f"--run-dir={tmp_path / 'run'}", *arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_network_learns_from_an_image_where_things_are(tmp_path: Path) -> None:
    arguments = ["--env=Side-v0", "--agent=pqn", "--gamma=0", "--learning-rate=2e-3"]
    arguments += ["--steps=8_000", "--no-calibrate", "--eval-every-steps=0"]
    assert go(*arguments, f"--run-dir={tmp_path}") == 0
    rows = (tmp_path / "episodes.csv").read_text().splitlines()[1:]
    returns = [float(row.split(",")[2]) for row in rows]
    assert np.mean(returns[:40]) < 6.5
    assert np.mean(returns[-40:]) > 8.0
