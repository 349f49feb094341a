"""`python -m wnrl.export`: what it writes, what it leaves out, and what it refuses."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_runs import saved_run
from small_disk import small_disk

from wnrl.export import folder as folders
from wnrl.export.command import FORMATS, main
from wnrl.export.formats import _FORMATS
from wnrl.train import command as train

WEIGHTS = ["weights.safetensors", "weights_gv.safetensors"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_run(tmp_path_factory.mktemp("runs") / "run", "ppo", "CartPole-v1", "weight").folder


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_chosen_formats_are_written_and_the_run_does_not_change(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    out = tmp_path / "new" / "out"
    assert main([str(run), f"--out={out}", "--format", "safetensors", "card"]) == 0
    assert files(out) == ["README.md", *WEIGHTS]
    printed = capsys.readouterr().out.splitlines()
    assert [Path(line.split(": ")[0]).name for line in printed] == [*WEIGHTS, "README.md"]
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_an_empty_folder_is_filled_and_a_checkpoint_is_named_by_its_step(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(run), f"--out={tmp_path}", "--format", "card"]
    assert main([*arguments, "--checkpoint=7"]) == 2
    assert "has no checkpoint of agent step 7; it has 160" in capsys.readouterr().err
    assert main([*arguments, "--checkpoint=160"]) == 0
    assert files(tmp_path) == ["README.md"]


def test_by_default_what_is_not_possible_is_left_out_and_said(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in ("safetensors.torch", "onnx"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    out = tmp_path / "out"
    assert main([str(run), f"--out={out}"]) == 0
    assert files(out) == ["README.md", "policy.pt2", "sb3.zip"]
    told = capsys.readouterr().out.splitlines()[-2:]
    assert told == [
        "left out safetensors: needs the package safetensors: pip install 'wnrl[export]'",
        "left out onnx: needs the packages onnx and onnxscript: pip install 'wnrl[export]'",
    ]
    for name in ("safetensors", "onnx"):
        assert main([str(run), f"--out={tmp_path / name}", "--format", name]) == 2
        assert f"format {name} needs the package" in capsys.readouterr().err
        assert not (tmp_path / name).exists()


def test_the_hub_s_folder_has_the_settings_and_the_command_is_printed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(run), f"--out={out}", "--format", "safetensors", "--hub"]) == 0
    assert files(out) == ["README.md", "config.json", *WEIGHTS]
    assert json.loads((out / "config.json").read_text())["run"]["env"] == "CartPole-v1"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"upload it with: hf upload ppo-weight-CartPole-v1-seed1 {out} ."


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--format", "onxx"], "--format 'onxx' is unknown; allowed: safetensors, torch-export"),
        (["--format", "torchscript"], "TorchScript is deprecated in torch; take torch-export"),
        (["--outt=x"], "did you mean --out?"),
        (["--checkpoint=x"], "--checkpoint takes a whole number, not 'x'"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(
    flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nowhere", "--out=anywhere", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wnrl.export: ")
    assert problem in line


def refused(run: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Export all that needs no extra package; return the one line that refuses it."""
    capsys.readouterr()
    assert main([str(run), f"--out={out}", "--format", "torch-export", "card"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_unusable_runs_and_folders_are_one_line_and_exit_code_2(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert "no run in nowhere: config.json" in refused(Path("nowhere"), new, capsys)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(run / "config.json", unfinished)
    assert "has no checkpoint yet; train it longer first" in refused(unfinished, new, capsys)
    other = tmp_path / "other"
    shutil.copytree(run, other)
    settings = json.loads((run / "config.json").read_text())
    settings["agent"]["hidden"] = 63  # as if this version built another network
    (other / "config.json").write_text(json.dumps(settings))
    assert "cannot be read by this version" in refused(other, new, capsys)
    assert "is not empty; name a new or an empty folder" in refused(run, tmp_path, capsys)
    assert "is no folder" in refused(run, run / "config.json", capsys)
    assert not new.exists()


@pytest.mark.parametrize("made", [False, True])
def test_a_full_disk_leaves_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bool
) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        out = disk.path / "out"
        if made:
            out.mkdir()
        disk.fill(leave_bytes=24_576)  # the first of the files fits
        assert main([str(run), f"--out={out}", "--format", "safetensors", "torch-export"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"cannot write {out}" in line
        assert line.endswith(
            "No space left on device; make room, or name another folder with --out"
        )
        assert out.exists() == made
        assert not made or files(out) == []


def test_the_formats_of_the_command_are_those_of_the_table() -> None:
    assert (*_FORMATS, "card") == FORMATS
    assert folders.CONTENTS.keys() >= {*WEIGHTS, "README.md"}


@pytest.mark.slow
def test_a_real_run_is_exported_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--env=toy/Catch", "--agent=pqn", "--steps=2000", "--no-calibrate", "--threads=1"]
    assert train.main([*flags, f"--run-dir={tmp_path / 'run'}", "--eval-every-steps=1000"]) == 0
    assert main([str(tmp_path / "run"), f"--out={tmp_path / 'out'}", "--hub"]) == 0
    expected = ["README.md", "config.json", "policy.onnx", "policy.pt2", "sb3.zip", *WEIGHTS]
    assert files(tmp_path / "out") == expected
    assert "left out" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "export.md"
    monkeypatch.chdir(tmp_path)
    assert main([str(run), "--out=exported", "--format", "torch-export", "onnx", "sb3"]) == 0
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert len(examples) == 3
    for example, batch in zip(examples, (5, 5, None), strict=True):
        names: dict[str, Any] = {}
        exec(example, names)
        assert np.shape(names["action"]) == (() if batch is None else (batch,))
