"""Evaluation: fair shares, the real emulator, the video."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from wnrl import evaluate
from wnrl._settings import UsageError
from wnrl.envs.action_log import ActionLog
from wnrl.envs.protocols import protocol_named
from wnrl.envs.recording import of_atari, of_observations
from wnrl.envs.toy import Corridor
from wnrl.envs.vector import Actions, Episode, Flags, Observations, Recording
from wnrl.evaluate.video import step_ms, write_video
from wnrl.train import command, evaluation
from wnrl.train.evaluation import evaluate_policy


class Still:
    """Always the first action."""

    def act(self, obs: Observations, first: Flags) -> Actions:
        return np.zeros(len(obs), np.int64)


def test_each_environment_owes_a_share_fixed_beforehand() -> None:
    told: list[Episode] = []
    played = evaluate_policy(Corridor(3, seed=0), Still(), 8, listen=told.append)
    assert [sum(episode.env == env for episode in played) for env in range(3)] == [3, 3, 2]
    assert told == played


def test_an_evaluation_that_is_given_up_is_none_at_all() -> None:
    asked: list[int] = []

    def after_ten_steps() -> bool:
        asked.append(1)
        return len(asked) > 10

    assert evaluate_policy(Corridor(2, seed=0), Still(), 50, should_stop=after_ten_steps) == []


def test_an_episode_that_does_not_end_is_cut_and_its_environment_plays_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "MAX_EPISODE_STEPS", 5)
    played = evaluate_policy(Corridor(1, seed=0), Still(), 9)
    # Environment 0's episodes take 3, 6, ... actions: the second one is cut.
    assert [(episode.length_steps, episode.truncated) for episode in played] == [
        (3, False),
        (5, True),
    ]


@pytest.fixture(scope="module")
def breakout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "breakout"
    arguments = ["--env=breakout", "--steps=24", "--num-envs=1", "--no-calibrate", "--threads=1"]
    assert command.main([*arguments, "--buffer-size=2000", f"--run-dir={run}"]) == 0
    return run


def test_a_run_on_the_real_emulator_is_evaluated_and_drawn(
    breakout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gif = tmp_path / "folder" / "play.gif"
    assert evaluate.main([str(breakout), "--episodes=2", "--epsilon=1", f"--video={gif}"]) == 0
    out = capsys.readouterr().out
    assert "at 24 agent steps: 2 episodes, raw return mean" in out
    with Image.open(gif) as image:
        assert image.size == (320, 420)
        # Pillow joins equal frames and adds their times.
        shown_ms = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image))
    assert shown_ms > 100 * 70
    assert f"{shown_ms / 70:,.0f} pictures of the first episode" in out


@pytest.mark.parametrize(("frame_skip", "ms"), [(4, 70), (8, 130), (1, 20)])
def test_an_agent_step_is_shown_as_long_as_it_takes(frame_skip: int, ms: int) -> None:
    protocol = protocol_named("classic", changes={"frameskip_frames": frame_skip})
    log = ActionLog(0, np.zeros(0, np.uint8), 0)
    assert step_ms(of_atari("breakout", protocol, log).steps_per_s) == ms


def test_the_same_seed_plays_the_same_episodes(breakout: Path) -> None:
    first, again = (evaluate.evaluate_run(breakout, 1, epsilon=1.0, seed=3) for _ in range(2))
    assert first.episodes == again.episodes
    assert evaluate.evaluate_run(breakout, 1, epsilon=1.0, seed=4).episodes != first.episodes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no run in nowhere"),
        (["--episodes=0"], "--episodes 0 is out of range; it must be at least 1"),
        (["--seed=-1"], "--seed -1 is out of range; it must be at least 0"),
        (["--epsilon=2"], "--epsilon 2.0 is out of range; it must be from 0 to 1"),
        (["--episodes=x"], "--episodes takes a whole number, not 'x'"),
        (["--epsilon=x"], "--epsilon takes a number, not 'x'"),
        (["--episode=3"], "did you mean --episodes"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    breakout: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    run = [] if arguments == ["nowhere"] else [str(breakout)]
    assert evaluate.main([*run, *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def trained(env: str, run: Path) -> Path:
    """A short run."""
    arguments = [f"--env={env}", "--steps=50", "--no-calibrate", "--threads=1", "--agent=pqn"]
    assert command.main([*arguments, f"--run-dir={run}"]) == 0
    return run


def test_a_video_of_what_cannot_be_seen_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("toy/Catch", tmp_path / "run")
    capsys.readouterr()
    for name, problem in (
        ("play.gif", "--video cannot show toy/Catch: it does not render with render_mode"),
        ("play.avi", "the name must end in .gif or .mp4"),
    ):
        assert evaluate.main([str(run), f"--video={tmp_path / name}"]) == 2
        out, err = capsys.readouterr()
        assert problem in err
        assert err.count("\n") == 1
        assert out == ""


def test_an_mp4_without_its_package_is_refused(
    breakout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert evaluate.main([str(breakout), "--video=play.mp4"]) == 2
    assert "needs the package imageio-ffmpeg: pip install 'wnrl[video]'" in capsys.readouterr().err


def test_an_environment_that_renders_is_shown_as_it_renders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame")
    run = trained("CartPole-v1", tmp_path / "run")
    video = tmp_path / "play.mp4"
    assert evaluate.main([str(run), "--episodes=1", f"--video={video}"]) == 0
    lines = capsys.readouterr()
    steps = int(re.findall(r" in (\d+) agent steps", lines.err)[-1])
    assert f"{steps + 1} pictures of the first episode" in lines.out
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    assert imageio_ffmpeg.count_frames_and_secs(str(video)) == (
        steps + 1,
        pytest.approx(steps / 50, abs=0.05),
    )


def test_image_observations_are_shown_where_nothing_renders(tmp_path: Path) -> None:
    run = trained("toy/CatchPixels", tmp_path / "run")
    evaluated = evaluate.evaluate_run(run, 3, record=True)
    assert evaluated.recording is not None
    pictures = list(evaluated.recording.pictures)
    assert len(pictures) == evaluated.episodes[0].length_steps + 1
    assert all(picture.max() == 255 for picture in pictures)
    assert not (pictures[0] == pictures[1]).all()


def test_channels_have_their_own_colours() -> None:
    planes = np.zeros((4, 2, 2), np.uint8)
    planes[1, 0, 0] = planes[2, 1, 1] = planes[3, 1, 1] = 255
    (picture,) = of_observations([planes]).pictures
    assert picture.tolist()[0][1] == picture.tolist()[1][0] == [0, 0, 0]
    assert len({tuple(colour) for row in picture.tolist() for colour in row}) == 3
    gray, colour = np.full((1, 2, 2), 7, np.uint8), np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert [x.tolist()[0][1] for x in of_observations([gray, colour]).pictures] == [
        [7, 7, 7],
        [1, 5, 9],
    ]


def test_a_video_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recording = Recording([np.zeros((5, 5, 3), np.uint8)], 10)
    with pytest.raises(UsageError, match=r"cannot write .*name another file"):
        write_video(tmp_path / "file" / "play.gif", recording)
    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / "play.gif", recording._replace(steps_per_s=0))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_recurrent_run_of_one_environment_is_evaluated_in_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=toy/Memory", "--steps=50", "--no-calibrate", f"--run-dir={tmp_path}"]
    arguments += ["--recurrent", "--num-envs=1", "--burn-in-steps=100"]
    assert command.main(arguments) == 0
    assert evaluate.main([str(tmp_path), "--episodes=8"]) == 0
    assert "8 episodes" in capsys.readouterr().out
