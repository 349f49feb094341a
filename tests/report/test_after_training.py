"""The picture that a finished run leaves, and that it never fails one."""

from pathlib import Path

import matplotlib.image
import pytest

from wnrl.report.figures import image_files
from wnrl.report.plot.after_training import main
from wnrl.train.storage.run_status import RunState, read_status

SHORT = ["--env=toy/Catch", "--agent=pqn", "--no-calibrate", "--eval-every-steps=0"]


def test_a_finished_run_leaves_its_curve_unless_it_is_not_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, curve = tmp_path / "run", tmp_path / "run" / "curve.png"
    arguments = [*SHORT, f"--run-dir={run}", "--steps=400"]
    assert main([*arguments, "--no-curve"]) == 0
    assert not curve.exists()
    assert main([*arguments, "--overwrite"]) == 0
    assert capsys.readouterr().out.endswith(f"\n  curve     {curve}\n")
    assert len(matplotlib.image.imread(curve)) > 100
    first = curve.read_bytes()
    assert main(["--resume", str(run), "--steps=800"]) == 0
    assert curve.read_bytes() != first
    assert main([*arguments, "--overwrite", "--no-curve"]) == 0
    assert not curve.exists()  # it was of the run that is replaced


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a\nb")])
def test_a_picture_that_cannot_be_drawn_is_one_line_and_the_run_is_done(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(sheet: object) -> None:
        raise error

    monkeypatch.setattr(image_files, "compose", fail)
    assert main([*SHORT, f"--run-dir={tmp_path}", "--steps=400"]) == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("wnrl")]
    assert line.startswith("wnrl.train: there is no curve.png: ")
    assert read_status(tmp_path).state is RunState.DONE
    assert not list(tmp_path.glob("curve*"))


def test_a_run_without_an_episode_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SHORT, f"--run-dir={tmp_path}", "--steps=40"]) == 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("wnrl.train: there is no curve.png: no episode of these runs has ended")
