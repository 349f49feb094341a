"""--eval-video: a small GIF of each evaluation in TensorBoard, which changes nothing in the run."""

import io
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from kills import differences
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wnrl.config import make_config
from wnrl.envs.vector import Recording
from wnrl.train.command import main
from wnrl.train.run import train
from wnrl.train.video.clip import LONGEST_S, MOST_HEIGHT, encoded

TAG = "eval/video"
accumulator: Any = EventAccumulator


def trained(run: Path, env: str, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "agent": "a2c",
        "steps": 120,
        "eval_every_steps": 60,
        "eval_episodes": 2,
        "calibrate": False,
        "wall_time": False,
        **changes,
    }
    for _ in train(make_config(settings, env=env, run_dir=str(run))):
        pass
    return run


def clips(run: Path) -> list[tuple[int, Image.Image]]:
    events = accumulator(str(run), {"images": 0})
    events.Reload()
    if TAG not in events.Tags()["images"]:
        return []
    images = events.Images(TAG)
    shown = [Image.open(io.BytesIO(image.encoded_image_string)) for image in images]
    assert [(each.width, each.height) for each in shown] == [(x.width, x.height) for x in images]
    return [(image.step, each) for image, each in zip(images, shown, strict=True)]


def evaluated(run: Path) -> list[int]:
    lines = (run / "evaluations.csv").read_text().splitlines()[1:]
    assert len(lines) == 2
    return [int(line.split(",")[0]) for line in lines]


def test_clips_of_observations_change_nothing(tmp_path: Path) -> None:
    pytest.importorskip("minatar")
    with_clips = trained(tmp_path / "with", "minatar/breakout", eval_video=True)
    without = trained(tmp_path / "without", "minatar/breakout")
    assert differences(with_clips, without) == []
    assert clips(without) == []
    found = clips(with_clips)
    assert [step for step, _ in found] == evaluated(with_clips)
    assert all(clip.format == "GIF" for _, clip in found)


@pytest.mark.slow
def test_clips_of_what_renders_change_nothing(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    with_clips = trained(tmp_path / "with", "CartPole-v1", eval_video=True)
    without = trained(tmp_path / "without", "CartPole-v1")
    assert differences(with_clips, without) == []
    found = clips(with_clips)
    assert [step for step, _ in found] == evaluated(with_clips)
    assert all(clip.height <= MOST_HEIGHT and clip.n_frames > 1 for _, clip in found)


def counted(steps_per_s: float, drawn: list[int]) -> Recording:
    def pictures() -> Any:
        for k in range(10_000):
            drawn.append(k)
            yield np.full((600, 300, 3), k % 251, np.uint8)

    return Recording(pictures(), steps_per_s)


@pytest.mark.parametrize(("steps_per_s", "every", "ms"), [(15.0, 2, 130), (50.0, 4, 80)])
def test_a_clip_is_short_and_small(steps_per_s: float, every: int, ms: int) -> None:
    drawn: list[int] = []
    clip = encoded(counted(steps_per_s, drawn))
    image: Any = Image.open(io.BytesIO(clip.data))
    most = int(LONGEST_S * steps_per_s)
    assert len(drawn) <= most
    assert image.n_frames == -(-most // every)
    assert image.info["duration"] == ms
    assert (clip.height, clip.width) == (200, 100)


def test_a_game_without_pictures_is_one_line_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=toy/Catch", "--agent=a2c", "--steps=100", "--eval-video"]
    assert main([*arguments, f"--run-dir={tmp_path / 'run'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--eval-video cannot show toy/Catch: it does not render" in line
    assert not (tmp_path / "run").exists()


def test_a_run_without_evaluations_has_no_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=CartPole-v1", "--steps=100", "--eval-every-steps=0", "--eval-video"]
    assert main([*arguments, f"--run-dir={tmp_path / 'run'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--eval-video needs evaluations: give --eval-every-steps too" in line


class Undrawable(gymnasium.Env[Any, Any]):
    """Renders a few times at most."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    left = 0

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._steps = 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        self._steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return np.zeros(2, np.float32), 1.0, self._steps == 5, False, {}

    def render(self) -> Any:
        if not Undrawable.left:
            raise RuntimeError("no screen")
        Undrawable.left -= 1
        return np.zeros((20, 20, 3), np.uint8)


@pytest.mark.parametrize(("pictures", "exit_code"), [(0, 2), (3, 0)])
def test_a_renderer_that_fails_is_refused_at_the_start_and_ends_no_run_later(
    pictures: int,
    exit_code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    specification = gymnasium.envs.registration.EnvSpec("Undrawable-v0", entry_point=Undrawable)
    monkeypatch.setitem(gymnasium.registry, "Undrawable-v0", specification)
    monkeypatch.setattr(Undrawable, "left", pictures)
    arguments = ["--env=Undrawable-v0", "--agent=a2c", "--steps=100", "--eval-every-steps=50"]
    run = tmp_path / "run"
    assert main([*arguments, "--eval-video", "--no-calibrate", f"--run-dir={run}"]) == exit_code
    said = capsys.readouterr().err
    if exit_code:
        (line,) = said.splitlines()
        assert "--eval-video cannot show Undrawable-v0 here" in line
        assert "no screen" in line
        assert not run.exists()
    else:
        assert said.count("wnrl: no clip of this evaluation: ") == 2
        assert (run / "evaluations.csv").read_text().count("\n") == 3
