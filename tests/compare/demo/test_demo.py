"""`wnrl demo`: what it writes, prints and refuses, and that its agents learn."""

import re
import shlex
import signal
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from command_processes import CommandProcess
from PIL import Image, ImageSequence

from wnrl.compare.demo import show
from wnrl.compare.demo.cart_pole import HEIGHT, WIDTH, Play, pictures
from wnrl.compare.demo.command import main
from wnrl.compare.flags import parse_compare_flags
from wnrl.train.flags import parse_train_flags
from wnrl.train.process.stop_signals import StopSignals
from wnrl.train.storage.run_folder import read_config

SCORE = re.compile(r"^  (before|after): .* (\d+) of 500 steps$", re.MULTILINE)


def demo(folder: Path, steps: int) -> int:
    signals = StopSignals("stopped")
    with signals.installed():
        return show.show(folder, signals, overwrite=False, steps=steps)


def standing(lengths: list[int]) -> Play:
    """Episodes of so many steps with a pole that leans to the right."""
    first = [t == 0 for length in lengths for t in range(length + 1)]
    return Play("a", np.tile(np.float32([0, 0, 0.2, 0]), (len(first), 1)), np.array(first))


def test_an_episode_that_reached_the_limit_is_no_fall() -> None:
    play = standing([3, 500, 499, 1])
    assert [play.falls(t) for t in (0, 3, 4, 504, 505, 1005, 1007)] == [0, 0, 1, 1, 1, 2, 2]


def test_the_pole_leans_as_the_angle_says_and_a_short_play_stays_at_its_end() -> None:
    right = standing([1])
    left = right._replace(observations=-right.observations)
    first, *_, last = pictures([right, left], steps=8, every=2)
    assert first.shape == (HEIGHT, 2 * WIDTH, 3)
    wood = np.argwhere((first == (0xB5, 0x76, 0x3A)).all(axis=2))
    (of_right, of_left) = (wood[wood[:, 1] // WIDTH == pane] for pane in (0, 1))
    assert of_right[of_right[:, 0].argmin(), 1] > WIDTH / 2 + 20  # the tip
    assert of_left[of_left[:, 0].argmin(), 1] < WIDTH * 3 / 2 - 20
    assert (first == last).all()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos") / "demo"
    assert demo(folder, steps=600) == 0
    return folder


def test_a_demo_leaves_two_runs_a_picture_and_a_video(shown: Path) -> None:
    assert [read_config(shown / norm).run.norm for norm in ("none", "weight")] == ["none", "weight"]
    picture = matplotlib.image.imread(shown / "curve.png")
    assert len({tuple(colour) for colour in picture.reshape(-1, picture.shape[2])}) > 50
    with Image.open(shown / "play.gif") as image:
        assert (image.format, image.size) == ("GIF", (3 * WIDTH, HEIGHT))
        frames = {frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(image)}
        shown_ms = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image))
    assert len(frames) > 20
    assert shown_ms == 6_000


def test_a_folder_that_holds_a_demo_is_kept(
    shown: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (shown / "play.gif").read_bytes()
    for arguments, problem in (
        ([str(shown)], "already holds a demo; replace it with --overwrite, or name another folder"),
        ([str(shown / "play.gif")], "play.gif: File exists; name another folder"),
        ([str(shown), "--steps=3"], "unknown argument '--steps=3'"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("wnrl.demo: ")
        assert problem in line
    assert (shown / "play.gif").read_bytes() == before


def test_the_commands_to_try_next_are_commands() -> None:
    train, compare, _, sb3 = (shlex.split(line) for line in show.NEXT.values())
    assert train[:3] == ["python", "-m", "wnrl.train"]
    assert parse_train_flags(train[3:])[1]["env"] == "Breakout"
    assert compare[:3] == ["python", "-m", "wnrl.compare"]
    parse_compare_flags(compare[3:])
    assert show.NEXT["read"].startswith(compare[compare.index("--out") + 1])
    compile(sb3[2], "sb3", "exec")


def test_ctrl_c_ends_the_demo_with_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "a demo"
    process = CommandProcess("demo", folder, folder=tmp_path)
    process.until(lambda: "step " in process.err)
    process.send(signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    assert "stopping" in process.err
    assert process.out.endswith(f"`wnrl demo '{folder}' --overwrite` starts again\n")
    assert list((folder / "none" / "checkpoints").iterdir())
    assert not (folder / "play.gif").exists()


@pytest.mark.slow
def test_both_agents_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, steps=20_000) == 0
    before, *after = (int(mean) for _, mean in SCORE.findall(capsys.readouterr().out))
    assert 15 < before < 30  # random play's mean is 22
    assert len(after) == 2
    assert min(after) > 4 * before
