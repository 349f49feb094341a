"""Evaluation: fair shares, the real emulator, the GIF."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from wnrl import evaluate
from wnrl.envs.episode_gif import step_ms
from wnrl.envs.protocols import protocol_named
from wnrl.envs.toy import Corridor
from wnrl.envs.vector import Actions, Episode, Flags, Observations
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
    assert evaluate.main([str(breakout), "--episodes=2", "--epsilon=1", f"--gif={gif}"]) == 0
    out = capsys.readouterr().out
    assert "at 24 agent steps: 2 episodes, raw return mean" in out
    with Image.open(gif) as image:
        assert image.size == (160, 210)
        # Pillow joins equal frames and adds their times.
        shown_ms = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image))
    assert shown_ms > 100 * 70
    assert f"the first {shown_ms / 70:,.0f} agent steps" in out


@pytest.mark.parametrize(("frame_skip", "ms"), [(4, 70), (8, 130), (1, 20)])
def test_an_agent_step_is_shown_as_long_as_it_takes(frame_skip: int, ms: int) -> None:
    changes = {"frameskip_frames": frame_skip}
    assert step_ms(protocol_named("classic", changes=changes)) == ms


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


def test_a_gif_of_what_cannot_be_drawn_is_refused_before_anything_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=toy/Catch", "--steps=50", "--no-calibrate", f"--run-dir={tmp_path}"]
    assert command.main(arguments) == 0
    capsys.readouterr()
    assert evaluate.main([str(tmp_path), f"--gif={tmp_path}/play.gif"]) == 2
    out, err = capsys.readouterr()
    assert "--gif draws only Atari games, not toy/Catch" in err
    assert out == ""


def test_a_recurrent_run_of_one_environment_is_evaluated_in_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--env=toy/Memory", "--steps=50", "--no-calibrate", f"--run-dir={tmp_path}"]
    arguments += ["--recurrent", "--num-envs=1", "--burn-in-steps=100"]
    assert command.main(arguments) == 0
    assert evaluate.main([str(tmp_path), "--episodes=8"]) == 0
    assert "8 episodes" in capsys.readouterr().out
