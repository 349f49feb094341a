"""`wnrl plot`: which runs make which line, the picture, and what it refuses."""

import re
from pathlib import Path

import matplotlib.image
import pytest

from wnrl.report.plot.command import main
from wnrl.report.plot.figure import by_environment, curves_of, looks_of, read_runs
from wnrl.train import command as train


def trained(folder: Path, *flags: str, steps: int = 600) -> Path:
    """A run on a toy."""
    arguments = ["--env=toy/Catch", "--agent=pqn", f"--steps={steps}", "--no-calibrate"]
    assert train.main([*arguments, "--eval-every-steps=0", f"--run-dir={folder}", *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        trained(folder / "one" / "pqn-weight" / f"seed{seed}", f"--seed={seed}")
    trained(folder / "two" / "pqn-weight" / "seed1", "--seed=1")
    trained(folder / "layer", "--norm=layer")
    return folder


def test_seeds_are_one_line_and_equal_names_are_told_apart(runs: Path) -> None:
    (lines,) = by_environment(read_runs([runs, runs / "layer"])).values()
    assert [(variant.label, len(found)) for variant, found in lines.items()] == [
        (f"{runs.name}/layer", 1),
        ("one/pqn-weight", 2),
        ("two/pqn-weight", 1),
    ]
    look = looks_of({"toy/Catch": lines})
    layer, one, two = (look[variant] for variant in lines)
    assert (one.color, one.marker) == (two.color, two.marker) != (layer.color, layer.marker)
    assert one.dashes != two.dashes
    curves = list(curves_of(lines).values())
    assert [len(curve.seeds) for curve in curves] == [1, 2, 1]
    returns = [x for found in lines.values() for run in found for x in run.returns]
    assert curves[1].high[-1] <= max(returns)


def test_the_picture_is_written_and_the_same_again(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "curve.png"
    assert main([str(runs / "one"), f"--out={out}"]) == 0
    assert capsys.readouterr().out.endswith("curve.png: 2 runs of toy/Catch\n")
    picture = matplotlib.image.imread(out)
    assert picture.shape[1] > 1_000
    assert len({tuple(colour) for colour in picture.reshape(-1, picture.shape[2])}) > 50
    first = out.read_bytes()
    assert main([str(runs / "one"), f"--out={out}"]) == 0
    assert out.read_bytes() == first


def test_bad_input_is_one_line_and_exit_code_2(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = trained(tmp_path / "new", steps=40)
    capsys.readouterr()
    for arguments, problem in (
        ([], "run_dir"),
        ([str(tmp_path / "nowhere")], "there is no run in .*nowhere; name a folder"),
        ([str(runs), "--out=curve.jpg"], r"--out curve.jpg: the name must end in \.png, \.svg or"),
        ([str(runs), "--dpi=3"], "unknown argument '--dpi=3'"),
        ([str(new)], "no episode of these runs has ended yet"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("wnrl.plot: ")
        assert re.search(problem, line), line
    assert not list(tmp_path.glob("*.png"))


def test_a_picture_that_cannot_be_written_is_one_line_and_exit_code_1(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "curve.png"
    assert main([str(runs / "one"), f"--out={out}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"wnrl.plot: cannot write {out.parent}")
    assert line.endswith("make room or name another file with --out")
