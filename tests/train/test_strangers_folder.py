"""A run folder from somebody else: nothing outside of it is read, written or deleted."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wnrl import evaluate
from wnrl.compare import command as compare
from wnrl.train import command
from wnrl.train.storage.checkpoint import Checkpoints

SHORT = ["--env=toy/Catch", "--warmup-steps=100", "--no-calibrate", "--eval-every-steps=0"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run with two checkpoints."""
    run = tmp_path_factory.mktemp("whole") / "run"
    lengths = ["--steps=200", "--checkpoint-every-steps=100"]
    assert command.main([*SHORT, *lengths, f"--run-dir={run}"]) == 0
    return run


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "out" / "run"))


def newest(run: Path) -> Path:
    return max(run.glob("checkpoints/step_*"))


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


LINKED: dict[str, Callable[[Path], Path]] = {
    "config.json": lambda run: run / "config.json",
    "status.json": lambda run: run / "status.json",
    "episodes.csv": lambda run: run / "episodes.csv",
    "timings.csv": lambda run: run / "timings.csv",
    "lock": lambda run: run / ".lock",
    "train.log": lambda run: run / "train.log",
    "event file": lambda run: next(run.glob("events.out.tfevents.*")),
    "checkpoints": lambda run: run / "checkpoints",
    "checkpoint": newest,
    "manifest": lambda run: newest(run) / "manifest.json",
    "state": lambda run: newest(run) / "state.pt",
    "replay": lambda run: run / "checkpoints" / "replay",
    "segment": lambda run: next(run.glob("checkpoints/replay/*")),
    "leftover": lambda run: run / "status.json.other-1.tmp",
}


@pytest.mark.parametrize("place", LINKED)
def test_no_link_is_written_through(
    place: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    link = LINKED[place](run)
    if link.exists():
        shutil.move(link, outside)
    else:
        outside.write_text("mine")
    before = outside.read_bytes() if outside.is_file() else content_of(outside)
    link.symlink_to(outside)
    assert command.main([*SHORT, "--steps=100", f"--run-dir={run}", "--overwrite"]) == 2
    assert f"{link} is a symbolic link" in capsys.readouterr().err
    assert command.main(["--resume", str(run), "--steps=300"]) == 2
    assert "is a symbolic link" in capsys.readouterr().err
    assert (outside.read_bytes() if outside.is_file() else content_of(outside)) == before


@pytest.mark.parametrize("place", ["config.json", "checkpoints", "checkpoint", "manifest", "state"])
def test_readers_follow_no_link(
    place: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(run.glob("checkpoints/step_*"))[:-1]:
        shutil.rmtree(path)
    link, outside = LINKED[place](run), tmp_path / "outside"
    shutil.move(link, outside)
    link.symlink_to(outside)
    assert evaluate.main([str(run), "--episodes=1"]) == 2
    assert "a symbolic link" in capsys.readouterr().err


def test_a_link_to_the_run_itself_is_the_users_own(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(run)
    assert command.main(["--resume", str(tmp_path / "mine"), "--steps=210"]) == 0
    assert evaluate.main([str(tmp_path / "mine"), "--episodes=1"]) == 0


@pytest.mark.parametrize("name", ["config.json", "status.json", "episodes.csv", "train.log"])
def test_nothing_waits_for_a_pipe(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert command.main(["--resume", str(run), "--steps=300"]) == 2
    assert compare.main(["--report-only", str(run.parent)]) in (0, 2)
    assert "a named pipe" in capsys.readouterr().err


def edit_manifest(checkpoint: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest, and recompute its checksum as its writer does."""
    body = json.loads((checkpoint / "manifest.json").read_text())
    del body["checksum"]
    change(body)
    text = json.dumps(body, sort_keys=True).encode()
    body["checksum"] = hashlib.sha256(text).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(body))


CHANGES: dict[str, Callable[[dict[str, Any], Path], Any]] = {
    "no files": lambda body, _: body["files"].clear(),
    "a file outside": lambda body, _: body["files"].update({"../x": body["files"]["state.pt"]}),
    "a step that is text": lambda body, _: body.update(agent_step="200"),
    "segments that are a number": lambda body, _: body["replay"].update(segments=3),
    "a gap between segments": lambda body, _: body["replay"]["segments"].pop(0),
    "a segment outside": lambda body, _: body["replay"]["segments"][0].update(start="../../1"),
    "no replay rows": lambda body, _: body["replay"].update(total_rows=-1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_that_was_edited_is_broken_although_its_checksum_is_right(
    change: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = newest(run)
    edit_manifest(checkpoint, lambda body: CHANGES[change](body, checkpoint))
    capsys.readouterr()
    assert evaluate.main([str(run), "--episodes=1"]) == 0
    out, err = capsys.readouterr()
    assert f"checkpoint {checkpoint} is broken" in err
    assert "at 100 agent steps" in out
    for path in run.glob("checkpoints/step_*"):
        edit_manifest(path, lambda body: body["files"].clear())
    before = content_of(run / "checkpoints")
    assert command.main(["--resume", str(run), "--steps=300"]) == 2
    assert "no usable checkpoint" in capsys.readouterr().err.splitlines()[-1]
    assert content_of(run / "checkpoints") == before


@pytest.mark.parametrize(("name", "weights_only"), [("state.pt", False), ("network.pt", True)])
def test_a_part_that_was_cut_off_is_broken_although_its_checksum_is_right(
    name: str, weights_only: bool, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = newest(run)
    content = (checkpoint / name).read_bytes()[:-500]
    (checkpoint / name).write_bytes(content)
    fingerprint = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_manifest(checkpoint, lambda body: body["files"].update({name: fingerprint}))
    capsys.readouterr()
    saved = Checkpoints(run).latest(weights_only=weights_only)
    assert saved is not None
    assert saved.step == 100
    assert f"checkpoint {checkpoint} is broken ({name}: " in capsys.readouterr().err
